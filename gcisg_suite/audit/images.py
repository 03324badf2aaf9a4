"""What can be wrong with an image by itself, and beside the others of its data set."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from gcisg_core.problems import AuditResult, DataError, Problem
from gcisg_suite.audit.parallel import check_all
from gcisg_suite.formats.forms import image_files
from gcisg_suite.images import read_image

FAR = 6.0  # deviations, estimated by the median, from which on a mean is far from the others
NARROW = 4.0  # grey levels; a smaller deviation counts as this: in uniform data everything would be far
ENOUGH = 20  # images, below which there are no statistics
SHARED = "Remove one of the two; train and test must not share images"
THUMBNAIL = 16  # pixels, width and height


@dataclass(frozen=True)
class Look:
    """What the comparisons between images need of one.

    Attributes:
        path: The file.
        size: Width and height in pixels.
        mean: Of all values, 0-255.
        flat: All pixels have one colour.
        digest: SHA-256 of the file.
        thumbnail: The image shrunk to 16 x 16 pixels, RGB, uint8.
    """

    path: str
    size: tuple[int, int]
    mean: float
    flat: bool
    digest: str
    thumbnail: bytes


def look(path: str | Path) -> Look:
    """Decode an image completely.

    Raises:
        DataError: It cannot be read, see :func:`gcisg_suite.images.read_image`.
    """
    return describe(path, read_image(path))


def describe(path: str | Path, pixels: np.ndarray) -> Look:
    """The look of an image, shape (H, W, 3), uint8, that was decoded already; the file is read for its digest."""
    height, width = pixels.shape[:2]
    # The first row decides for nearly every image.
    flat = bool((pixels[0] == pixels[0, 0]).all() and (pixels == pixels[0, 0]).all())
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    small = Image.fromarray(pixels).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return Look(str(path), (width, height), float(pixels.mean()), flat, digest, small.tobytes())


def audit_images(folder: Path, workers: int = 1) -> AuditResult:
    """The audit of images alone: each is decoded, and compared with the others."""
    found = check_all(_look_or_problem, image_files(folder), workers)
    looks = [item for item in found if isinstance(item, Look)]
    problems = [item for item in found if isinstance(item, Problem)]
    problems += [line for item in looks for line in flat_problem(item)]
    return AuditResult(problems + compare(looks), {"images": len(looks)}, looks=looks)


def _look_or_problem(path: Path) -> Look | Problem:
    try:
        return look(path)
    except DataError as error:
        return error.problem


def flat_problem(found: Look) -> list[Problem]:
    """One line when every pixel has the same colour, as where a renderer failed."""
    what = "every pixel has the same colour"
    return [Problem(found.path, what, "Render or fetch it again, or remove it")] if found.flat else []


def compare(looks: Iterable[Look | None]) -> list[Problem]:
    """What shows beside the others: the same file twice, also in two splits, and a mean far from the others.

    Images of one colour are left out: they have their line already. None stands for an image that was not readable.
    """
    images = [item for item in looks if item is not None and not item.flat]
    return same_files(images) + _far_means(images)


def same_files(images: Iterable[Look]) -> list[Problem]:
    """Files that repeat an earlier one; their line names it."""
    first: dict[str, str] = {}
    problems = []
    for item in images:
        same = first.setdefault(item.digest, item.path)
        if same != item.path:
            what = f"the same file as {same}, byte for byte"
            problems.append(Problem(item.path, what, SHARED, "the same file as another, byte for byte"))
    return problems


def _far_means(images: Sequence[Look]) -> list[Problem]:
    if len(images) < ENOUGH:
        return []
    means = np.array([item.mean for item in images])
    centre = np.median(means)
    deviation = max(1.4826 * float(np.median(abs(means - centre))), NARROW)  # the normal distribution's factor
    return [
        Problem(
            item.path,
            f"its mean value is {item.mean:.0f} of 255, that of the others {centre:.0f} ± {deviation:.0f}",
            "Look at it: nearly black, washed out, or of another kind? Remove it if so",
        )
        for item in images
        if abs(item.mean - centre) > FAR * deviation
    ]


def repeated_names(paths: Iterable[str | Path], parts: int = 1) -> list[Problem]:
    """File names that occur in more than one folder: results are saved under them, and splits may overlap.

    With ``parts=2`` a name includes its folder, as where each sequence numbers its frames, and with 0 all folders.
    """
    first: dict[str, str] = {}
    problems = []
    for path in map(str, paths):
        same = first.setdefault("/".join(Path(path).parts[-parts:]), path)
        if same != path:
            remedy = "Rename one, or remove it if it is the same image"
            problems.append(Problem(path, f"has the file name of {same}", remedy, "has the file name of another"))
    return problems

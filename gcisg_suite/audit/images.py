"""Checks of single images, and of images compared with the others of their data set."""

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

OUTLIER = 6.0  # robust standard deviations from the median, above which a mean is an outlier
MIN_DEVIATION = 4.0  # lower bound of that deviation in grey levels; in uniform data every image would be an outlier
MIN_IMAGES = 20  # images; fewer get no statistics
SHARED = "Remove one of the two; train and test must not share images"
THUMBNAIL = 16  # pixels, width and height


@dataclass(frozen=True)
class Look:
    """Summary of an image, for comparisons with others.

    Attributes:
        path: The file.
        size: Width and height in pixels.
        mean: Mean of all values, 0 to 255.
        flat: Whether all pixels have the same colour.
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
    """The summary of an image that was decoded already, shape (H, W, 3), uint8; the file is read for its digest."""
    height, width = pixels.shape[:2]
    # The first row is enough for nearly every image.
    flat = bool((pixels[0] == pixels[0, 0]).all() and (pixels == pixels[0, 0]).all())
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    small = Image.fromarray(pixels).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return Look(str(path), (width, height), float(pixels.mean()), flat, digest, small.tobytes())


def audit_images(folder: Path, workers: int = 1) -> AuditResult:
    """The audit of images without labels: each is decoded, and compared with the others."""
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
    """A problem if every pixel has the same colour, as after a failed rendering."""
    what = "every pixel has the same colour"
    return [Problem(found.path, what, "Render or download it again, or remove it")] if found.flat else []


def compare(looks: Iterable[Look | None]) -> list[Problem]:
    """Problems that only a comparison shows: the same file twice, also in two splits, and a mean far from the others.

    Images of one colour are skipped, as they are reported already. None stands for an unreadable image.
    """
    images = [item for item in looks if item is not None and not item.flat]
    return same_files(images) + _far_means(images)


def same_files(images: Iterable[Look]) -> list[Problem]:
    """Files that repeat an earlier one, which the problem names."""
    first: dict[str, str] = {}
    problems = []
    for item in images:
        same = first.setdefault(item.digest, item.path)
        if same != item.path:
            what = f"the same file as {same}, byte for byte"
            problems.append(Problem(item.path, what, SHARED, "the same file as another, byte for byte"))
    return problems


def _far_means(images: Sequence[Look]) -> list[Problem]:
    if len(images) < MIN_IMAGES:
        return []
    means = np.array([item.mean for item in images])
    centre = np.median(means)
    # 1.4826 turns the median deviation of normal data into their standard deviation.
    deviation = max(1.4826 * float(np.median(abs(means - centre))), MIN_DEVIATION)
    return [
        Problem(
            item.path,
            f"its mean value is {item.mean:.0f} of 255; that of the others is {centre:.0f} ± {deviation:.0f}",
            "Look at it. If it is nearly black, washed out, or out of place, remove it",
        )
        for item in images
        if abs(item.mean - centre) > OUTLIER * deviation
    ]


def repeated_names(paths: Iterable[str | Path], parts: int = 1) -> list[Problem]:
    """File names that occur in more than one folder. Results are saved under these names, and splits may overlap.

    With ``parts=2`` a name includes its folder (for sequences that each number their frames); with 0, all folders.
    """
    first: dict[str, str] = {}
    problems = []
    for path in map(str, paths):
        same = first.setdefault("/".join(Path(path).parts[-parts:]), path)
        if same != path:
            remedy = "Rename one, or remove it if it is the same image"
            problems.append(Problem(path, f"has the file name of {same}", remedy, "has the file name of another"))
    return problems

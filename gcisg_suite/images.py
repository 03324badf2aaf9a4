"""The one reader of images: audit, training, evaluation, prediction and analysis of every task see the same pixels."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from gcisg_core.problems import DataError, reason

with contextlib.suppress(ImportError):
    from pillow_heif import register_heif_opener

    register_heif_opener()

# Suffixes of images. HEIC is included so that an unreadable file is reported, not left out.
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".pgm", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".avif", ".heic",
            ".heif")  # fmt: skip
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
TURNED = 5  # the EXIF orientations from this one on exchange width and height
PNG_OR_PGM = ("PNG", "PPM")  # whose 16-bit values Pillow may return in 32 bits; other formats have 32 bits indeed
AGAIN = "Copy or download it again, or remove it from the data set"
SMALLER = "Shrink it, and its labels with it, or cut both into tiles"
HEIC = "Install pillow-heif (python -m pip install pillow-heif), or convert it to JPEG or PNG"
EIGHT_BITS = "Convert it to 8 or 16 bits a channel; you alone know which values are black and white"
RESIZED = "Correct width and height in the annotation; were its boxes drawn at another size?"
AS_DISPLAYED = (
    "The labels follow the stored pixels: turn them as the image is displayed, or save the image without its EXIF "
    "orientation"
)


def most_pixels() -> int:
    """The pixels of the largest image that Pillow opens; an annotation that states more is wrong."""
    return 2 * (Image.MAX_IMAGE_PIXELS or 10**9)


def read_image(path: str | Path) -> np.ndarray:
    """Decode an image as a viewer displays it.

    The EXIF orientation is applied. 16-bit values are divided by 257, so that 65,535 becomes 255. Grey, palette and
    CMYK become RGB, alpha is dropped, and of an animation the first frame is read.

    Returns:
        Shape (H, W, 3), uint8, RGB; it can be written to.

    Raises:
        DataError: the file is absent, empty, damaged, too large for Pillow, HEIC without its package, or has
            values of another kind.
    """
    # Not by its name: Pillow maps such a file into memory, and then mixes up the rows of a turned TIFF.
    with _reported(path), Path(path).open("rb") as file, Image.open(file) as image:
        # Asked before the pixels are loaded, after which neither is known any more.
        is_deep, is_upright = _is_deep_colour(image), _orientation(image) == 1
        image.load()
        with contextlib.suppress(Exception):  # a damaged EXIF block turns nothing
            ImageOps.exif_transpose(image, in_place=True)
        if image.mode.startswith("I;16") or (image.mode == "I" and image.format in PNG_OR_PGM):
            return np.repeat(_to_eight_bits(np.asarray(image))[..., None], 3, axis=2)
        if image.mode in ("I", "F"):
            kind = "32-bit or signed integers" if image.mode == "I" else "floating-point numbers"
            raise DataError(path, f"its pixels are {kind}, expected 8 or 16 bits without a sign", EIGHT_BITS)
        if is_deep and is_upright and (values := _deep_colour(path)) is not None:
            return values
        # By way of RGBA, as Pillow warns where a palette's transparency is dropped directly.
        return np.array((image.convert("RGBA") if image.mode == "P" else image).convert("RGB"))


def displayed_size(path: str | Path) -> tuple[int, int]:
    """Width and height of an image as a viewer displays it, read from the header only.

    Raises:
        DataError: as :func:`read_image`, as far as the header shows it.
    """
    with _reported(path), Image.open(path) as image:
        width, height = image.size
        if isinstance(image, TiffImagePlugin.TiffImageFile):  # whose size new versions of Pillow give as displayed
            width, height = image.tag_v2[TiffImagePlugin.IMAGEWIDTH], image.tag_v2[TiffImagePlugin.IMAGELENGTH]
        return (height, width) if _orientation(image) >= TURNED else (width, height)


@contextlib.contextmanager
def _reported(path: str | Path) -> Iterator[None]:
    """Turns whatever a decoder raises (OSError, SyntaxError, struct.error, ...) into an error that says what to do."""
    try:
        if not os.stat(path).st_size:  # noqa: PTH116 - pathlib costs more than the call
            raise EOFError("it is empty, 0 bytes")
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(path, "no such image file", "Restore it, or remove it from the data set") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise DataError(path, f"is larger than Pillow opens ({reason(error).rstrip('.')})", SMALLER) from error
    except Exception as error:
        if isinstance(error, UnidentifiedImageError) and _is_heif(Path(path)):
            raise DataError(path, "is a HEIC image, which Pillow cannot read by itself", HEIC) from error
        why = "Pillow does not recognise its format" if isinstance(error, UnidentifiedImageError) else reason(error)
        raise DataError(path, f"not a readable image ({why})", AGAIN) from error


def _is_heif(path: Path) -> bool:
    """By its first bytes, because phone photos are often renamed to .jpg, or by its name."""
    with path.open("rb") as file:
        start = file.read(12)
    return (start[4:8] == b"ftyp" and start[8:] in HEIF_BRANDS) or path.suffix.lower() in (".heic", ".heif")


def _is_deep_colour(image: Any) -> bool:
    """Whether Pillow would cut 16 bits per channel down to 8; a decoder argument such as `RGB;16B` shows it."""
    words = [word for tile in image.tile for word in (tile[3] if isinstance(tile[3], tuple) else (tile[3],))]
    return any(str(word).endswith((";16B", ";16L", ";16N")) for word in words) and not image.mode.startswith("I")


def _deep_colour(path: str | Path) -> np.ndarray | None:
    """Read by OpenCV from all 16 bits; None if it fails, as for CMYK. Pillow's values are then off by at most 1."""
    import cv2  # slow to import, and rarely needed

    values = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16:
        return None
    rgb = values[..., 2::-1] if values.ndim == 3 else np.repeat(values[..., None], 3, axis=2)
    return _to_eight_bits(rgb)


def _to_eight_bits(values: np.ndarray) -> np.ndarray:
    """16-bit values over 257, rounded: 65535 / 257 = 255."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _orientation(image: Image.Image) -> int:
    """1 to 8; any other value counts as 1 (not turned)."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a damaged EXIF block
        return 1
    return int(found) if found in range(1, 9) else 1


def check_boxes_size(
    path: str | Path, size: Sequence[int], stated: Sequence[Any], where: str = "its annotation"
) -> None:
    """Refuse an image whose boxes were drawn at a size other than the displayed one.

    Args:
        path: The image.
        size: Its width and height, as :func:`read_image` returns it.
        stated: Width and height in the annotation; None if it states none.
        where: Name of the annotation, for the message.

    Raises:
        DataError: they differ.
    """
    if tuple(stated) != tuple(size):
        found, remedy = other_size(path, size, stated, RESIZED)
        raise DataError(path, f"is {found}, {where} says {stated[0]} x {stated[1]}", remedy)


def other_size(path: str | Path, size: Sequence[int], stated: Sequence[int], remedy: str) -> tuple[str, str]:
    """The message for an image whose labels were made for another size.

    Args:
        path: The image.
        size: Width and height as it is displayed, which :func:`read_image` returns.
        stated: Width and height of its labels.
        remedy: What to do, unless the labels follow the stored pixels.

    Returns:
        The image's size, with the stored one where an EXIF orientation turns it; and the remedy.
    """
    with Image.open(path) as image:
        orientation = _orientation(image)
    text = f"{size[0]} x {size[1]} pixels"
    if orientation < TURNED:
        return text, remedy
    text += f" as displayed (stored as {size[1]} x {size[0]}, with the EXIF orientation {orientation})"
    return text, AS_DISPLAYED if tuple(stated) == (size[1], size[0]) else remedy

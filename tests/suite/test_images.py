"""The reader of images, against files that are written value by value."""

import struct
import warnings
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageSequence

from gcisg_core.problems import DataError
from gcisg_suite import images
from gcisg_suite.images import check_boxes_size, displayed_size, read_image

# Orientation -> how EXIF stores an image that is displayed as `a`: where its first row and first column lie.
STORED = {
    1: lambda a: a,  # top, left
    2: lambda a: a[:, ::-1],  # top, right
    3: lambda a: a[::-1, ::-1],  # bottom, right
    4: lambda a: a[::-1],  # bottom, left
    5: lambda a: a.swapaxes(0, 1),  # left, top
    6: lambda a: a.swapaxes(0, 1)[::-1],  # right, top
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],  # right, bottom
    8: lambda a: a.swapaxes(0, 1)[:, ::-1],  # left, bottom
}


def pixels(seed=0, shape=(6, 9, 3), high=256, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, high, shape, dtype)


def oriented(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def write_png(path, values):
    """A PNG of 16 bits a channel by the specification: (H, W, 1 to 4), grey, grey and alpha, RGB, RGBA."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    parts = (struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def refused(path, message, remedy):
    with pytest.raises(DataError) as raised:
        read_image(path)
    problem = raised.value.problem
    assert problem.file == str(path)
    assert message in problem.what
    assert problem.remedy == remedy
    assert "\n" not in str(problem)


class TestOrientation:
    @pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
    @pytest.mark.parametrize("orientation", STORED)
    def test_pixels_are_those_that_a_viewer_displays(self, tmp_path, orientation, suffix):
        path, displayed = tmp_path / f"a.{suffix}", pixels()
        extra = {"lossless": True} if suffix == "webp" else {}
        stored = np.ascontiguousarray(STORED[orientation](displayed))
        Image.fromarray(stored).save(path, exif=oriented(orientation), **extra)
        np.testing.assert_array_equal(read_image(path), displayed)
        assert displayed_size(path) == displayed.shape[1::-1]

    @pytest.mark.parametrize("orientation", STORED)
    def test_of_jpeg(self, tmp_path, orientation):
        displayed = np.repeat(np.repeat(pixels(shape=(2, 3, 3)), 16, axis=0), 16, axis=1)
        stored = np.ascontiguousarray(STORED[orientation](displayed))
        Image.fromarray(stored).save(tmp_path / "a.jpg", exif=oriented(orientation), quality=100, subsampling=0)
        np.testing.assert_allclose(read_image(tmp_path / "a.jpg"), displayed, atol=3)

    @pytest.mark.parametrize("orientation", STORED)
    def test_of_sixteen_bits(self, tmp_path, orientation):
        displayed = pixels(shape=(6, 9), high=65536, dtype=np.uint16)
        stored = np.ascontiguousarray(STORED[orientation](displayed))
        for suffix in ("png", "tif"):
            Image.fromarray(stored).save(tmp_path / f"a.{suffix}", exif=oriented(orientation))
            expected = np.rint(displayed / 257)
            np.testing.assert_array_equal(read_image(tmp_path / f"a.{suffix}")[..., 1], expected)

    @pytest.mark.parametrize("orientation", STORED)
    def test_of_grey_tiff_which_pillow_would_map_into_memory(self, tmp_path, orientation):
        displayed = pixels(shape=(6, 9))
        stored = np.ascontiguousarray(STORED[orientation](displayed))
        Image.fromarray(stored).save(tmp_path / "a.tif", exif=oriented(orientation))
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[..., 1], displayed)

    @pytest.mark.parametrize("orientation", [0, 9])
    def test_what_is_no_orientation_turns_nothing(self, tmp_path, orientation):
        Image.fromarray(pixels()).save(tmp_path / "a.png", exif=oriented(orientation))
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), pixels())
        assert displayed_size(tmp_path / "a.png") == pixels().shape[1::-1]

    def test_a_damaged_exif_block_turns_nothing(self, tmp_path):
        image = Image.fromarray(pixels())
        image.save(tmp_path / "plain.png")
        image.save(tmp_path / "damaged.png", exif=b"Exif\0\0no header of TIFF")
        np.testing.assert_array_equal(read_image(tmp_path / "damaged.png"), read_image(tmp_path / "plain.png"))


class TestSixteenBits:
    @pytest.mark.parametrize("channels", [1, 2, 3, 4])
    def test_values_are_divided_by_257(self, tmp_path, channels):
        values = pixels(shape=(40, 60, channels), high=65536, dtype=np.uint16)
        values[0, :6] = np.array([0, 128, 129, 3000, 50000, 65535], np.uint16)[:, None]
        expected = np.rint((values if channels > 2 else values[..., :1].repeat(3, axis=2))[..., :3] / 257)
        np.testing.assert_array_equal(read_image(write_png(tmp_path / "a.png", values)), expected)

    @pytest.mark.parametrize("name", ["a.tif", "a.ppm"])
    def test_colours_of_other_formats(self, tmp_path, name):
        values = pixels(shape=(40, 60, 3), high=65536, dtype=np.uint16)
        cv2.imwrite(str(tmp_path / name), values[..., ::-1])
        np.testing.assert_array_equal(read_image(tmp_path / name), np.rint(values / 257))

    @pytest.mark.parametrize(("name", "order"), [("a.tif", "<u2"), ("a.tif", ">u2"), ("a.pgm", "<u2")])
    def test_grey_of_other_formats(self, tmp_path, name, order):
        values = pixels(shape=(40, 60), high=65536, dtype=np.uint16)
        Image.fromarray(values.astype(order)).save(tmp_path / name)
        np.testing.assert_array_equal(read_image(tmp_path / name), np.rint(values / 257)[..., None].repeat(3, 2))

    def test_turned_colours_are_off_by_one_at_most(self, tmp_path):
        values = pixels(shape=(6, 9, 3), high=65536, dtype=np.uint16)
        content = write_png(tmp_path / "a.png", values).read_bytes()
        exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x03\0\0\0\0\0\0\0"  # orientation 3
        chunk = struct.pack(">I", len(exif)) + b"eXIf" + exif + struct.pack(">I", zlib.crc32(b"eXIf" + exif))
        (tmp_path / "a.png").write_bytes(content[:33] + chunk + content[33:])
        difference = np.rint(values / 257)[::-1, ::-1] - read_image(tmp_path / "a.png")
        assert abs(difference).max() == 1

    @pytest.mark.remedy("Convert it to 8 or 16 bits a channel; you alone know which values are black and white")
    @pytest.mark.parametrize(
        ("dtype", "kind"), [(np.float32, "floating-point numbers"), (np.int32, "32-bit or signed integers")]
    )
    def test_other_values_are_refused_until_they_are_converted(self, tmp_path, dtype, kind):
        values = pixels(shape=(6, 9), high=1000, dtype=np.int32).astype(dtype)
        Image.fromarray(values).save(tmp_path / "a.tif")
        refused(tmp_path / "a.tif", f"its pixels are {kind}, expected 8 or 16 bits without a sign", images.EIGHT_BITS)
        Image.fromarray((values / 1000 * 65535).astype(np.uint16)).save(tmp_path / "a.tif")  # the remedy
        np.testing.assert_allclose(read_image(tmp_path / "a.tif")[..., 0], values / 1000 * 255, atol=1)


class TestModes:
    @pytest.mark.parametrize(
        ("mode", "suffix"),
        [("1", "png"), ("L", "png"), ("LA", "png"), ("PA", "tif"), ("RGBA", "png"), ("RGB", "bmp"), ("CMYK", "tif"),
         ("L", "jpg"), ("CMYK", "jpg")],
    )  # fmt: skip
    def test_become_rgb_without_a_word(self, tmp_path, mode, suffix):
        """One flat colour, so that JPEG keeps it; alpha is dropped, not blended."""
        colours = {"1": (1, 255), "L": (80, 80), "LA": ((80, 9), 80), "PA": ((1, 9), (10, 20, 30)),
                   "RGB": ((10, 20, 30),) * 2, "RGBA": ((10, 20, 30, 9), (10, 20, 30)),
                   "CMYK": ((255, 0, 0, 0), (0, 255, 255))}  # fmt: skip
        given, expected = colours[mode]
        image = Image.new(mode, (16, 8), given)
        if mode == "PA":
            image.putpalette([0, 0, 0, 10, 20, 30])
        image.save(tmp_path / f"a.{suffix}")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = read_image(tmp_path / f"a.{suffix}")
        assert (found.shape, found.dtype) == ((8, 16, 3), np.uint8)
        assert abs(found.astype(int) - expected).max() <= 2 * (suffix == "jpg")
        found[0] = 0  # it can be written to

    @pytest.mark.parametrize("suffix", ["png", "gif"])
    @pytest.mark.parametrize("transparency", [None, 1, b"\x00\x80"])
    def test_palettes_with_and_without_transparency(self, tmp_path, suffix, transparency):
        numbers = pixels(shape=(8, 16), high=3)
        image = Image.fromarray(numbers)
        palette = np.array([(200, 0, 0), (10, 20, 30), (0, 0, 99)], np.uint8)
        image.putpalette(palette.ravel().tolist())
        extra = {} if transparency is None or (suffix, type(transparency)) == ("gif", bytes) else {
            "transparency": transparency
        }  # fmt: skip
        image.save(tmp_path / f"a.{suffix}", **extra)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            np.testing.assert_array_equal(read_image(tmp_path / f"a.{suffix}"), palette[numbers])

    @pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
    def test_of_an_animation_the_first_frame(self, tmp_path, suffix):
        frames = [Image.new("RGB", (16, 8), (grey,) * 3) for grey in (10, 100, 200)]
        extra = {"lossless": True} if suffix == "webp" else {}
        frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], **extra)
        with Image.open(tmp_path / f"a.{suffix}") as image:
            assert len(list(ImageSequence.Iterator(image))) == 3
        assert (read_image(tmp_path / f"a.{suffix}") == 10).all()


class TestWhatCannotBeRead:
    @pytest.fixture
    def sound(self, tmp_path):
        path = tmp_path / "a.png"
        Image.fromarray(pixels(shape=(300, 300, 3))).save(path)
        return path

    @pytest.mark.remedy("Restore it, or remove it from the data set")
    def test_an_absent_file(self, sound):
        content = sound.read_bytes()
        sound.unlink()
        refused(sound, "no such image file", "Restore it, or remove it from the data set")
        sound.write_bytes(content)  # the remedy
        assert read_image(sound).shape == (300, 300, 3)

    @pytest.mark.remedy("Copy or download it again, or remove it from the data set")
    @pytest.mark.parametrize("kind", ["empty", "text", "start", "half", "chunk", "folder"])
    def test_a_damaged_file(self, sound, kind):
        content = sound.read_bytes()
        second = content.find(b"IDAT", content.find(b"IDAT") + 4)
        damaged = {"empty": b"", "text": b"<html>not found</html>", "start": content[:20], "half": content[:90_000],
                   "chunk": content[:second] + b"\0\1\2\3" + content[second + 4 :]}  # fmt: skip
        sound.unlink()
        sound.mkdir() if kind == "folder" else sound.write_bytes(damaged[kind])
        said = {"empty": "(it is empty, 0 bytes)", "text": "(Pillow does not recognise its format)"}
        refused(sound, f"not a readable image {said.get(kind, '(')}", images.AGAIN)
        if kind != "folder":
            sound.write_bytes(content)  # the remedy
            assert read_image(sound).shape == (300, 300, 3)

    @pytest.mark.parametrize("cut", [300, 2000, 20_000])
    def test_a_truncated_jpeg(self, tmp_path, cut):
        Image.fromarray(pixels(shape=(200, 200, 3))).save(tmp_path / "a.jpg", quality=95)
        (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:cut])
        refused(tmp_path / "a.jpg", "not a readable image (", images.AGAIN)

    @pytest.mark.remedy("Shrink it, and its labels with it, or cut both into tiles")
    def test_one_above_pillows_limit_is_read_once_it_is_smaller(self, sound, monkeypatch):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30_000)
        refused(sound, "is larger than Pillow opens (Image size (90000 pixels) exceeds limit of 60000", images.SMALLER)
        Image.fromarray(pixels(shape=(150, 150, 3))).save(sound)
        assert read_image(sound).shape == (150, 150, 3)

    @pytest.mark.parametrize("name", ["a.heic", "A.HEIF", "renamed.jpg"])
    def test_heic_names_the_package_that_it_needs(self, tmp_path, monkeypatch, name):
        monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
        monkeypatch.setattr(Image, "ID", [key for key in Image.ID if key != "HEIF"])
        content = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" if name.endswith("jpg") else b"whatever"
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, "is a HEIC image, which Pillow cannot read by itself", images.HEIC)
        Image.fromarray(pixels()).save(tmp_path / "converted.png")  # a remedy
        assert read_image(tmp_path / "converted.png").shape == (6, 9, 3)

    def test_heic_is_read_with_that_package(self, tmp_path):
        package = pytest.importorskip("pillow_heif", reason="needs the extra `heic`")
        flat = Image.new("RGB", (64, 48), (200, 30, 90))
        package.from_pillow(flat).save(tmp_path / "a.heic", quality=100)
        np.testing.assert_allclose(read_image(tmp_path / "a.heic"), np.asarray(flat), atol=3)


class TestSizesOfBoxes:
    @pytest.mark.remedy(
        "Correct width and height in the annotation; were its boxes drawn at another size?",
        "turn them as the image is displayed, or save the image without its EXIF orientation",
    )
    @pytest.mark.parametrize("orientation", STORED)
    @pytest.mark.parametrize("suffix", ["jpg", "tif"])
    def test_both_sizes_are_named_where_the_orientation_exchanges_them(self, tmp_path, orientation, suffix):
        path = tmp_path / f"a.{suffix}"
        stored = np.ascontiguousarray(STORED[orientation](pixels(shape=(40, 60, 3))))
        Image.fromarray(stored).save(path, exif=oriented(orientation))
        check_boxes_size(path, (60, 40), (60, 40))
        with pytest.raises(DataError) as raised:
            check_boxes_size(path, (60, 40), (40, 60), "the JSON file")
        problem = raised.value.problem
        exchanged = f" as displayed (stored as 40 x 60, with the EXIF orientation {orientation})"
        note, remedy = (exchanged, images.AS_DISPLAYED) if orientation > 4 else ("", images.RESIZED)
        assert problem.what == f"is 60 x 40 pixels{note}, the JSON file says 40 x 60"
        assert problem.remedy == remedy
        with pytest.raises(DataError, match="says None x 7.*Correct width and height"):
            check_boxes_size(path, (60, 40), (None, 7))
        check_boxes_size(path, (60, 40), (60, 40))  # width and height corrected, or labels as it is displayed
        if orientation > 4:
            Image.fromarray(stored).save(path)
            check_boxes_size(path, displayed_size(path), (40, 60))

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from gcisg_core import views
from gcisg_core.views import PhotometricView, RandAugment, restyle


@pytest.fixture
def picture():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8))


class TestPhotometricView:
    def test_draws_anew_for_each_image(self):
        images = torch.rand(1, 3, 8, 8).repeat(4, 1, 1, 1)
        changed = PhotometricView()(images)
        assert changed.shape == images.shape
        assert all(not torch.allclose(changed[0], other) for other in changed[1:])

    def test_keeps_range_and_geometry(self):
        """A bright square stays where it is."""
        images = torch.full((8, 3, 16, 16), 0.2)
        images[:, :, 4:8, 6:12] = 0.7
        changed = PhotometricView()(images)
        assert changed.min() >= 0
        assert changed.max() <= 1
        inside = changed[:, :, 4:8, 6:12]
        torch.testing.assert_close(inside, inside.mean((2, 3), keepdim=True).expand_as(inside))
        torch.testing.assert_close(changed[:, :, 0:4], changed[:, :, 12:16])

    def test_strength_zero_changes_nothing(self):
        images = torch.rand(2, 3, 8, 8)
        torch.testing.assert_close(PhotometricView(0, 0, 0, 0)(images), images)

    def test_blurs_if_asked(self):
        images = torch.rand(2, 3, 32, 32)
        assert PhotometricView(0, 0, 0, 0, blur=1.0, sigma=(1.0, 2.0))(images).std() < images.std()

    def test_is_repeated_by_the_seed(self):
        images = torch.rand(2, 3, 8, 8)
        results = []
        for _ in range(2):
            torch.manual_seed(3)
            results.append(PhotometricView(blur=0.5)(images))
        assert torch.equal(*results)

    def test_refuses_a_probability_above_one(self):
        with pytest.raises(ValueError, match="blur must be a probability"):
            PhotometricView(blur=1.5)

    def test_stays_on_its_device(self, device):
        assert PhotometricView(blur=1.0)(torch.rand(2, 3, 8, 8, device=device)).device.type == device


class TestRestyle:
    def test_depends_on_the_seed_alone(self):
        image = torch.rand(3, 16, 16)
        torch.manual_seed(1)
        first, after = restyle(image, seed=7), torch.rand(1)
        torch.manual_seed(1)
        assert torch.rand(1) == after  # the global random state is left as it was
        assert torch.equal(restyle(image, seed=7), first)
        assert not torch.allclose(restyle(image, seed=8), first)


class TestRandAugment:
    def test_has_the_14_operations(self):
        assert len(views._OPERATIONS) == 14

    @pytest.mark.parametrize("name", views._OPERATIONS)
    def test_every_operation_keeps_size_and_kind(self, picture, name, monkeypatch):
        monkeypatch.setattr(views, "_OPERATIONS", {name: views._OPERATIONS[name]})
        for magnitude in (0, 6, 30):
            result = RandAugment(1, magnitude)(picture)
            assert result.size == picture.size
            assert result.mode == "RGB"

    @pytest.mark.parametrize(
        "name", ["rotate", "shear_x", "translate_y", "color", "contrast", "brightness", "sharpness"]
    )
    def test_magnitude_zero_changes_nothing(self, picture, name):
        assert np.array_equal(np.asarray(views._OPERATIONS[name](picture, 0.0)), np.asarray(picture))

    def test_ranges_are_those_of_csg(self, picture):
        pixels = np.asarray(picture).astype(int)
        # M = 6 of 30: solarising above 256 * 0.8, posterising to 8 - int(1.4) = 7 bits
        solarised = np.asarray(views._OPERATIONS["solarize"](picture, 0.2))
        assert np.array_equal(solarised, np.where(pixels >= 204.8, 255 - pixels, pixels))
        assert np.array_equal(np.asarray(views._OPERATIONS["posterize"](picture, 0.2)), pixels & 0b11111110)

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("rotate", lambda image, sign: image.rotate(30 * sign)),
            ("color", lambda image, sign: ImageEnhance.Color(image).enhance(1 + 0.9 * sign)),
            ("contrast", lambda image, sign: ImageEnhance.Contrast(image).enhance(1 + 0.9 * sign)),
            ("brightness", lambda image, sign: ImageEnhance.Brightness(image).enhance(1 + 0.9 * sign)),
            ("sharpness", lambda image, sign: ImageEnhance.Sharpness(image).enhance(1 + 0.9 * sign)),
            ("auto_contrast", lambda image, sign: ImageOps.autocontrast(image)),
            ("equalize", lambda image, sign: ImageOps.equalize(image)),
            ("shear_x", lambda image, sign: image.transform(image.size, Image.AFFINE, (1, 0.3 * sign, 0, 0, 1, 0))),
            ("shear_y", lambda image, sign: image.transform(image.size, Image.AFFINE, (1, 0, 0, 0.3 * sign, 1, 0))),
        ],
    )
    def test_full_strength_is_csgs(self, picture, name, expected):
        """Pillow's own operation, of either sign; a few pixels of a shear may round to the neighbour."""
        picture = picture.point(lambda value: 40 + value // 2)  # so that there is contrast to stretch
        found = np.asarray(views._OPERATIONS[name](picture, 1.0))
        assert max((found == np.asarray(expected(picture, sign))).mean() for sign in (1, -1)) > 0.98
        assert (found != np.asarray(picture)).any()

    def test_strength_is_the_share_of_the_largest_magnitude(self, picture, monkeypatch):
        seen = {}

        def remember(name):
            return lambda image, strength: seen.update({name: strength}) or image

        monkeypatch.setattr(views, "_OPERATIONS", {name: remember(name) for name in ("rotate", "translate_x")})
        RandAugment(50, 6, max_translation=40)(picture)
        assert seen == pytest.approx({"rotate": 0.2, "translate_x": 8.0})

    def test_translations_are_in_pixels(self, picture):
        moved = np.asarray(views._OPERATIONS["translate_x"](picture, 7.0))
        pixels = np.asarray(picture)
        assert np.array_equal(moved[:, 7:], pixels[:, :-7]) or np.array_equal(moved[:, :-7], pixels[:, 7:])

    @pytest.mark.parametrize("arguments", [{"magnitude": 31}, {"num_ops": -1}])
    def test_refuses_values_out_of_range(self, arguments):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            RandAugment(**arguments)

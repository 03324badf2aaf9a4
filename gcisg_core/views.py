"""Views of an image that share its content and differ in style: photometric changes and RandAugment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from gcisg_core.config import require
from gcisg_core.pasta import PASTA
from gcisg_core.styles import RandomStyle


class PhotometricView(nn.Module):
    """Colour jitter and optional further changes, drawn separately for each image of a batch, on the batch's device.

    The geometry stays: position by position both views show the same content, as the dense losses need.

    Args:
        brightness, contrast, saturation: Largest relative change, at least 0.
        hue: Largest shift, in [0, 0.5] turns.
        blur: Probability of a Gaussian blur, in [0, 1].
        sigma: Range of the blur's standard deviation, in pixels.
        styles: Arguments of :class:`gcisg_core.styles.RandomStyle`, which then comes first; None for none.
        pasta: Arguments of :class:`gcisg_core.pasta.PASTA`, which then comes last; None for none.

    Shape:
        (B, 3, H, W), RGB, floats in [0, 1] -> the same.

    Source: GCISG (ECCV 2022), Sections 4.3 and 4.4; strengths: the usual ones of torchvision; the paper states none.
    """

    def __init__(
        self,
        brightness: float = 0.4,
        contrast: float = 0.4,
        saturation: float = 0.4,
        hue: float = 0.1,
        blur: float = 0.0,
        sigma: tuple[float, float] = (0.1, 2.0),
        styles: Mapping[str, Any] | None = None,
        pasta: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        require(0 <= blur <= 1, "blur", blur, "a probability in [0, 1]")
        self.styles = None if styles is None else RandomStyle(**styles)
        self.pasta = None if pasta is None else PASTA(**pasta)
        steps: list[nn.Module] = [v2.ColorJitter(brightness, contrast, saturation, hue)]
        if blur:
            steps.append(v2.RandomApply([_gaussian_blur(sigma)], p=blur))
        self.transform = nn.Sequential(*steps)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        images = images if self.styles is None else self.styles(images)
        images = torch.stack([self.transform(image) for image in images])
        return images if self.pasta is None else self.pasta(images)


def _gaussian_blur(sigma: tuple[float, float]) -> nn.Module:
    # Three standard deviations on either side.
    return v2.GaussianBlur(kernel_size=2 * int(3 * sigma[1] + 0.5) + 1, sigma=sigma)


def restyle(image: Tensor, seed: int) -> Tensor:
    """The photometric change for the match rate; it depends only on the seed, not on machine or thread.

    Colour jitter (brightness, contrast and saturation 0.8, hue 0.3), then a Gaussian blur of sigma 0.15 to 1.3 pixels.

    Args:
        image: (..., 3, H, W), RGB, floats in [0, 1].
        seed: Chooses the change; by convention the image's index in its data set.

    Source: GCISG (ECCV 2022), Section 4, "match rate"; the strengths are RobustNet's.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        jitter, blur = v2.ColorJitter(0.8, 0.8, 0.8, 0.3), _gaussian_blur((0.15, 1.3))
        restyled: Tensor = blur(jitter(image))
        return restyled


class RandAugment(nn.Module):
    """RandAugment as CSG uses it: ``num_ops`` of 14 operations, each at the strength ``magnitude``.

    The ranges over magnitudes 0 to 30 are CSG's: rotation to 30 degrees, shear to 0.3, translation to 100 pixels,
    enhancement factors 1 +- 0.9, posterising by up to 7 bits, solarising down to threshold 0; automatic contrast and
    equalisation happen with probability magnitude / 30. Signs are random.

    Args:
        num_ops: N, the number of operations on each image.
        magnitude: M, in [0, 30].
        max_translation: Pixels at magnitude 30; scale it with the images.

    Shape:
        A PIL image or a uint8 tensor (3, H, W), RGB -> the same kind.

    Raises:
        ValueError: an argument is out of range.

    Source: CSG (ICLR 2021), Section 3.2 and Table 2 (N = 1, M = 6); Cubuk et al., RandAugment (CVPRW 2020).
    """

    def __init__(self, num_ops: int = 1, magnitude: float = 6.0, max_translation: float = 100.0) -> None:
        super().__init__()
        require(num_ops >= 0, "num_ops", num_ops, "at least 0")
        require(0 <= magnitude <= 30, "magnitude", magnitude, "in [0, 30]")
        self.num_ops, self.magnitude, self.max_translation = num_ops, magnitude, max_translation

    def forward(self, image: Any) -> Any:
        names = list(_OPERATIONS)
        for index in torch.randint(len(names), (self.num_ops,)).tolist():
            name = names[index]
            strength = self.magnitude / 30 * (self.max_translation if name.startswith("translate") else 1.0)
            image = _OPERATIONS[name](image, strength)
        return image

    def extra_repr(self) -> str:
        return f"num_ops={self.num_ops}, magnitude={self.magnitude}, max_translation={self.max_translation}"


def _chance() -> float:
    return float(torch.rand(()))


def _signed(value: float) -> float:
    return value if _chance() < 0.5 else -value


def _affine(image: Any, translate: tuple[float, float] = (0, 0), shear: tuple[float, float] = (0, 0)) -> Any:
    # Shears turn about the upper left corner, as in the original.
    degrees = [float(torch.rad2deg(torch.atan(torch.tensor(s)))) for s in shear]
    return TF.affine(image, angle=0.0, translate=list(translate), scale=1.0, shear=degrees, center=[0, 0])


# Name -> operation of an image and a strength in [0, 1], which is pixels for the translations.
_OPERATIONS: dict[str, Callable[[Any, float], Any]] = {
    "identity": lambda image, s: image,
    "auto_contrast": lambda image, s: TF.autocontrast(image) if _chance() <= s else image,
    "equalize": lambda image, s: TF.equalize(image) if _chance() <= s else image,
    "rotate": lambda image, s: TF.rotate(image, _signed(30 * s)),
    "posterize": lambda image, s: TF.posterize(image, max(1, 8 - int(7 * s))),
    "solarize": lambda image, s: TF.solarize(image, 256 * (1 - s)),
    "color": lambda image, s: TF.adjust_saturation(image, 1 + _signed(0.9 * s)),
    "contrast": lambda image, s: TF.adjust_contrast(image, 1 + _signed(0.9 * s)),
    "brightness": lambda image, s: TF.adjust_brightness(image, 1 + _signed(0.9 * s)),
    "sharpness": lambda image, s: TF.adjust_sharpness(image, 1 + _signed(0.9 * s)),
    "shear_x": lambda image, s: _affine(image, shear=(_signed(0.3 * s), 0)),
    "shear_y": lambda image, s: _affine(image, shear=(0, _signed(0.3 * s))),
    "translate_x": lambda image, pixels: _affine(image, translate=(_signed(pixels), 0)),
    "translate_y": lambda image, pixels: _affine(image, translate=(0, _signed(pixels))),
}

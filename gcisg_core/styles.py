"""Views in the style of other images, from a folder of the user (domain randomisation)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms.v2 import functional as TF

from gcisg_core.config import require
from gcisg_core.lookup import choose
from gcisg_core.problems import DataError

SUFFIXES = {".jpg", ".jpeg", ".png"}


class RandomStyle(nn.Module):
    """Gives each image of a batch, with probability ``p``, the style of an image drawn from a folder.

    Args:
        folder: A folder of JPEG or PNG images; subfolders are searched. ``~`` and environment variables are expanded.
        kind: ``statistics``: mean and standard deviation of each colour become those of the style image (AdaIN on
            pixels). ``fourier``: the amplitudes of its low frequencies, with the image's own phases (FDA).
        p: Probability; the default is that of DRPC, which has 15 styles and the image itself.
        window: For ``fourier``, half the edge of the exchanged square of low frequencies, relative to the shorter
            edge of the image.

    Shape:
        (B, 3, H, W), RGB, floats in [0, 1] -> the same; the geometry stays.

    Raises:
        DataError: the folder is missing or has no image, or an image cannot be read.
        ValueError: another argument is out of range.

    Source: DRPC (Yue et al., ICCV 2019, Section 3.1), which uses CycleGANs before training; AdaIN:
    Huang and Belongie (ICCV 2017), Eq. 8; FDA: Yang and Soatto (CVPR 2020), Eq. 3.
    """

    def __init__(self, folder: str, kind: str = "statistics", p: float = 15 / 16, window: float = 0.01) -> None:
        super().__init__()
        require(0 <= p <= 1, "p", p, "a probability in [0, 1]")
        require(0 < window <= 0.5, "window", window, "in (0, 0.5]")
        self.kind, self.p, self.window = kind, p, window
        self.transfer = choose(STYLES, kind, "kind")
        folder = str(Path(os.path.expandvars(folder)).expanduser())
        if not Path(folder).is_dir():
            raise DataError(folder, "no such folder", "Name a folder of style images: any JPEG or PNG files")
        self.files = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES)
        if not self.files:
            raise DataError(folder, "no JPEG or PNG image in it", "Name a folder of style images")

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([self._restyle(image) if torch.rand(()) < self.p else image for image in images])

    def _restyle(self, image: Tensor) -> Tensor:
        path = self.files[int(torch.randint(len(self.files), ()))]
        try:
            pixels = TF.to_dtype(decode_image(str(path), ImageReadMode.RGB), torch.uint8, scale=True)  # if of 16 bits
        except RuntimeError as error:
            raise DataError(path, f"unreadable ({error})", "Fetch the style image again, or remove it") from error
        style = TF.resize(pixels.to(image.device), list(image.shape[-2:])).to(image.dtype) / 255
        return self.transfer(image, style, self.window).clamp(0, 1)

    def extra_repr(self) -> str:
        return f"{len(self.files)} images, kind={self.kind}, p={self.p}"


def _statistics(image: Tensor, style: Tensor, window: float) -> Tensor:
    def moments(pixels: Tensor) -> tuple[Tensor, Tensor]:
        return pixels.mean(dim=(1, 2), keepdim=True), pixels.std(dim=(1, 2), keepdim=True)

    (mean, deviation), (style_mean, style_deviation) = moments(image), moments(style)
    return (image - mean) / deviation.clamp(min=1e-5) * style_deviation + style_mean


def _fourier(image: Tensor, style: Tensor, window: float) -> Tensor:
    height, width = image.shape[-2:]
    half = int(window * min(height, width))
    rows, columns = (torch.fft.fftfreq(n, 1 / n, device=image.device).abs() <= half for n in (height, width))
    own, other = torch.fft.fft2(image), torch.fft.fft2(style)
    amplitude = torch.where(rows[:, None] & columns, other.abs(), own.abs())
    return torch.fft.ifft2(torch.polar(amplitude, own.angle())).real


STYLES: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {"statistics": _statistics, "fourier": _fourier}

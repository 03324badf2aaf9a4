"""PASTA: views whose Fourier amplitudes are perturbed, high frequencies more than low ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gcisg_core.config import require


class PASTA(nn.Module):
    """Proportional amplitude spectrum training augmentation, drawn separately for each image and channel.

    Every Fourier coefficient is multiplied by a number of the normal distribution N(1, sigma^2),
    sigma = (alpha r)^k + beta, with r its frequency as a share of the largest one; the phases stay.

    Args:
        alpha: Strength, at least 0. The paper uses 3 for GTAV and Sim10k, and 10 for VisDA.
        k: Exponent, at least 0. The paper uses 2 for GTAV and Sim10k, and 1 for VisDA.
        beta: Floor, at least 0. The paper uses 0.25 for GTAV and Sim10k, and 0.5 for VisDA.

    Shape:
        (B, 3, H, W), RGB, floats in [0, 1] -> the same.

    Raises:
        ValueError: an argument is negative.

    Source: Chattopadhyay et al., PASTA (ICCV 2023), Section 3.
    """

    def __init__(self, alpha: float = 3.0, k: float = 2.0, beta: float = 0.25) -> None:
        super().__init__()
        for name, value in {"alpha": alpha, "k": k, "beta": beta}.items():
            require(value >= 0, name, value, "at least 0")
        self.alpha, self.k, self.beta = alpha, k, beta

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        rows, columns = (torch.fft.fftfreq(n, 1 / n, device=images.device) for n in (height, width))
        frequency = torch.hypot(rows[:, None], columns)
        sigma = (self.alpha * frequency / frequency.max().clamp(min=1)) ** self.k + self.beta
        spectrum = torch.fft.fft2(images) * (1 + sigma * torch.randn_like(images))
        return torch.fft.ifft2(spectrum).real.clamp(0, 1)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}, k={self.k}, beta={self.beta}"

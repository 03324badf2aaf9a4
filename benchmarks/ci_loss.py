"""Time and peak memory of the losses over the queue against their plain forms: python benchmarks/ci_loss.py"""

from __future__ import annotations

import sys
from typing import NamedTuple

import torch
import torch.nn.functional as F
from _measure import best_device, medians, peak_memory, report_peak, write_table
from torch import Tensor

from gcisg_core.losses import causal_invariance_loss, info_nce_loss

N, K, D = 1024, 65536, 128


def plain_causal_invariance(z: Tensor, z_momentum: Tensor, support: Tensor) -> Tensor:
    p_target = torch.softmax(z_momentum @ support.T / 0.04, dim=1)
    return -(p_target * torch.log_softmax(z @ support.T / 0.12, dim=1)).sum(dim=1).mean()


def plain_info_nce(z: Tensor, positive: Tensor, negatives: Tensor) -> Tensor:
    similarity = torch.cat([(z * positive).sum(dim=1, keepdim=True), z @ negatives.T], dim=1)
    return F.cross_entropy(similarity / 0.07, torch.zeros(len(z), dtype=torch.long, device=z.device))


# File -> title, and the forms.
LOSSES = {
    "ci_loss": ("Causal invariance loss", {"plain": plain_causal_invariance, "in tiles": causal_invariance_loss}),
    "info_nce_loss": ("InfoNCE", {"plain": plain_info_nce, "in tiles": info_nce_loss}),
}


class Inputs(NamedTuple):
    """Unit rows: (N, d) embeddings, (N, d) their partners, (K, d) the queue."""

    z: Tensor
    partner: Tensor
    support: Tensor

    @classmethod
    def random(cls, rows: int = N, length: int = K, device: str | None = None) -> Inputs:
        torch.manual_seed(0)
        shapes = ((count, D) for count in (rows, rows, length))
        return cls(*(F.normalize(torch.randn(shape)).to(device or best_device()) for shape in shapes))

    def step(self, loss: str, form: str, rows: int | None = None) -> None:
        """Loss and gradient, of the first rows or of all."""
        z = self.z[:rows].detach().requires_grad_()
        LOSSES[loss][1][form](z, self.partner[:rows], self.support).backward()


def main() -> None:
    given = Inputs.random()
    if len(sys.argv) > 1:
        loss, form = sys.argv[1].split("/")
        given.step(loss, form, rows=8)  # threads and libraries take their memory before the measurement
        report_peak(lambda: given.step(loss, form))
        return
    for loss, (title, forms) in LOSSES.items():
        seconds = medians({form: lambda loss=loss, form=form: given.step(loss, form) for form in forms}, runs=7)
        memory = {form: peak_memory(__file__, f"{loss}/{form}") for form in forms}
        write_table(
            loss,
            f"{title}, value and gradient, N = {N}, K = {K}, d = {D}, float32",
            [
                [form, seconds[form], seconds["plain"] / seconds[form], memory[form], memory["plain"] / memory[form]]
                for form in forms
            ],
            ["form", "seconds", "times faster", "extra peak MB", "times less memory"],
            "Medians of 7 runs in turn; memory is the growth of a process's peak over the loaded tensors.",
        )


if __name__ == "__main__":
    main()

"""Time and peak memory of the losses over the queue against their plain forms: python benchmarks/ci_loss.py"""

from __future__ import annotations

import sys

import torch
import torch.nn.functional as F
from _measure import medians, peak_memory, report_peak, write_table

from gcisg_core.losses import causal_invariance_loss, info_nce_loss

N, K, D = 1024, 65536, 128


def plain_causal_invariance(z: torch.Tensor, z_momentum: torch.Tensor, support: torch.Tensor) -> torch.Tensor:
    p_target = torch.softmax(z_momentum @ support.T / 0.04, dim=1)
    return -(p_target * torch.log_softmax(z @ support.T / 0.12, dim=1)).sum(dim=1).mean()


def plain_info_nce(z: torch.Tensor, positive: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
    similarity = torch.cat([(z * positive).sum(dim=1, keepdim=True), z @ negatives.T], dim=1)
    return F.cross_entropy(similarity / 0.07, torch.zeros(len(z), dtype=torch.long))


# File -> title, and the forms.
LOSSES = {
    "ci_loss": ("Causal invariance loss", {"plain": plain_causal_invariance, "in tiles": causal_invariance_loss}),
    "info_nce_loss": ("InfoNCE", {"plain": plain_info_nce, "in tiles": info_nce_loss}),
}


def step(loss: str, form: str, rows: int = N) -> None:
    """Loss and gradient."""
    z = Z[:rows].detach().requires_grad_()
    LOSSES[loss][1][form](z, PARTNER[:rows], SUPPORT).backward()


if __name__ == "__main__":
    torch.manual_seed(0)
    Z, PARTNER, SUPPORT = (F.normalize(torch.randn(rows, D)) for rows in (N, N, K))
    if len(sys.argv) > 1:
        loss, form = sys.argv[1].split("/")
        step(loss, form, rows=8)  # threads and libraries take their memory before the measurement
        report_peak(lambda: step(loss, form))
    else:
        for loss, (title, forms) in LOSSES.items():
            seconds = medians({form: lambda loss=loss, form=form: step(loss, form) for form in forms}, runs=7)
            memory = {form: peak_memory(__file__, f"{loss}/{form}") for form in forms}
            write_table(
                loss,
                f"{title}, value and gradient, N = {N}, K = {K}, d = {D}, float32",
                [
                    [
                        form,
                        seconds[form],
                        seconds["plain"] / seconds[form],
                        memory[form],
                        memory["plain"] / memory[form],
                    ]
                    for form in forms
                ],
                ["form", "seconds", "times faster", "extra peak MB", "times less memory"],
                "Medians of 7 runs in turn; memory is the growth of a process's peak over the loaded tensors.",
            )

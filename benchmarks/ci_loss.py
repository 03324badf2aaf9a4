"""Time and peak memory of the causal invariance loss against its plain softmax form: python benchmarks/ci_loss.py"""

from __future__ import annotations

import sys

import torch
import torch.nn.functional as F
from _measure import medians, peak_memory, report_peak, write_table

from gcisg_core.losses import causal_invariance_loss

N, K, D = 1024, 65536, 128


def plain(z: torch.Tensor, z_target: torch.Tensor, support: torch.Tensor) -> torch.Tensor:
    p_target = torch.softmax(z_target @ support.T / 0.04, dim=1)
    return -(p_target * torch.log_softmax(z @ support.T / 0.12, dim=1)).sum(dim=1).mean()


FORMS = {"plain": plain, "chunked": causal_invariance_loss}


def step(name: str) -> None:
    """Loss and gradient."""
    z = Z.detach().requires_grad_()
    FORMS[name](z, Z_TARGET, SUPPORT).backward()


if __name__ == "__main__":
    torch.manual_seed(0)
    Z, Z_TARGET, SUPPORT = (F.normalize(torch.randn(rows, D)) for rows in (N, N, K))
    if len(sys.argv) > 1:
        # Threads and libraries take their memory before the measurement.
        FORMS[sys.argv[1]](Z[:8].requires_grad_(), Z_TARGET[:8], SUPPORT).backward()
        report_peak(lambda: step(sys.argv[1]))
    else:
        seconds = medians({name: lambda name=name: step(name) for name in FORMS}, runs=7)
        memory = {name: peak_memory(__file__, name) for name in FORMS}
        rows = [
            [name, seconds[name], seconds["plain"] / seconds[name], memory[name], memory["plain"] / memory[name]]
            for name in FORMS
        ]
        write_table(
            "ci_loss",
            f"Causal invariance loss, value and gradient, N = {N}, K = {K}, d = {D}, float32",
            rows,
            ["form", "seconds", "times faster", "extra peak MB", "times less memory"],
            "Medians of 7 runs in turn; memory is the growth of a process's peak over the loaded tensors.",
        )

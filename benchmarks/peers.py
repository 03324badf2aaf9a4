"""InfoNCE with its queue, as CSG and MoCo use it, here and in lightly: python benchmarks/peers.py

A step is the loss, its gradient and the enqueuing of its keys; both begin with the same queue and must agree. lightly
is measured where it can be imported: `make peers` puts it into runs/peers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from _measure import medians, peak_memory, report_peak, write_table
from ci_loss import D, Inputs, K, N
from torch import Tensor

from gcisg_core.losses import info_nce_loss
from gcisg_core.queue import SupportQueue

sys.path.append(str(Path(__file__).resolve().parents[1] / "runs" / "peers"))
Loss = Callable[[Tensor, Tensor], Tensor]
HOW = "lightly is not installed, so the table of {file} is not made again. `make peers` installs it into runs/peers"


def ours(support: Tensor) -> Loss:
    queue = SupportQueue(len(support), D).to(support.device)
    queue.features.copy_(support)

    def loss(z: Tensor, key: Tensor) -> Tensor:
        value = info_nce_loss(z, key, queue.features)
        queue.enqueue(key)
        return value

    return loss


def lightlys(support: Tensor) -> Loss:
    from lightly.loss.ntx_ent_loss import NTXentLoss

    module = NTXentLoss(temperature=0.07, memory_bank_size=support.shape).to(support.device)
    module.memory_bank.bank.copy_(support)
    loss: Loss = module
    return loss


FORMS = {"lightly": lightlys, "GCISG": ours}


def step(loss: Loss, given: Inputs, rows: int | None = None) -> Tensor:
    """One step on the first rows, or on all; returns the loss."""
    z = given.z[:rows].detach().requires_grad_()
    value = loss(z, given.partner[:rows])
    value.backward()
    return value.detach()


def main() -> None:
    try:
        import lightly
    except ImportError:
        sys.exit(HOW.format(file="benchmarks/results/peers.md"))
    given = Inputs.random()
    if len(sys.argv) > 1:
        loss = FORMS[sys.argv[1]](given.support)
        step(loss, given, rows=8)  # threads and libraries take their memory before the measurement
        report_peak(lambda: step(loss, given))
        return
    losses = {name: form(given.support) for name, form in FORMS.items()}
    torch.testing.assert_close(*(step(loss, given) for loss in losses.values()))
    seconds = medians({name: lambda loss=loss: step(loss, given) for name, loss in losses.items()}, runs=7)
    memory = {name: peak_memory(__file__, name) for name in FORMS}
    write_table(
        "peers",
        f"InfoNCE with its queue: value, gradient and enqueuing, N = {N}, K = {K}, d = {D}, float32",
        [[n, seconds[n], seconds["lightly"] / seconds[n], memory[n], memory["lightly"] / memory[n]] for n in FORMS],
        ["form", "seconds", "times faster", "extra peak MB", "times less memory"],
        f"lightly {lightly.__version__}: `NTXentLoss` with its memory bank; GCISG: `info_nce_loss` and `SupportQueue`. "
        "Both give the same value. Medians of 7 runs in turn; memory is the growth of a process's peak over the loaded "
        "tensors.",
    )


if __name__ == "__main__":
    main()

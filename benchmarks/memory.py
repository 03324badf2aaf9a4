"""Memory of a training step at the papers' sizes, computed on any machine: python benchmarks/memory.py

No GPU is needed. The state is counted (weights and buffers of all networks, gradients and momentum of the trained
ones), and what the backward pass needs is counted in a real step of a few images: the bytes of all distinct tensors
that autograd keeps. Not in it: the CUDA context, workspaces of cuDNN, fragmentation, and what lives inside one layer
only; on a GPU expect 1 to 3 GB more.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from _measure import write_table
from _tasks import PAPERS, TASKS
from torch import Tensor, nn

GB = 2**30
COUNTED = {"classification": 2, "segmentation": 2, "detection": 1}  # images of the step whose bytes are counted
RECOMPUTE = "+recompute"
METHODS = ["baseline", "csg", "gcisg", f"gcisg{RECOMPUTE}"]


@contextmanager
def saved_bytes(model: nn.Module) -> Iterator[dict[int, int]]:
    """Address -> bytes of each storage that autograd keeps inside the block, the model's own tensors excepted."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor  # held by the graph, so that no address is used twice

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield kept


def state_bytes(model: nn.Module) -> int:
    """Weights and buffers, and as much again for gradient and for momentum of what is trained."""
    everything = sum(t.nbytes for t in (*model.parameters(), *model.buffers()))
    return everything + 2 * sum(p.nbytes for p in model.parameters() if p.requires_grad)


def row(task: str, method: str) -> list[object]:
    """A line of the table; ``METHOD+recompute`` has the setting `recompute_other_view`."""
    recipe, images = PAPERS[task], COUNTED[task]
    torch.manual_seed(0)
    config = recipe.config.format(method.removesuffix(RECOMPUTE))
    step = TASKS[task](config, recipe.size._replace(images=images), "cpu", None)
    model, batch = step.model, recipe.size.images
    if method.endswith(RECOMPUTE):
        settings = model.regularizer.settings
        model.regularizer.settings = dataclasses.replace(settings, recompute_other_view=True)
    with saved_bytes(model) as kept:
        loss = step.losses()
    image = sum(kept.values()) / images
    state = state_bytes(model)
    del loss
    ranks = min(8, batch)
    totals = [(state + count * image) / GB for count in (batch, batch // ranks)]
    size = f"{recipe.size.height} x {recipe.size.width}"
    return [task, method, size, state / GB, image / GB, f"{totals[0]:.1f} ({batch})",
            f"{totals[1]:.1f} ({ranks} x {batch // ranks})"]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--methods", nargs="+", default=METHODS, help="as in the configs' names")
    args = parser.parse_args()
    rows = [row(task, method) for task in args.tasks for method in args.methods]
    heads = ["computed: task", "config", "image", "state, GB", "an image, GB", "one GPU, GB (batch)",
             "each of several, GB"]  # fmt: skip
    notes = (
        "Computed, not measured on a GPU; float32. An image: what the backward pass keeps of it, both views. "
        "`+recompute`: with `recompute_other_view`, whose second pass comes when the task's activations are gone. Not "
        "counted: CUDA context, cuDNN workspaces, fragmentation and what lives inside one layer."
    )
    write_table("memory", "Memory of a training step at the papers' sizes", rows, heads, notes)


if __name__ == "__main__":
    main()

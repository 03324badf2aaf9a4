"""Memory of a training step at the papers' sizes, computed on any machine: python benchmarks/memory.py

No GPU is needed. The state is counted (weights and buffers of all networks, gradients and momentum of the trained
ones), and what the backward pass needs is counted in a real step of a few images: the bytes of all distinct tensors
that autograd keeps. Not in it: the CUDA context, workspaces of cuDNN, fragmentation, and what lives inside one layer
only; on a GPU expect 1 to 3 GB more.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import gcisg_det  # noqa: F401  registers the parts, and repairs Detectron2 0.5 before it is imported

# isort: split
import torch
from _measure import write_table
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

import gcisg_cls  # noqa: F401
import gcisg_seg.registry  # noqa: F401
from gcisg_det.config import read_config

GB = 2**30
Losses = Callable[[int], Any]  # of a step with so many images


class Recipe(NamedTuple):
    """A task at the paper's size: total batch, size of an image, and images of the step that is counted."""

    batch: int
    size: tuple[int, int]
    images: int
    build: Callable[[str, tuple[int, int]], tuple[Any, Losses]]


def classification(method: str, size: tuple[int, int]) -> tuple[Any, Losses]:
    init_default_scope("mmengine")
    config = Config.fromfile(f"projects/classification/{method}_r101_visda17.py").model
    config.weights = None
    model = MODELS.build(config)

    def losses(images: int) -> Any:
        views = [torch.randn(images, 3, *size) for _ in range(2)]
        return model.parse_losses(model(views, torch.arange(images) % 12, mode="loss"))[0]

    return model, losses


def segmentation(method: str, size: tuple[int, int]) -> tuple[Any, Losses]:
    init_default_scope("mmseg")
    config = Config.fromfile(f"projects/segmentation/{method}_r50_deeplabv3_gtav2cityscapes.py").model
    config.backbone.init_cfg = None
    model = MODELS.build(config)

    def losses(images: int) -> Any:
        views = [torch.randn(images, 3, *size) for _ in range(2)]
        samples = [SegDataSample(gt_sem_seg=PixelData(data=torch.randint(19, (1, *size)))) for _ in range(images)]
        return model.parse_losses(model.loss(views, samples))[0]

    return model, losses


def detection(method: str, size: tuple[int, int]) -> tuple[Any, Losses]:
    overrides = ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", ""]
    model: Any = build_model(read_config(f"projects/detection/{method}_r101_fpn.yaml", overrides))

    def losses(images: int) -> Any:
        instances = Instances(size)
        instances.gt_boxes = Boxes(torch.tensor([[0.1, 0.1, 0.6, 0.6]]) * min(size))
        instances.gt_classes = torch.tensor([0])
        image = torch.randint(256, (3, *size), dtype=torch.uint8)
        item = {"image": image, "instances": instances, "height": size[0], "width": size[1]}
        with EventStorage():
            return sum(model([dict(item) for _ in range(images)]).values())

    return model, losses


TASKS = {
    "classification": Recipe(64, (224, 224), 2, classification),
    "segmentation": Recipe(8, (512, 512), 2, segmentation),
    "detection": Recipe(4, (736, 1333), 1, detection),  # Sim10k's 1914 x 1052 at the largest training size
}


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
    recipe = TASKS[task]
    torch.manual_seed(0)
    model, losses = recipe.build(method, recipe.size)
    model.train()
    with saved_bytes(model) as kept:
        loss = losses(recipe.images)
    image = sum(kept.values()) / recipe.images
    state = state_bytes(model)
    del loss
    ranks = min(8, recipe.batch)
    totals = [(state + batch * image) / GB for batch in (recipe.batch, recipe.batch // ranks)]
    size = "{} x {}".format(*recipe.size)
    return [task, method, size, state / GB, image / GB, f"{totals[0]:.1f} ({recipe.batch})",
            f"{totals[1]:.1f} ({ranks} x {recipe.batch // ranks})"]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--methods", nargs="+", default=["baseline", "csg", "gcisg"], help="as in the configs' names")
    args = parser.parse_args()
    rows = [row(task, method) for task in args.tasks for method in args.methods]
    heads = ["computed: task", "config", "image", "state, GB", "an image, GB", "one GPU, GB (batch)",
             "each of several, GB"]  # fmt: skip
    notes = (
        "Computed, not measured on a GPU; float32. An image: what the backward pass keeps of it, both views. Not "
        "counted: CUDA context, cuDNN workspaces, fragmentation and what lives inside one layer."
    )
    write_table("memory", "Memory of a training step at the papers' sizes", rows, heads, notes)


if __name__ == "__main__":
    main()

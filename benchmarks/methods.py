"""A training step of every method in every task, in time and memory, over that of `none` and over its floor.

The floor counts what a method cannot do without, in passes of the backbone: 1 for a forward pass, 3 for a forward and
backward pass, counted while it trains. Its time is the step of `none` and a measured forward pass for each unit that is
more than those of `none`. Passes that end at an earlier stage count as whole ones.

    python benchmarks/methods.py --batch 8 --size 512              # a GPU; the defaults suit two CPU cores
    python benchmarks/methods.py --tasks detection --methods gcisg csg
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import gcisg_det  # noqa: F401  registers the parts, and repairs Detectron2 0.5 before it is imported

# isort: split
import torch
from _measure import medians, report_peak, write_table
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torchvision.models import resnet50

import gcisg_seg.registry  # noqa: F401 - registers the parts
from gcisg_cls.classifier import SynToRealClassifier
from gcisg_core.guides import GuideNetwork
from gcisg_core.regularizers import METHODS
from gcisg_det.config import read_config

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
Losses = Callable[[], Any]


@cache
def network_file() -> str:
    """A state dict of torchvision's ResNet-50 with random weights."""
    file = Path(tempfile.mkdtemp()) / "resnet50.pth"
    torch.save(resnet50().state_dict(), file)
    return str(file)


def settings_of(method: str) -> dict[str, Any]:
    """The method's defaults, with what it cannot be without; whitening without its warm-up, which costs otherwise."""
    needed: dict[str, Callable[[], dict[str, Any]]] = {
        "asg": lambda: {"classifier": network_file()},
        "guided": lambda: {"guide": "torchvision:resnet50", "guide_weights": network_file()},
        "isw": lambda: {"warmup_steps": 1, "statistics_steps": 1},
    }
    return {"method": method, **needed.get(method, dict)()}


def classification(method: str, batch: int, size: int) -> tuple[Any, Losses]:
    model = SynToRealClassifier("resnet50", regularizer=settings_of(method)).to(DEVICE).train()
    views = [torch.randn(batch, 3, size, size, device=DEVICE) for _ in range(2)]
    label = torch.arange(batch, device=DEVICE) % 12
    return model, lambda: model.parse_losses(model(views, label, mode="loss"))[0]


def segmentation(method: str, batch: int, size: int) -> tuple[Any, Losses]:
    init_default_scope("mmseg")
    config = Config.fromfile("projects/segmentation/baseline_r50_deeplabv3_gtav2cityscapes.py").model
    config.backbone.init_cfg, config.regularizer = None, settings_of(method)
    model = MODELS.build(config).to(DEVICE)
    model.train()
    views = [torch.randn(batch, 3, size, size, device=DEVICE) for _ in range(2)]
    labels = torch.randint(19, (batch, 1, size, size), device=DEVICE)
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
    return model, lambda: model.parse_losses(model.loss(views, samples))[0]


def detection(method: str, batch: int, size: int) -> tuple[Any, Losses]:
    chosen = [item for name, value in settings_of(method).items() for item in (f"REGULARIZER.{name.upper()}", value)]
    config = "projects/detection/baseline_r50_fpn.yaml"
    model: Any = build_model(read_config(config, ["MODEL.DEVICE", DEVICE, "MODEL.WEIGHTS", "", *chosen])).train()
    items = []
    for _ in range(batch):
        instances = Instances((size, size))
        instances.gt_boxes = Boxes(torch.tensor([[0.1, 0.1, 0.6, 0.6]]) * size)
        instances.gt_classes = torch.tensor([0])
        image = torch.randint(256, (3, size, size), dtype=torch.uint8)
        items.append({"image": image, "instances": instances, "height": size, "width": size})

    def losses() -> Any:
        with EventStorage():
            return sum(model(items).values())

    return model, losses


TASKS = {"classification": classification, "segmentation": segmentation, "detection": detection}


class Steps:
    """A method in a task, and its steps."""

    def __init__(self, task: str, method: str, batch: int, size: int) -> None:
        torch.manual_seed(0)
        self.model, self.losses = TASKS[task](method, batch, size)
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.SGD(trained, lr=1e-9)  # random weights must not diverge
        self.optimizer.register_step_pre_hook(lambda *_: self.model.regularizer.before_optimizer_step())
        self.images = torch.randn(batch, 3, size, size, device=DEVICE)

    def step(self) -> None:
        self.losses().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.model.regularizer.after_optimizer_step()

    @torch.no_grad()
    def forward(self) -> None:
        self.model.regularizer.student(self.images)

    def passes(self) -> int:
        """Of one step, in units of a forward pass: of the student and of every network beside it."""
        self.step()  # the first step copies, and fills schedules
        counts: list[int] = []
        with counting(self.model, counts):
            self.step()
        return sum(counts)


@contextmanager
def counting(model: Any, counts: list[int]) -> Iterator[None]:
    """Notes each pass that reaches the first convolution of the student or of a network beside it."""
    student = model.regularizer.student
    trained = any(parameter.requires_grad for parameter in student.parameters())

    def count(weight: int, *_: Any) -> None:
        counts.append(weight if torch.is_grad_enabled() else 1)

    weights = {}
    for network in (m for m in model.modules() if type(m) is type(student) or isinstance(m, GuideNetwork)):
        first = next(module for module in network.modules() if isinstance(module, torch.nn.Conv2d))
        weights[first] = 3 if network is student and trained else 1
    handles = [first.register_forward_pre_hook(partial(count, weight)) for first, weight in weights.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def build_and_step(task: str, method: str, batch: int, size: int) -> None:
    steps = Steps(task, method, batch, size)
    for _ in range(3):
        steps.step()


def peak(task: str, method: str, size: list[str]) -> float:
    """MB at the peak of a process that makes three steps."""
    command = [sys.executable, __file__, "--peak", task, method, *size]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def rows_of(task: str, methods: list[str], args: argparse.Namespace) -> Iterator[list[object]]:
    size = ["--batch", str(args.batch), "--size", str(args.size)]
    memory = {method: peak(task, method, size) for method in methods}
    baseline = Steps(task, "none", args.batch, args.size)
    units = baseline.passes()
    for method in methods:
        steps = Steps(task, method, args.batch, args.size)
        passes = steps.passes()
        # In turn with the baseline: the machine's speed drifts.
        seconds = medians({"none": baseline.step, "forward": baseline.forward, method: steps.step}, args.runs)
        own, none = seconds[method], seconds["none"]
        floor = none + (passes - units) * seconds["forward"]
        yield [task, method, own, own / none, passes, floor / none, own / floor, memory[method] - memory["none"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peak", nargs=2, metavar=("TASK", "METHOD"), help=argparse.SUPPRESS)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--size", type=int, default=128, help="edge of the images, at least 64")
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    if args.peak:
        three_steps = partial(build_and_step, *args.peak, args.batch, args.size)
        if DEVICE == "cuda":
            three_steps()
            print(torch.cuda.max_memory_allocated() / 2**20)
        else:
            report_peak(three_steps)
        return
    methods = ["none", *(method for method in args.methods if method != "none")]
    rows = [row for task in args.tasks for row in rows_of(task, methods, args)]
    heads = ["task", "method", "s / step", "of none", "passes", "floor of none", "of its floor", "MB over none"]
    title = f"A training step of every method, ResNet-50, batch {args.batch}, {args.size} x {args.size}"
    notes = (
        f"Passes of the backbone in units of a forward pass. Medians of {args.runs} runs in turn with `none`. "
        f"Memory: peak, above its imports, of a process of its own that builds the model and makes three steps."
    )
    write_table("methods", title, rows, heads, notes)


if __name__ == "__main__":
    main()

"""A training step of GCISG for segmentation against the baseline's and against its floor, in time and memory.

The floor counts what the method cannot do without, in backbone passes: forward and backward of the student on two
views, momentum encoder on two, reference on one. With a backward pass as two forward passes that is
2 x 3 + 2 + 1 = 9 units, against 3 of the baseline; the heads run once in both.

    python benchmarks/step_cost_segmentation.py --crop 512 --batch 8       # a GPU; the defaults suit two CPU cores
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

import torch
from _measure import medians, peak_memory, report_peak, write_step_table
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

import gcisg_seg.registry  # noqa: F401 - registers the parts
from gcisg_core.regularizers import build_regularizer
from gcisg_core.regularizers.base import Terms

CONFIG = "projects/segmentation/gcisg_r50_deeplabv3_gtav2cityscapes.py"
CELL = 512 // 8  # pixels: small crops have as many patches for their size as the recipe's
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def build(method: str, patches: int) -> Any:
    config = Config.fromfile(CONFIG).model
    config.backbone.init_cfg = None
    config.regularizer.patches = (patches, patches)
    if method == "none":
        config.regularizer = {"method": "none"}
    model = MODELS.build(config).to(DEVICE)
    model.train()
    return model


class Steps:
    """The alternatives that are timed, each a function without arguments."""

    def __init__(self, batch: int, crop: int) -> None:
        torch.manual_seed(0)
        self.views = [torch.randn(batch, 3, crop, crop, device=DEVICE) for _ in range(2)]
        self.samples = [
            SegDataSample(gt_sem_seg=PixelData(data=torch.randint(19, (1, crop, crop), device=DEVICE)))
            for _ in range(batch)
        ]
        patches = crop // CELL
        self.baseline, self.gcisg = build("none", patches), build("gcisg", patches)
        self.optimizers = {m: torch.optim.SGD(m.parameters(), lr=1e-6) for m in (self.baseline, self.gcisg)}

    def step(self, model: Any) -> None:
        losses, _ = model.parse_losses(model.loss(self.views, self.samples))
        losses.backward()
        self.optimizers[model].step()
        self.optimizers[model].zero_grad()
        model.regularizer.after_optimizer_step()

    def student_second_view(self) -> None:
        features = self.gcisg.regularizer.taps[1].run(self.gcisg.backbone, self.views[1])
        sum(maps.mean() for maps in features.values()).backward()
        self.gcisg.zero_grad()


class Stages(torch.nn.Module):
    """Stands for a backbone whose stages 3 and 4 have these channels."""

    out_indices = (2, 3)

    def __init__(self, channels: tuple[int, int]) -> None:
        super().__init__()
        self.channels = channels
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        return [images.new_zeros(len(images), channels, 8, 8) for channels in self.channels]


def ci_part(channels: tuple[int, int], side: int, queue_length: int, measure: Callable[[Callable], None]) -> None:
    """Causal invariance given the stage outputs of batch 8: its queues and projectors, the loss and its gradient."""
    maps = [
        {stage: torch.rand(8, width, side, side) for stage, width in zip((3, 4), channels, strict=True)}
        for _ in range(2)
    ]

    def run() -> None:
        settings = {"method": "gcisg", "patches": (8, 8), "lambda_guidance": 0.0, "queue_length": queue_length}
        regularizer: Any = build_regularizer(Stages(channels), settings)
        terms = Terms({}, {})
        z = [regularizer._embed(regularizer.projectors, view, None) for view in maps]
        with torch.no_grad():
            z_momentum = [regularizer._embed(regularizer.momentum_encoder.projectors, view, None) for view in maps]
        regularizer._align(terms, z, z_momentum)
        sum(terms.losses.values()).backward()

    measure(run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=["all", "ci"], default="all", help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--crop", type=int, default=128, help="edge of the crops, at least 64")
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    if args.part == "ci":
        # First in small: what torch's libraries load and keep for themselves is no part of the method.
        ci_part((8, 8), 8, 64, lambda run: run())
        ci_part((1024, 2048), 64, 65536, report_peak)
        return

    init_default_scope("mmseg")
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"  # what is freed goes back to the system, so the peak is exact
    ci_memory = peak_memory(__file__, "ci")
    steps = Steps(args.batch, args.crop)
    method = steps.gcisg.regularizer
    seconds = medians(
        {
            "baseline step": lambda: steps.step(steps.baseline),
            "GCISG step": lambda: steps.step(steps.gcisg),
            "student, second view": steps.student_second_view,
            "target, one view": lambda: method.momentum_encoder(steps.views[0], steps.gcisg.backbone),
            "reference, one view": lambda: method.reference(steps.views[0]),
            "average of the target": method.after_optimizer_step,
        },
        args.runs,
    )
    write_step_table(
        "step_cost_segmentation",
        f"A training step, DeepLabV3 R50, output stride 8, batch {args.batch}, {args.crop} x {args.crop}, K = 65536, "
        f"{(args.crop // CELL) ** 2} patches",
        seconds,
        args.runs,
        f"Causal invariance adds {ci_memory:.0f} MB to the peak at batch 8, 512 x 512, 64 patches, float32, given the "
        "stage outputs: queues, projectors and their first state, the loss and its gradient; in a process of its own.",
    )


if __name__ == "__main__":
    main()

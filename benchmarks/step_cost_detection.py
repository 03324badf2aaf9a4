"""A training step of GCISG for detection against the baseline's and against its floor, in time and memory.

The floor counts what the method cannot do without, in passes of the bottom-up network: forward and backward of the
student on view 2, momentum encoder on two views, reference on one, beside the baseline's whole step.

    python benchmarks/step_cost_detection.py --height 800 --width 1333 --batch 4    # a GPU; the defaults suit a CPU
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from typing import Any

import gcisg_det  # noqa: F401  registers the parts, and repairs Detectron2 0.5 before it is imported

# isort: split
import torch
from _measure import medians, write_step_table
from detectron2.modeling import build_model
from detectron2.solver import build_optimizer
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage

from gcisg_det.config import read_config

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Steps:
    """The alternatives that are timed, each a method without arguments."""

    def __init__(self, method: str, batch: int, height: int, width: int) -> None:
        torch.manual_seed(0)
        cfg = read_config(f"projects/detection/{method}_r101_fpn.yaml", ["MODEL.DEVICE", DEVICE])
        self.model: Any = build_model(cfg).train()
        self.optimizer = build_optimizer(cfg, self.model)
        for group in self.optimizer.param_groups:
            group["lr"] = 1e-9  # random weights must not diverge
        self.items = []
        for _ in range(batch):
            instances = Instances((height, width))
            corners = torch.rand(8, 2) * torch.tensor([width, height]) * 0.7
            sizes = torch.tensor([width, height]) * 0.2
            instances.gt_boxes, instances.gt_classes = (
                Boxes(torch.cat([corners, corners + sizes], 1)),
                torch.zeros(8).long(),
            )
            image = torch.randint(256, (3, height, width), dtype=torch.uint8)
            self.items.append({"image": image, "instances": instances, "height": height, "width": width})
        with torch.no_grad():
            self.images = self.model._backbone_input(self.model._draw(self.items))

    def step(self) -> None:
        with EventStorage():
            losses = self.model(self.items)
        self.optimizer.zero_grad()
        sum(losses.values()).backward()
        self.optimizer.step()
        self.model.regularizer.after_optimizer_step()

    def student_second_view(self) -> None:
        method = self.model.regularizer
        features = method.taps[1].run(method.student, self.images)
        sum(maps.mean() for maps in features.values()).backward()
        self.optimizer.zero_grad()


def peak(method: str, size: list[str]) -> float:
    """MB at the peak of a process that makes two steps."""
    command = [sys.executable, __file__, "--peak", method, *size]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peak", choices=["baseline", "gcisg"], help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--height", type=int, default=192)
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    if args.peak:
        steps = Steps(args.peak, args.batch, args.height, args.width)
        steps.step()
        steps.step()
        usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(torch.cuda.max_memory_allocated() / 2**20 if DEVICE == "cuda" else usage)
        return

    size = ["--batch", str(args.batch), "--height", str(args.height), "--width", str(args.width)]
    memory = {method: peak(method, size) for method in ("baseline", "gcisg")}
    baseline, gcisg = (Steps(method, args.batch, args.height, args.width) for method in ("baseline", "gcisg"))
    method = gcisg.model.regularizer
    gcisg.step()  # the first step copies the pretrained weights
    seconds = medians(
        {
            "baseline step": baseline.step,
            "GCISG step": gcisg.step,
            "student, second view": gcisg.student_second_view,
            "target, one view": lambda: method.momentum_encoder(gcisg.images, method.student),
            "reference, one view": lambda: method.reference(gcisg.images),
            "average of the target": method.after_optimizer_step,
            "one view: jitter": lambda: gcisg.model._draw(gcisg.items),
            "one view: normalisation and padding": lambda: gcisg.model._backbone_input(gcisg.items),
        },
        args.runs,
    )
    write_step_table(
        "step_cost_detection",
        f"A training step, Faster R-CNN R101-FPN, batch {args.batch}, {args.height} x {args.width}, K = 65536",
        seconds,
        args.runs,
        f"Peak memory of a process that makes two steps: baseline {memory['baseline']:.0f} MB, GCISG "
        f"{memory['gcisg']:.0f} MB.",
    )


if __name__ == "__main__":
    main()

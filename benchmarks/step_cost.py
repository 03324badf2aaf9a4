"""A training step of GCISG against the baseline's and against its floor: python benchmarks/step_cost.py

The floor counts what the method cannot do without: the task's step on one view, forward and backward of the student on
the other, two forward passes of the target and one of the reference. In units of a forward pass: 3 + 3 + 2 + 1 = 9,
against 3 of the baseline.
"""

from __future__ import annotations

import argparse

import torch
from _measure import medians, write_step_table

import gcisg_cls  # noqa: F401 - registers the parts
from gcisg_cls.classifier import SynToRealClassifier


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet101")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=128, help="edge of the images")
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()

    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    views = [torch.rand(args.batch, 3, args.size, args.size, device=device) for _ in range(2)]
    label = torch.arange(args.batch, device=device) % 12

    def build(method: str) -> SynToRealClassifier:
        return SynToRealClassifier(args.backbone, regularizer={"method": method}).to(device).train()

    baseline, gcisg = build("none"), build("gcisg")
    regularizer = gcisg.regularizer
    optimizers = {model: torch.optim.SGD(model.parameters(), lr=1e-6) for model in (baseline, gcisg)}

    def step(model: SynToRealClassifier) -> None:
        losses = model(views, label, mode="loss")
        sum(value for name, value in losses.items() if "loss" in name).backward()
        optimizers[model].step()
        optimizers[model].zero_grad()
        model.regularizer.after_optimizer_step()

    def student_second_view() -> None:
        features = regularizer.taps[1].run(gcisg.backbone, views[1])
        sum(f.mean() for f in features.values()).backward()
        gcisg.zero_grad()

    seconds = medians(
        {
            "baseline step": lambda: step(baseline),
            "GCISG step": lambda: step(gcisg),
            "student, second view": student_second_view,
            "target, one view": lambda: regularizer.momentum_encoder(views[0], gcisg.backbone),
            "reference, one view": lambda: regularizer.reference(views[0]),
            "average of the target": regularizer.after_optimizer_step,
        },
        args.runs,
    )
    title = f"A training step, {args.backbone}, batch {args.batch}, {args.size} x {args.size}, K = 65536"
    write_step_table("step_cost", title, seconds, args.runs)


if __name__ == "__main__":
    main()

"""The classification part of the demonstration: baseline and GCISG on the miniature, and what they look at."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.image import show_cam_on_image

from gcisg_analysis.report import Picture, Section, compare
from gcisg_cls.datasets import VisDA17Dataset
from gcisg_cls.mini import half, train, train_and_measure
from gcisg_cls.views import normalize

CONFIGS = {"baseline": "baseline_mini", "GCISG": "gcisg_mini"}
MEASURES = {"accuracy": "accuracy %", "match_rate": "match rate %", "acc_in": "Acc_IN %", "cka": "CKA"}


def classification_section(runs: Path, overrides: Sequence[str] = ()) -> Section:
    """Train both models, measure them on the test half.

    Args:
        runs: Where the runs are kept; a finished one is not repeated.
        overrides: ``key=value`` for both configs.
    """
    results, models = {}, {}
    for name, config in CONFIGS.items():
        work_dir = runs / config
        results[name] = train_and_measure(config, ["test"], work_dir, overrides)
        # The run is finished: this reads its last checkpoint.
        runner, models[name] = train(config, work_dir, overrides)
    columns, rows = compare({name: result["test"] for name, result in results.items()}, MEASURES)
    iterations = runner.max_iters
    return Section(
        title="Classification: drawn digits to photographed handwriting",
        text=[
            "Trained on digits drawn with pen strokes on a flat ground, measured on real handwriting (UCI optdigits) "
            "over photographs, which training never sees. The pretrained network knows 81 other glyphs in the real "
            "style; Acc_IN is how much of that is left, CKA how alike the features still are, match rate the share of "
            "predictions that survive a change of colour and sharpness.",
            f"One seed, {iterations} iterations each; "
            + ", ".join(f"{name} {result['seconds']:.0f} s" for name, result in results.items())
            + ". Means over seeds, with intervals, are in the README of projects/classification.",
        ],
        columns=columns,
        rows=rows,
        pictures=[
            Picture(_curves(runs), "Losses while training, means of the last 50 iterations."),
            Picture(
                _panel(half(runner, "test"), models),
                "Real test images, evenly spaced through the test half, with both predictions, and where each model "
                "looks (Grad-CAM of its prediction at stage 4).",
            ),
        ],
        commands=[
            f"python tools/train_net.py --config projects/classification/{config}.py" for config in CONFIGS.values()
        ],
    )


def _scalars(work_dir: Path) -> list[dict[str, Any]]:
    """The numbers that mmengine logged in training, over all parts of a run that was resumed."""
    lines = [
        line for path in sorted(work_dir.glob("*/vis_data/scalars.json")) for line in path.read_text().splitlines()
    ]
    return [entry for entry in map(json.loads, lines) if "loss_task" in entry]


def _curves(runs: Path) -> Figure:
    figure = Figure(figsize=(9, 3.2))
    task, own = figure.subplots(1, 2)
    for name, config in CONFIGS.items():
        entries = _scalars(runs / config)
        steps = [entry["step"] for entry in entries]
        task.plot(steps, [entry["loss_task"] for entry in entries], marker="o", label=name)
        for key in sorted(k for k in (entries[-1] if entries else {}) if k.startswith("loss_") and k != "loss_task"):
            own.plot(steps, [entry[key] for entry in entries], marker="o", label=key.removeprefix("loss_"))
    task.set(title="task loss", xlabel="iteration", ylim=(0, None))
    own.set(title="GCISG's weighted losses", xlabel="iteration", ylim=(0, None))
    task.legend()
    own.legend()
    return figure


def _panel(dataset: VisDA17Dataset, models: dict[str, Any], count: int = 10) -> Figure:
    samples = [dataset[index] for index in np.linspace(0, len(dataset) - 1, count).astype(int)]
    images = torch.stack([sample["inputs"] for sample in samples])
    pictures = images.permute(0, 2, 3, 1).numpy() / 255
    figure = Figure(figsize=(1.15 * count, 4.2))
    axes = figure.subplots(1 + len(models), count)
    for column, sample in enumerate(samples):
        axes[0, column].imshow(pictures[column])
        axes[0, column].set_title(dataset.classes[sample["label"]], fontsize=9)
    for row, (name, model) in enumerate(models.items(), start=1):
        model.eval().requires_grad_(True)
        predictions = model(normalize(images)).argmax(dim=1)
        with GradCAM(model=model, target_layers=[model.backbone.layer4]) as grad_cam:
            maps = grad_cam(normalize(images), targets=None)  # of each image's own prediction
        for column, sample in enumerate(samples):
            hit = int(predictions[column]) == sample["label"]
            axes[row, column].imshow(show_cam_on_image(pictures[column].astype(np.float32), maps[column], use_rgb=True))
            title = f"{'✓' if hit else '✗'} {dataset.classes[predictions[column]]}"
            axes[row, column].set_title(title, fontsize=9, color="#0072b2" if hit else "#d55e00")
        axes[row, 0].set_ylabel(name)
    axes[0, 0].set_ylabel("image, truth")
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    figure.tight_layout()
    return figure

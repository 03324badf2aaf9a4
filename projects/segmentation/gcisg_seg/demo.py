"""The segmentation part of the demonstration: baseline and GCISG on the miniature's scenes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner

from gcisg_analysis.report import Picture, Section, compare
from gcisg_core.integrations.mmengine import unwrap
from gcisg_seg.mini import train, train_and_measure

CONFIGS = {"baseline": "baseline_mini", "GCISG": "gcisg_mini"}
MEASURES = {"mIoU": "mIoU %", "aAcc": "pixel accuracy %"}
# Grey for the ground, the colours of Okabe and Ito, and black: told apart by colour-blind people.
COLOURS = np.array([
    (200, 200, 200), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0),
    (204, 121, 167), (0, 0, 0),
], np.uint8)  # fmt: skip


def segmentation_section(runs: Path, overrides: Sequence[str] = ()) -> Section:
    """Train both models on the scenes and measure them on the test half.

    Args:
        runs: Where the runs are kept; a finished one is not repeated.
        overrides: ``key=value`` for both configs.
    """
    results = {name: train_and_measure(config, ["test"], runs / config, overrides) for name, config in CONFIGS.items()}
    # The runs are finished: this reads their last checkpoints.
    runners = {name: train(config, runs / config, overrides) for name, config in CONFIGS.items()}
    columns, rows = compare({name: result["test"] for name, result in results.items()}, MEASURES)
    return Section(
        title="Segmentation: synthetic scenes to photographed ones",
        text=[
            "Trained on digits drawn on grey clutter, in GTAV's folders and label files; measured on real handwriting "
            "over photographs, in Cityscapes' folders, by mmseg's evaluator. Eight digits play classes of Cityscapes.",
            "One seed; " + ", ".join(f"{name} {result['seconds']:.0f} s" for name, result in results.items()) + ".",
        ],
        columns=columns,
        rows=rows,
        pictures=[
            Picture(
                _panel(runners),
                "Real test scenes, evenly spaced through the test half: image, truth, baseline, GCISG.",
            )
        ],
        commands=[
            f"python tools/train_net.py --config projects/segmentation/{config}.py" for config in CONFIGS.values()
        ],
    )


def _panel(runners: dict[str, Runner], count: int = 5) -> Figure:
    """A column a scene, a row each for image, truth and every model's prediction."""
    dataset = next(iter(runners.values())).test_dataloader.dataset
    figure = Figure(figsize=(2.1 * count, 1.65 * (2 + len(runners))))
    axes: Any = figure.subplots(2 + len(runners), count, squeeze=False)
    for column, index in enumerate(np.linspace(0, len(dataset) - 1, count).astype(int)):
        batch = pseudo_collate([dataset[index]])
        rows = [
            batch["inputs"][0].flip(0).permute(1, 2, 0).numpy(),  # mmcv loads BGR
            COLOURS[batch["data_samples"][0].gt_sem_seg.data[0].numpy()],
        ]
        for runner in runners.values():
            with torch.no_grad():
                prediction = unwrap(runner.model).eval().test_step(batch)[0].pred_sem_seg
            rows.append(COLOURS[prediction.data[0].cpu().numpy()])
        for axis, picture in zip(axes[:, column], rows, strict=True):
            axis.imshow(picture)
            axis.set(xticks=[], yticks=[])
    for axis, name in zip(axes[:, 0], ("image", "truth", *runners), strict=True):
        axis.set_ylabel(name)
    names = dataset.metainfo["classes"]
    handles = [Patch(color=colour / 255, label=name) for colour, name in zip(COLOURS, names, strict=True)]
    figure.tight_layout(rect=(0, 0.08, 1, 1))
    figure.legend(handles=handles, loc="lower center", ncols=len(handles), frameon=False, fontsize=8)
    return figure

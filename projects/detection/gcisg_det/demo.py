"""The detection part of the demonstration: baseline and GCISG on the miniature's scenes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from gcisg_analysis.report import Picture, Section, compare

from .mini import HALVES, train_and_measure

CONFIGS = {"baseline": "baseline_mini", "GCISG": "gcisg_mini"}
MEASURES = {"AP": "AP", "AP50": "AP50", "AP75": "AP75"}
TEST = HALVES["test"]
SHOWN = 0.5  # lowest score of a box in the pictures


def detection_section(runs: Path, overrides: Sequence[str] = ()) -> Section:
    """Train both models on the scenes and measure them on the test half.

    Args:
        runs: Where the runs are kept; a finished one is not repeated.
        overrides: ``KEY VALUE`` pairs for both configs.
    """
    results = {name: train_and_measure(config, ["test"], runs / config, overrides) for name, config in CONFIGS.items()}
    columns, rows = compare({name: result["test"] for name, result in results.items()}, MEASURES)
    return Section(
        title="Detection: synthetic scenes to photographed ones",
        text=[
            "The same scenes in Sim10k's folders for training; boxes around one digit that plays the car. Measured on "
            "real handwriting over photographs, in Cityscapes' folders, by COCO's AP (boxes: coco).",
            "One seed; " + ", ".join(f"{name} {result['seconds']:.0f} s" for name, result in results.items()) + ".",
        ],
        columns=columns,
        rows=rows,
        pictures=[
            Picture(
                _panel({name: runs / config for name, config in CONFIGS.items()}),
                f"Real test scenes, evenly spaced through the test half: truth, and boxes with a score above {SHOWN}.",
            )
        ],
        commands=[
            f"python tools/train_net.py --config projects/detection/{config}.yaml" for config in CONFIGS.values()
        ],
    )


def _panel(runs: dict[str, Path], count: int = 5) -> Figure:
    """A column a scene, a row each for the truth and every model's boxes, as the evaluation left them on disk."""
    inference = {name: folder / "inference" / TEST for name, folder in runs.items()}
    truth = json.loads((next(iter(inference.values())) / f"{TEST}_coco_format.json").read_text())
    boxes = {"truth": truth["annotations"]} | {
        name: json.loads((folder / "coco_instances_results.json").read_text()) for name, folder in inference.items()
    }
    figure = Figure(figsize=(2.1 * count, 1.65 * len(boxes)))
    axes: Any = figure.subplots(len(boxes), count, squeeze=False)
    for column, position in enumerate(np.linspace(0, len(truth["images"]) - 1, count).astype(int)):
        image = truth["images"][position]
        with Image.open(image["file_name"]) as opened:
            picture = np.asarray(opened)
        for axis, (name, items) in zip(axes[:, column], boxes.items(), strict=True):
            axis.imshow(picture)
            axis.set(xticks=[], yticks=[])
            for item in items:
                if item["image_id"] == image["id"] and item.get("score", 1) >= SHOWN:
                    x, y, width, height = item["bbox"]
                    colour = "#f0e442" if name == "truth" else "#56b4e9"
                    axis.add_patch(Rectangle((x, y), width, height, fill=False, linewidth=2, edgecolor=colour))
    for axis, name in zip(axes[:, 0], boxes, strict=True):
        axis.set_ylabel(name)
    figure.tight_layout()
    return figure

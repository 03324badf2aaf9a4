"""Pictures of the boxes that an evaluation saved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.patches import Rectangle

from gcisg_suite.images import read_image
from gcisg_suite.progress import progress
from gcisg_suite.report.grid import picture_grid
from gcisg_suite.report.page import Picture
from gcisg_suite.report.runs import TrainingRun

SHOWN = 0.5  # lowest score of a box in the pictures


def panel(runs: Mapping[str, TrainingRun]) -> Picture:
    """Real images with the boxes of all runs that were evaluated.

    Raises:
        ValueError: no run was evaluated.
        FileNotFoundError: the images do not exist.
    """
    if lazy := [name for name, run in runs.items() if "DATASETS" not in run.config]:
        raise ValueError(
            f"{', '.join(lazy)}: the images of a LazyConfig are only known by running it, and reports run none"
        )
    inference = {name: _evaluated(run) for name, run in runs.items()}
    found = {name: folder for name, folder in inference.items() if folder is not None}
    if not found:
        raise ValueError("no run has inference/<data set>/coco_instances_results.json")
    config = next(iter(runs.values())).config
    own = {name: (Path(file), Path(images)) for name, file, images in config["DATASETS"].get("COCO", [])}
    return draw(found, *own.get(next(iter(found.values())).name, ()))


def _evaluated(run: TrainingRun) -> Path | None:
    """The folder of the last data set that was evaluated."""
    names = [run.folder / "inference" / name for name in run.config["DATASETS"]["TEST"]]
    return next((path for path in reversed(names) if (path / "coco_instances_results.json").is_file()), None)


def draw(inference: Mapping[str, Path], truth: Path | None = None, images: Path = Path(), count: int = 5) -> Picture:
    """A figure with one column per image, and rows for the truth and for each model's boxes.

    Args:
        inference: Name -> folder of an evaluation; all are of the same data set.
        truth: COCO JSON of the data set, if the evaluation did not write one.
        images: The folder that its file names are relative to.
        count: Number of images.
    """
    folder = next(iter(inference.values()))
    written = folder / f"{folder.name}_coco_format.json"
    content = json.loads((truth if truth and not written.is_file() else written).read_text())
    boxes = {"truth": content["annotations"]} | {
        name: json.loads((folder / "coco_instances_results.json").read_text()) for name, folder in inference.items()
    }
    figure, axes = picture_grid([*boxes], count, (2.1, 1.65))
    shown = np.linspace(0, len(content["images"]) - 1, count).astype(int)
    for column, position in enumerate(progress(shown, "drawing")):
        image = content["images"][position]
        picture = read_image(images / image["file_name"])
        for axis, (name, items) in zip(axes[:, column], boxes.items(), strict=True):
            axis.imshow(picture)
            for item in items:
                if item["image_id"] == image["id"] and item.get("score", 1) >= SHOWN:
                    x, y, width, height = item["bbox"]
                    colour = "#f0e442" if name == "truth" else "#56b4e9"
                    axis.add_patch(Rectangle((x, y), width, height, fill=False, linewidth=2, edgecolor=colour))
    figure.tight_layout()
    caption = f"Real images, evenly spaced through the data: truth, and boxes with a score above {SHOWN}."
    return Picture(figure, caption)

"""Pictures of the boxes that an evaluation saved."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle

from gcisg_suite.images import read_image
from gcisg_suite.progress import progress
from gcisg_suite.report.grid import picture_grid
from gcisg_suite.report.page import Picture
from gcisg_suite.report.runs import TrainingRun

SHOWN = 0.5  # lowest score of a box in the pictures


@dataclass(frozen=True)
class Evaluated:
    """What runs found in a data set.

    Attributes:
        name: The data set's.
        images: COCO's entries.
        folder: Where their file names start.
        classes: Category -> its name.
        boxes: ``truth`` -> COCO's annotations; run -> COCO's results, those that are shown.
    """

    name: str
    images: Sequence[Mapping[str, Any]]
    folder: Path
    classes: Mapping[int, str]
    boxes: Mapping[str, Sequence[Mapping[str, Any]]]

    def of(self, image: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
        """The same for an image."""
        return {name: [item for item in items if item["image_id"] == image["id"]] for name, items in self.boxes.items()}


def evaluated(runs: Mapping[str, TrainingRun]) -> Evaluated:
    """The boxes of the runs that were evaluated, on the last data set of the first of them.

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
    folder = next(iter(found.values()))
    own = {name: places for name, *places in next(iter(runs.values())).config["DATASETS"].get("COCO", [])}
    file, images = own.get(folder.name, ("", ""))
    written = folder / f"{folder.name}_coco_format.json"  # where the data are not COCO's, the evaluator writes it
    content = json.loads((written if written.is_file() or not file else Path(file)).read_text())
    boxes = {"truth": content["annotations"]} | {
        name: json.loads((at / "coco_instances_results.json").read_text()) for name, at in found.items()
    }
    return Evaluated(
        name=folder.name,
        images=content["images"],
        folder=Path(images),
        classes={item["id"]: item["name"] for item in content["categories"]},
        boxes={name: [item for item in items if item.get("score", 1) >= SHOWN] for name, items in boxes.items()},
    )


def _evaluated(run: TrainingRun) -> Path | None:
    """The folder of the last data set that was evaluated."""
    names = [run.folder / "inference" / name for name in run.config["DATASETS"]["TEST"]]
    return next((path for path in reversed(names) if (path / "coco_instances_results.json").is_file()), None)


def panel(runs: Mapping[str, TrainingRun], names: Mapping[str, str] | None = None) -> Picture:
    """Real images with the boxes of all runs that were evaluated.

    Args:
        runs: By name.
        names: Class -> what is written at its boxes, by default the class.

    Raises:
        ValueError: none was.
        FileNotFoundError: the images are not there.
    """
    return draw(evaluated(runs), names or {})


def draw(data: Evaluated, names: Mapping[str, str], count: int = 5) -> Picture:
    """A column an image, a row each for the truth and every model's boxes.

    Args:
        data: The images and boxes.
        names: See :func:`panel`.
        count: Images.
    """
    figure, axes = picture_grid([*data.boxes], count, (2.1, 1.65))
    shown = np.linspace(0, len(data.images) - 1, count).astype(int)
    for column, position in enumerate(progress(shown, "drawing")):
        image = data.images[position]
        picture = read_image(data.folder / image["file_name"])
        for axis, (row, items) in zip(axes[:, column], data.of(image).items(), strict=True):
            axis.imshow(picture)
            for item in items:
                x, y, width, height = item["bbox"]
                name, colour = data.classes[item["category_id"]], "#f0e442" if row == "truth" else "#56b4e9"
                axis.add_patch(Rectangle((x, y), width, height, fill=False, linewidth=2, edgecolor=colour))
                if len(data.classes) > 1:
                    text = names.get(name, name)
                    axis.text(x, y, text, color=colour, fontsize=8, va="bottom", clip_on=True)
    figure.tight_layout()
    caption = f"Images of {data.name}, evenly spaced through all: truth, and boxes with a score of {SHOWN} or more."
    return Picture(figure, caption)

"""`gcisg audit`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from gcisg_core.lookup import choose
from gcisg_suite.commands.arguments import Flag, Several, UsageError, check_at_least
from gcisg_suite.tasks import AUDITS, load


def audit(
    *,
    dataset: Annotated[str, Parameter(help=f"Whose official layout the folder follows: {', '.join(AUDITS)}.")],
    root: Path,
    json: Flag = False,
    workers: int = os.cpu_count() or 1,
    images: str | None = None,
    labels: str | None = None,
    image_suffix: str | None = None,
    label_suffix: str | None = None,
    num_classes: int | None = None,
    annotations: Path | None = None,
    classes: Annotated[list[str] | None, Several] = None,
) -> int:
    """List everything that is wrong with a data set: the file, what is wrong, what to do about it.

    For example:

        gcisg audit --dataset gtav --root data/gta5
        gcisg audit --dataset pairs --root mine --labels masks --image-suffix .jpg --num-classes 5
        gcisg audit --dataset coco --root mine/images --annotations mine/train.json --classes car

    Exit code 0: no problem; 1: problems were found; 2: wrong usage.

    Args:
        root: The folder that holds the data set's own folders; coco: the folder of the images.
        json: Print one JSON object in place of lines.
        workers: Processes (by default one a core).
        images: pairs: folder of the images, below the root (images).
        labels: pairs: folder of the label images, below the root (labels).
        image_suffix: pairs: ends an image's name (.png).
        label_suffix: pairs: ends its label's name (.png).
        num_classes: pairs: label values are 0 to N - 1, and 255 (19).
        annotations: coco: the JSON file (the root's only one).
        classes: coco: the categories that it must have (any).
    """
    own: dict[str, Any] = {
        "images": images,
        "labels": labels,
        "image_suffix": image_suffix,
        "label_suffix": label_suffix,
        "num_classes": num_classes,
        "annotations": annotations,
        "classes": classes,
    }
    options = {name: value for name, value in own.items() if value is not None}
    try:
        chosen = choose(AUDITS, dataset, "--dataset")
    except ValueError as error:
        raise UsageError(str(error)) from error
    check_at_least("--workers", workers)
    if not root.is_dir():
        raise UsageError(f"--root {root}: no such folder")
    for name in sorted(options.keys() - {*chosen.options}):
        raise UsageError(f"--{name.replace('_', '-')} is not for --dataset {dataset}")
    if not 1 <= options.get("num_classes", 1) <= 254:
        raise UsageError(f"--num-classes {num_classes}: expected 1 to 254")

    from gcisg_suite.audit.show import show

    return show(dataset, root, load(chosen.door)(root, workers=workers, **options), json)

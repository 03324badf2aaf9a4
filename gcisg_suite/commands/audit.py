"""`gcisg audit`."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from gcisg_core.lookup import choose
from gcisg_suite.commands.arguments import NOT_GIVEN, DataOptions, Flag, UsageError, check_at_least
from gcisg_suite.tasks import AUDITS, TASKS, load


def audit(
    *,
    dataset: Annotated[str, Parameter(help=f"Layout of the folder, one of {', '.join(AUDITS)}.")],
    root: Path,
    real: Path | None = None,
    json: Flag = False,
    workers: int = os.cpu_count() or 1,
    options: DataOptions = NOT_GIVEN,
) -> int:
    """List everything that is wrong with a data set: which file, what is wrong, and what to do about it.

    For example:

        gcisg audit --dataset gtav --root data/gta5
        gcisg audit --dataset pairs --root mine --labels masks \\
            --image-suffix .jpg --classes mine/classes.txt
        gcisg audit --dataset coco --root mine/images \\
            --annotations mine/train.json --classes car
        gcisg audit --dataset class-folders --root my/synthetic --real my/real

    Shows three examples of each kind of problem, and how many there are. The exit code is 0 if there is no problem, 1
    if problems were found, and 2 for wrong usage. For your own data, use --dataset class-folders (classification),
    pairs (segmentation) or coco (detection); they take the options of `gcisg new-project`.

    Args:
        root: Folder that contains the data set's own folders; for coco, the folder of the images.
        real: For your own data: folder of the images that you evaluate on, in the layout of --root or without labels.
            Both folders are audited, and images that are in both are listed, even if they were re-encoded, resized or
            brightened.
        json: Print one JSON object with every problem instead of lines.
        workers: Number of processes (default: one per core).
    """
    try:
        chosen = choose(AUDITS, dataset, "--dataset")
    except ValueError as error:
        raise UsageError(str(error)) from error
    check_at_least("--workers", workers)
    for flag, folder in (("--root", root), ("--real", real)):
        if folder and not folder.is_dir():
            raise UsageError(f"{flag} {folder}: no such folder")
    own = [task.own_data[0] for task in TASKS.values() if task.own_data]
    if real and dataset not in own:
        raise UsageError(f"--real is for your own data ({', '.join(own)}), not for --dataset {dataset}")
    given = options.given(chosen.options, f"--dataset {dataset}")

    from gcisg_suite.audit.evaluation import compared, is_without_labels
    from gcisg_suite.audit.images import audit_images
    from gcisg_suite.audit.show import show
    from gcisg_suite.progress import brief

    with brief(f"loading the audit of {dataset}"):
        (install,) = (task.install for task in TASKS.values() if dataset in task.audits)
        check = partial(load(chosen.door, install), workers=workers)
    found = check(root, **given)
    results = [(root, found)]
    if real and is_without_labels(real):
        results += [(real, compared(found, audit_images(real, workers)))]
    elif real:
        classes = {"classes": tuple(found.classes)} if found.classes else {}
        results += [(real, compared(found, check(real, **{**given, **classes})))]
    return show(dataset, results, json)

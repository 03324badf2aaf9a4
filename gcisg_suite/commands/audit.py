"""`gcisg audit`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from gcisg_core.lookup import choose
from gcisg_suite.commands.arguments import NOT_GIVEN, DataOptions, Flag, UsageError, check_at_least
from gcisg_suite.tasks import AUDITS, load


def audit(
    *,
    dataset: Annotated[str, Parameter(help=f"Whose official layout the folder follows: {', '.join(AUDITS)}.")],
    root: Path,
    json: Flag = False,
    workers: int = os.cpu_count() or 1,
    options: DataOptions = NOT_GIVEN,
) -> int:
    """List everything that is wrong with a data set: the file, what is wrong, what to do about it.

    For example:

        gcisg audit --dataset gtav --root data/gta5
        gcisg audit --dataset pairs --root mine --labels masks --image-suffix .jpg --classes mine/classes.txt
        gcisg audit --dataset coco --root mine/images --annotations mine/train.json --classes car

    Of each kind three examples are shown, and the count. Exit code 0: no problem; 1: problems were found; 2: wrong
    usage. Data of your own are class-folders, pairs and coco; their options are those of `gcisg new-project`.

    Args:
        root: The folder that holds the data set's own folders; coco: the folder of the images.
        json: Print one JSON object, with every problem, in place of lines.
        workers: Processes (by default one a core).
    """
    try:
        chosen = choose(AUDITS, dataset, "--dataset")
    except ValueError as error:
        raise UsageError(str(error)) from error
    check_at_least("--workers", workers)
    if not root.is_dir():
        raise UsageError(f"--root {root}: no such folder")
    given = options.given(chosen.options, f"--dataset {dataset}")

    from gcisg_suite.audit.show import show

    return show(dataset, root, load(chosen.door)(root, workers=workers, **given), json)

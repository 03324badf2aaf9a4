"""A run's folder: its config, its checkpoints, and the images that they are chosen on."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from gcisg_core.problems import DataError
from gcisg_core.run_folder import FINAL, checkpoint_number, checkpoints_in
from gcisg_core.safe_load import read_checkpoint
from gcisg_suite.analysis.task import EvalTask, Options
from gcisg_suite.progress import named
from gcisg_suite.tasks import task_of

from .criteria import append_line, covers, evaluate_checkpoint, read_lines
from .settings import SelectionSettings


def config_of(run: Path) -> Path:
    """The config that training wrote into the run's folder.

    Raises:
        DataError: there is none, or more than one.
    """
    if (run / "config.yaml").is_file():
        return run / "config.yaml"
    found = sorted(run.glob("*.py"))
    if len(found) != 1:
        raise DataError(run, f"{len(found)} configs (config.yaml or *.py), expected one", "Name it with --config")
    return found[0]


def checkpoints_of(run: Path) -> dict[int, Path]:
    """Iteration -> the checkpoint written after it, earliest first.

    Raises:
        DataError: there is none.
    """
    found: dict[int, Path] = {}
    for path in sorted(checkpoints_in(run), key=checkpoint_number):
        if path.stem == FINAL:  # behind the numbered one of the same iteration, which is taken
            held = read_checkpoint(path)
            iteration = held.get("iteration") if isinstance(held, dict) else None
            if not isinstance(iteration, int):
                raise DataError(path, f"iteration is {iteration!r}, expected a whole number", "Move it away")
            found.setdefault(iteration + 1, path)
        else:
            # Detectron2 counts iterations from 0.
            found[int(checkpoint_number(path)) + path.name.startswith("model")] = path
    if not found:
        raise DataError(run, "no checkpoint (iter_*.pth, epoch_*.pth, model_*.pth)", "Name the folder of a run")
    return dict(sorted(found.items()))


def settings_of(config: Any) -> SelectionSettings:
    """The selection's settings in a config.

    Raises:
        ValueError: a setting is unknown.
    """
    values = config.get("SELECTION") or config.get("selection") or {}
    return SelectionSettings.read({name.lower(): value for name, value in values.items()})


def make_tasks(config: Any, options: Options, source: str | None = None) -> tuple[EvalTask, EvalTask | None]:
    """The data for the choice: target images, and source validation images if there are any.

    Args:
        config: The training config; it is not changed.
        options: Of the target: ``data`` in place of the config's validation images.
        source: Images in the layout of the training data that were not trained on.
    """
    source_options = Options(device=options.device)
    row = task_of(config)
    make, target_config, source_config = (row.door(name) for name in ("analysis", "target_config", "source_config"))
    target = make(target_config(copy.deepcopy(config), options.data), options)
    return target, make(source_config(copy.deepcopy(config), source), source_options) if source else None


def evaluate_run(
    run: Path, target: EvalTask, source: EvalTask | None = None, labels: bool = False, only: int | None = None
) -> list[dict[str, Any]]:
    """Evaluate the checkpoints of a run that `selection.jsonl` lacks, and add them to it.

    Args:
        run: The folder.
        target, source, labels: See :func:`gcisg_suite.selection.criteria.evaluate_checkpoint`.
        only: Evaluate only the checkpoint of this iteration.

    Returns:
        The lines of the existing checkpoints, earliest first.
    """
    result = []
    known = read_lines(run)
    for iteration, path in checkpoints_of(run).items():
        if only not in (None, iteration):
            continue
        line = next((line for line in reversed(known) if covers(line, path, target, source, labels)), None)
        if line is None:
            with named(path.name):
                line = evaluate_checkpoint(path, iteration, target, source, labels)
            append_line(run, line)
        result.append(line)
    return result

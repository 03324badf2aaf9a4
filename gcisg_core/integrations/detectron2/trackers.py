"""Detectron2: scalars for experiment trackers, in addition to the framework's TensorBoard files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from detectron2.utils.events import EventWriter, get_event_storage

from gcisg_core.trackers import group, mlflow_files, mlflow_server

WINDOW = 20  # window of the median of noisy values, in iterations, as in the framework's writers
Log = Callable[[dict[str, float], int], object]


class TrackerWriter(EventWriter):
    """Passes each scalar with its iteration to a tracker, once.

    Args:
        log: `(values, iteration)`.
        finish: Ends the tracker's run.
    """

    def __init__(self, log: Log, finish: Callable[[], object]) -> None:
        self.log, self.finish, self.last = log, finish, -1

    def write(self) -> None:
        steps: defaultdict[int, dict[str, float]] = defaultdict(dict)
        for name, (value, step) in get_event_storage().latest_with_smoothing_hint(WINDOW).items():
            if step > self.last:
                steps[step][name] = value
        for step in sorted(steps):
            self.log(steps[step], step)
            self.last = step

    def close(self) -> None:
        self.finish()


def _wandb(run: Path, settings: Mapping[str, Any]) -> TrackerWriter:
    import wandb

    started = wandb.init(project=group("WANDB_PROJECT"), name=run.name, dir=str(run), config=dict(settings))
    return TrackerWriter(started.log, started.finish)


def _mlflow(run: Path, settings: Mapping[str, Any]) -> TrackerWriter:
    import mlflow

    mlflow.set_tracking_uri(mlflow_server() or mlflow_files(run).as_uri())
    mlflow.set_experiment(group("MLFLOW_EXPERIMENT_NAME"))
    mlflow.start_run(run_name=run.name)
    mlflow.log_params(dict(_flat(settings)))
    return TrackerWriter(mlflow.log_metrics, mlflow.end_run)


def _flat(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """`SOLVER.BASE_LR` and its value, and so on."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


STARTS = {"tensorboard": None, "wandb": _wandb, "mlflow": _mlflow}  # the framework itself writes TensorBoard's files


def tracker_writers(names: Sequence[str], run: str | Path, settings: Mapping[str, Any]) -> list[EventWriter]:
    """Build the trackers' writers for a run's hook.

    Args:
        names: Keys of :data:`STARTS`.
        run: The run's folder; the tracker's run gets its name.
        settings: The config as plain values.
    """
    return [start(Path(run), settings) for start in map(STARTS.get, dict.fromkeys(names)) if start]

"""Experiment trackers that training can report to: their names, what they need, and where their local files go."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gcisg_core.lookup import choose
from gcisg_core.problems import MissingPackageError


class Tracker(NamedTuple):
    """A tracker.

    Attributes:
        module: What is imported.
        package: What pip installs.
        backend: mmengine's class.
    """

    module: str
    package: str
    backend: str


OF_BOTH = ("tensorboard", "wandb", "mlflow")  # the frameworks
TRACKERS = {
    "tensorboard": Tracker("tensorboard", "tensorboard", "TensorboardVisBackend"),
    "wandb": Tracker("wandb", "wandb", "WandbVisBackend"),
    "mlflow": Tracker("mlflow", "mlflow-skinny", "MLflowVisBackend"),
    "clearml": Tracker("clearml", "clearml", "ClearMLVisBackend"),
    "neptune": Tracker("neptune", "neptune", "NeptuneVisBackend"),
    "dvclive": Tracker("dvclive", "dvclive", "DVCLiveVisBackend"),
    "aim": Tracker("aim", "aim", "AimVisBackend"),
}


def check_trackers(names: Sequence[str], offered: Sequence[str]) -> None:
    """Refuse a tracker that cannot be used, before anything is started.

    Args:
        names: Of trackers.
        offered: Those that the config's framework can use.

    Raises:
        ValueError: a name is not among them.
        MissingPackageError: its package is not installed.
    """
    for name in names:
        tracker = choose({key: TRACKERS[key] for key in offered}, name, "--tracker")
        if importlib.util.find_spec(tracker.module) is None:
            install = f"python -m pip install {tracker.package}"
            raise MissingPackageError(f"--tracker {name}: {tracker.module} is not installed. Install it: {install}")


def group(variable: str) -> str:
    """What runs are collected under: the tracker's own environment variable, else `gcisg`."""
    return os.environ.get(variable) or "gcisg"


def mlflow_server() -> str:
    """`$MLFLOW_TRACKING_URI`; empty: the local files in :func:`mlflow_files`."""
    return os.environ.get("MLFLOW_TRACKING_URI", "")


def mlflow_files(run: str | Path) -> Path:
    """The folder of MLflow's local files, in the run's; MLflow 3 writes such only where it is told that it may."""
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    return Path(run).resolve() / "mlruns"

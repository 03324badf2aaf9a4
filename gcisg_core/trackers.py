"""Experiment trackers for training: names, requirements, and the place of their local files."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gcisg_core.lookup import choose
from gcisg_core.problems import MissingPackageError


class Tracker(NamedTuple):
    """An experiment tracker.

    Attributes:
        module: The module to import.
        package: The package to install.
        backend: The class of mmengine.
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
    """Refuse a tracker that cannot be used, before anything starts.

    Args:
        names: Names of trackers.
        offered: The trackers that the config's framework supports.

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
    """The group or project of the runs: the tracker's environment variable, by default `gcisg`."""
    return os.environ.get(variable) or "gcisg"


def mlflow_server() -> str:
    """`$MLFLOW_TRACKING_URI`; empty: the local files in :func:`mlflow_files`."""
    return os.environ.get("MLFLOW_TRACKING_URI", "")


def mlflow_files(run: str | Path) -> Path:
    """The folder of MLflow's local files, in the run's folder; MLflow 3 writes local files only if it is allowed to."""
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    return Path(run).resolve() / "mlruns"

"""mmengine: trackers as the backends of a config's visualizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from gcisg_core.trackers import TRACKERS, group, mlflow_files, mlflow_server


def add_trackers(config: Config, names: Sequence[str]) -> None:
    """Put trackers behind the backends that a config names, or behind mmengine's local files.

    Args:
        config: Of a run, with its ``work_dir``; its ``visualizer`` is changed.
        names: Keys of :data:`gcisg_core.trackers.TRACKERS`; one that the config has already stays as it is.
    """
    visualizer = {"type": "Visualizer", **(config.get("visualizer") or {})}
    backends = list(visualizer.get("vis_backends") or [{"type": "LocalVisBackend"}])
    known = {backend["type"] for backend in backends}
    for name in dict.fromkeys(names):
        if TRACKERS[name].backend not in known:
            backends.append({"type": TRACKERS[name].backend, **_options(name, Path(config.work_dir))})
    config.visualizer = {**visualizer, "vis_backends": backends}


def _options(name: str, run: Path) -> dict[str, Any]:
    if name == "wandb":
        return {"init_kwargs": {"project": group("WANDB_PROJECT"), "name": run.name}}
    if name != "mlflow":
        return {}
    server = mlflow_server()
    where = {"tracking_uri": server} if server else {"save_dir": str(mlflow_files(run))}
    # The config is logged anyway; as files the backend would take the whole folder, its own among them.
    return {"exp_name": group("MLFLOW_EXPERIMENT_NAME"), "run_name": run.name, "artifact_suffix": (), **where}

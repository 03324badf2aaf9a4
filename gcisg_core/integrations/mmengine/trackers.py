"""mmengine: trackers as backends of a config's visualizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from gcisg_core.trackers import TRACKERS, group, mlflow_files, mlflow_server


def add_trackers(config: Config, names: Sequence[str]) -> None:
    """Append trackers to a config's visualizer backends, or to mmengine's default, local files.

    Args:
        config: The config of a run, with ``work_dir``; its ``visualizer`` is changed.
        names: Keys of :data:`gcisg_core.trackers.TRACKERS`; trackers that the config already has are not changed.
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
    # The config is logged anyway; as artifacts, the backend would upload the whole folder, including its own files.
    return {"exp_name": group("MLFLOW_EXPERIMENT_NAME"), "run_name": run.name, "artifact_suffix": (), **where}

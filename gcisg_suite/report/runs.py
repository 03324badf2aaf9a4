"""Reads the folder of a training run of mmengine or Detectron2: scalars, metrics, settings, checkpoint."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gcisg_core.problems import DataError, reading
from gcisg_core.run_folder import checkpoint_number, checkpoints_in, newest_checkpoint, start_number
from gcisg_suite.tasks import DETECTRON2, LAZY, MMENGINE, find_task, framework_of, task_of
from gcisg_suite.text import is_lazy, read_yaml

# Row of the settings' table -> where it is in a config of each framework.
FRAMEWORKS = (MMENGINE.name, DETECTRON2.name, LAZY.name)
SETTINGS = {
    "iterations": ("train_cfg.max_iters", "SOLVER.MAX_ITER", "train.max_iter"),
    "batch size (mmengine: per process)": (
        "train_dataloader.batch_size", "SOLVER.IMS_PER_BATCH", "dataloader.train.total_batch_size",
    ),
    "learning rate": ("optim_wrapper.optimizer.lr", "SOLVER.BASE_LR", "optimizer.lr"),
    "seed": ("randomness.seed", "SEED", "train.seed"),
    "backbone": ("model.backbone", "MODEL.BACKBONE.NAME", "model.backbone._target_"),
    "initial weights": ("model.weights", "MODEL.WEIGHTS", "train.init_checkpoint"),
    "method": ("model.regularizer", "REGULARIZER", "model.regularizer"),
    "backbone plugins": ("model.backbone_plugins", "MODEL.BACKBONE_PLUGINS", "model.backbone_plugins"),
}  # fmt: skip
METRIC = re.compile(r"(^|/)(AP|AP50|AP75)$")  # among those that Detectron2 logs


@dataclass
class TrainingRun:
    """A run.

    Attributes:
        name: Its name in a report.
        folder: Its folder.
        task: Its name in the table of tasks; "" for a model of another kind.
        config_file: The whole config, as the framework saved it.
        config: The same as plain values.
        training: Entries in the order of their ``step``, each with the scalars that were logged.
        metrics: The same for evaluations; those of ``--eval-only`` have no step.
        measured_by: The data loader, in an mmengine config, of the last evaluation.
        checkpoint: The last one, or None.
        trust: Whether its model may come from modules outside the suite and its frameworks.
    """

    name: str
    folder: Path
    task: str
    config_file: Path
    config: Mapping[str, Any]
    training: list[dict[str, Any]]
    metrics: list[dict[str, Any]]
    checkpoint: Path | None
    measured_by: str = "val_dataloader"
    trust: bool = False

    @property
    def framework(self) -> str:
        """The name of its framework's row; Detectron2's LazyConfigs have their own."""
        return LAZY.name if "dataloader" in self.config else framework_of(self.config_file).name

    @property
    def steps(self) -> int:
        """The last that is known: the log of training may end before it, an evaluation at the end does not."""
        return max((entry.get("step") or 0 for entry in [*self.training, *self.metrics]), default=0)

    @property
    def seconds(self) -> float:
        """Seconds of training: the logged time of a step times the number of steps."""
        steps = [0, *(entry["step"] for entry in self.training)]
        return sum(
            entry.get("time", 0.0) * (entry["step"] - before)
            for before, entry in zip(steps, self.training, strict=False)
        )

    @property
    def method(self) -> str:
        """The method's name in the config; empty if there is none."""
        settings = self.config.get("REGULARIZER") or (self.config.get("model") or {}).get("regularizer") or {}
        return str(settings.get("METHOD") or settings.get("method") or "")

    @property
    def result(self) -> dict[str, float]:
        """Metric -> number, from the last evaluation."""
        last = self.metrics[-1] if self.metrics else {}
        return {key: value for key, value in last.items() if key not in ("step", "time", "data_time")}

    def setting(self, row: str) -> str:
        path = SETTINGS[row][FRAMEWORKS.index(self.framework)]
        found: Any = self.config
        for part in path.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        if isinstance(found, Mapping):
            return ", ".join(f"{key} {value}" for key, value in found.items() if not isinstance(value, Mapping))
        return "" if found is None else str(found)

    @property
    def split(self) -> str:
        """Which part of the config was evaluated."""
        return "DATASETS.TEST" if framework_of(self.config_file).name == "detectron2" else self.measured_by

    @property
    def data(self) -> tuple[str, str]:
        """The training data and the evaluation data. Raises `DataError` if the config does not name them."""
        with reading(self.config_file, "the config of a run", "Restore it: training writes it at the start"):
            return self._data()

    def _data(self) -> tuple[str, str]:
        if self.framework == LAZY.name:
            names = [self.config["dataloader"][part]["dataset"]["names"] for part in ("train", "test")]
            train, test = (", ".join(name if isinstance(name, list) else [name]) for name in names)
            return train, test
        if self.framework == DETECTRON2.name:
            data = self.config["DATASETS"]
            own = {name: place for name, place, *_ in data.get("COCO", [])}
            own |= {name: place for name, _, place, *_ in data.get("OWN", [])}
            sets = (data[part] for part in ("TRAIN", "TEST"))
            train, test = (", ".join(f"{n} ({own[n]})" if n in own else n for n in names) for names in sets)
            return train, test
        train, test = (_dataset(self.config.get(part) or {}) for part in ("train_dataloader", self.measured_by))
        return train, test


def _dataset(loader: Mapping[str, Any]) -> str:
    found: Any = loader
    while isinstance(found.get("dataset"), Mapping):
        found = found["dataset"]
    parts = found.get("datasets") or [found]
    return ", ".join(f"{part.get('type')} in {part.get('root') or part.get('data_root')}" for part in parts)


def _lines(path: Path, count: str = "") -> Iterator[dict[str, Any]]:
    """The numbers of each JSON line with an integer `count`; lines that a kill cut short are skipped."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and (not count or type(entry.get(count)) is int):
            yield {name: value for name, value in entry.items() if isinstance(value, float) or type(value) is int}


def _in_order(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Steps that were trained again, after a resume or from the start, replace earlier entries."""
    kept: list[dict[str, Any]] = []
    for entry in entries:
        while kept and kept[-1]["step"] >= entry["step"]:
            kept.pop()
        kept.append(entry)
    return kept


def _read_mmengine(folder: Path, name: str, config_file: Path) -> TrainingRun:
    from gcisg_core.integrations.mmengine import read_plain

    config = read_plain(config_file).to_dict()
    starts = sorted(folder.glob("*/"), key=lambda logs: (start_number(logs), logs.name))
    entries = [
        entry for logs in starts for path in logs.glob("vis_data/scalars.json") for entry in _lines(path, "step")
    ]
    tested = [entry for logs in starts for path in sorted(logs.glob("[0-9]*.json")) for entry in _lines(path)]
    task = find_task(config)
    return TrainingRun(
        name,
        folder,
        task.name if task else "",
        config_file,
        config,
        _in_order(entry for entry in entries if "loss" in entry),
        _in_order(entry for entry in entries if "loss" not in entry) + tested,
        newest_checkpoint(folder),
        "test_dataloader" if tested else "val_dataloader",
    )


def _read_detectron2(folder: Path, name: str, config_file: Path) -> TrainingRun:
    logged = [{**entry, "step": entry["iteration"] + 1} for entry in _lines(folder / "metrics.json", "iteration")]
    config = read_yaml(config_file, objects=is_lazy(config_file))
    if not isinstance(config, dict):
        raise DataError(config_file, "holds no keys and values", "Restore it: training writes it at the start")
    return TrainingRun(
        name,
        folder,
        task_of(config).name,
        config_file,
        config,
        _in_order(entry for entry in logged if "total_loss" in entry),
        _in_order(
            {"step": entry["step"], **{key: entry[key] for key in entry if METRIC.search(key)}}
            for entry in logged
            if any(METRIC.search(key) for key in entry)
        ),
        max(checkpoints_in(folder), key=checkpoint_number, default=None),
    )


def read_run(folder: Path, name: str = "", trust: bool = False) -> TrainingRun:
    """Read a run's folder, the `--output` of `gcisg train`; ``trust`` is for its model.

    Raises:
        FileNotFoundError: it holds no run.
    """
    name = name or folder.name
    if (folder / "metrics.json").is_file() and (folder / "config.yaml").is_file():
        return _read_detectron2(folder, name, folder / "config.yaml")
    configs = sorted(folder.glob("*.py"), key=lambda path: path.stat().st_mtime)
    if configs and any(folder.glob("*/vis_data/scalars.json")):
        return replace(_read_mmengine(folder, name, configs[-1]), trust=trust)
    raise FileNotFoundError(
        f"{folder}: no run. Expected the output folder of `gcisg train`, with <time>/vis_data/scalars.json and a "
        f"config (mmengine), or metrics.json and config.yaml (Detectron2)"
    )


def run_values(entry: Mapping[str, Any]) -> Iterator[float]:
    """The metrics of one evaluation."""
    return (value for key, value in entry.items() if key not in ("step", "time", "data_time"))


def details(runs: Mapping[str, Sequence[TrainingRun]]) -> dict[str, Any]:
    """The settings and configs of a :class:`gcisg_suite.report.page.Section`; the config is that of the first seed."""
    rows = [
        [row, *("; ".join(dict.fromkeys(run.setting(row) for run in seeds)) for seeds in runs.values())]
        for row in SETTINGS
    ]
    return {
        "settings": [row for row in rows if any(row[1:])],
        "configs": {name: seeds[0].config_file.read_text() for name, seeds in runs.items()},
    }


def trained_models(runs: Mapping[str, TrainingRun], **changes: Any) -> tuple[dict[str, Any], Any]:
    """The models of mmengine runs with a checkpoint, without their methods, and the data loader of the last one.

    Args:
        runs: By name.
        changes: Changes to each config's `model`.

    Raises:
        ValueError: no run has a checkpoint, or it does not fit the run's config.
    """
    from mmengine.registry import MODELS, init_default_scope

    from gcisg_core.integrations.mmengine import load_for_evaluation, load_run_config

    models = {}
    for name, run in runs.items():
        if run.checkpoint is not None:
            config = load_run_config(str(run.config_file), [], run.trust)
            init_default_scope(config.get("default_scope", "mmengine"))
            models[name] = MODELS.build({**config.model, **changes, "regularizer": None})
            load_for_evaluation(models[name], str(run.checkpoint))
    if not models:
        raise ValueError("no run has a checkpoint")
    return models, config[run.measured_by].dataset

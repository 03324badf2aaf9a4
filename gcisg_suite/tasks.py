"""The one table of tasks: which framework, package and functions belong to each, and how its configs are recognised.

Everything is named as `module:function` and imported when it is asked for, so a framework that is not installed is no
obstacle to the tasks of another. A new task is a folder under `projects/` and a row here.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from gcisg_suite.places import project_folder


def load(door: str) -> Any:
    """The object that `module:name` names."""
    module, _, name = door.partition(":")
    return getattr(import_module(module), name)


@dataclass(frozen=True)
class Framework:
    """A training framework.

    Attributes:
        name: How records of the NaN recorder call it.
        suffixes: Of its configs; new ones get the first.
        read_config: `(file, overrides)` -> the config.
        train: `(args)` -> None trains or evaluates; `args` are those of `gcisg train`.
        launches: Whether `train` starts the processes of `--num-gpus` itself.
        evaluate: `(config_file, checkpoint, measure, work_dir)` -> metrics of a checkpoint on the config's test data;
            with ``measure=False`` it is only loaded.
        replay: Module with `build_model(record)` and `framework()`, and `context(record)` if a step needs one.
        base: Of a config that inherits from `{}`, the first line.
        as_text: A config -> its whole content as text.
        key: Pattern of an override's first word; in it are key and value, unless `pairs` says that the value follows.
    """

    name: str
    suffixes: tuple[str, ...]
    read_config: str
    train: str
    launches: bool
    evaluate: str
    replay: str
    base: str
    as_text: Callable[[Any], str]
    key: str
    pairs: bool = False

    def overrides(self, settings: Mapping[str, Any]) -> list[str]:
        """Settings by key as words of a command line."""
        if self.pairs:
            return [str(part) for setting in settings.items() for part in setting]
        return [f"{key}={value}" for key, value in settings.items()]


@dataclass(frozen=True)
class Task:
    """A row of the table.

    Attributes:
        name: The task, and its folder under `projects/`.
        framework: What trains it.
        package: What its configs import.
        needs: A module whose absence means that the task cannot be run here.
        recognises: Whether a loaded config is one of this task.
        metrics: What a run of a sweep measures; the first one is compared.
        recipe: What stands in place of `mini` in the names of the configs for the papers' data.
        doors: Name -> `module:function`, see :data:`DOORS`.
        audits: Data set of `gcisg audit` -> `module:function` of `(root, workers, **options)`.
        prepares: What of the miniature is made -> `module:function` without arguments, in this order.
    """

    name: str
    framework: Framework
    package: str
    needs: str
    recognises: Callable[[Any], bool]
    metrics: tuple[str, ...]
    recipe: str
    doors: Mapping[str, str]
    audits: Mapping[str, str]
    prepares: Mapping[str, str] = field(default_factory=dict)

    def door(self, name: str) -> Any:
        """The function of this task that :data:`DOORS` describes."""
        return load(self.doors[name])

    @property
    def suffix(self) -> str:
        """Of its configs."""
        return self.framework.suffixes[0]

    @property
    def is_installed(self) -> bool:
        """Whether what the task needs is there; nothing is imported."""
        return importlib.util.find_spec(self.needs) is not None

    @property
    def folder(self) -> Path:
        """The folder of its configs; nothing is imported."""
        spec = importlib.util.find_spec(self.package)
        assert spec is not None
        assert spec.origin is not None
        return project_folder(spec.origin, self.name)


# What a task offers -> what its function takes and gives.
DOORS = {
    "analysis": "(config, options) -> gcisg_suite.analysis.task.Task",
    "demo": "(runs) -> the task's section of the demonstration",
    "export": "(config, checkpoint) -> gcisg_core.release.Release",
    "mini": "(config_name, halves, work_dir, overrides, seed) -> measures of a run on the miniature",
    "new_project": "(answers) -> gcisg_suite.new_project.Project",
    "panel": "(runs) -> gcisg_suite.report.page.Picture of what they predict",
    "paper": "(config_file, work_dir, overrides, seed) -> measures of a run on any other data",
    "predictor": "(config, checkpoint, device, score) -> what `gcisg predict` runs",
    "source_config": "(config, root) -> the config with source images as its test data",
    "target_config": "(config, data) -> the config with target images as its test data",
}
# Doors that a task may lack.
FURTHER_DOORS = {
    "named_predictor": "(name, checkpoint, device) -> a predictor of a network that has no config, or None",
    "reference": "(seed) -> the file of another reference network of the miniature",
}

MMENGINE = Framework(
    name="mmengine",
    suffixes=(".py", ".json"),
    read_config="gcisg_core.integrations.mmengine:load_config",
    train="gcisg_core.integrations.mmengine:run",
    launches=False,
    evaluate="gcisg_suite.zoo.evaluate:evaluate",
    replay="gcisg_core.integrations.mmengine.nan",
    base='_base_ = "{}"',
    as_text=lambda config: json.dumps(config.to_dict(), sort_keys=True, default=str),
    key=r"[\w.]+=.*",
)
DETECTRON2 = Framework(
    name="detectron2",
    suffixes=(".yaml", ".yml"),
    read_config="gcisg_det.config:read_config",
    train="gcisg_det.engine:run",
    launches=True,
    evaluate="gcisg_det.evaluation:evaluate",
    replay="gcisg_det.replay",
    base='_BASE_: "{}"',
    as_text=lambda config: config.dump(),
    key=r"[A-Z][A-Z0-9_]*(\.[A-Z0-9_]+)*",
    pairs=True,
)
FRAMEWORKS = {framework.name: framework for framework in (MMENGINE, DETECTRON2)}


def _is_detector(config: Any) -> bool:
    return "DATASETS" in config


def _is_segmentor(config: Any) -> bool:
    return config.get("default_scope") == "mmseg" or "decode_head" in config.get("model", {})


def _is_classifier(config: Any) -> bool:
    known = _is_detector(config) or _is_segmentor(config)
    return not known and config.get("default_scope") in (None, "mmengine")


SCENES = {"Scenes": "gcisg_suite.prepare:scenes"}
REFERENCE = {"Images and reference network": "gcisg_cls.mini:prepare_mini"}
_ROWS = (
    Task(
        name="classification",
        framework=MMENGINE,
        package="gcisg_cls",
        needs="mmengine",
        recognises=_is_classifier,
        metrics=("accuracy", "match_rate", "acc_in", "cka"),
        recipe="r101_visda17",
        doors={
            "analysis": "gcisg_cls.analysis:ClassificationTask",
            "demo": "gcisg_cls.demo:classification_section",
            "export": "gcisg_cls.release:release",
            "mini": "gcisg_cls.mini:train_and_measure",
            "named_predictor": "gcisg_cls.predict:from_name",
            "new_project": "gcisg_cls.new_project:classification",
            "panel": "gcisg_cls.panels:panel",
            "paper": "gcisg_cls.measures:train_and_test",
            "predictor": "gcisg_cls.predict:from_config",
            "reference": "gcisg_cls.mini:prepare_reference",
            "source_config": "gcisg_cls.selection:source_config",
            "target_config": "gcisg_cls.selection:target_config",
        },
        audits={"visda17": "gcisg_cls.audit:audit_visda17", "class-folders": "gcisg_cls.audit:audit_folders"},
        prepares=REFERENCE,
    ),
    Task(
        name="segmentation",
        framework=MMENGINE,
        package="gcisg_seg",
        needs="mmseg",
        recognises=_is_segmentor,
        metrics=("mIoU", "aAcc", "mAcc"),
        recipe="r50_deeplabv3_gtav2cityscapes",
        doors={
            "analysis": "gcisg_seg.analysis:SegmentationTask",
            "demo": "gcisg_seg.demo:segmentation_section",
            "export": "gcisg_seg.release:release",
            "mini": "gcisg_seg.mini:train_and_measure",
            "new_project": "gcisg_seg.new_project:segmentation",
            "panel": "gcisg_seg.panels:panel",
            "paper": "gcisg_seg.evaluation:train_and_test",
            "predictor": "gcisg_seg.predict:Predictor",
            "source_config": "gcisg_seg.selection:source_config",
            "target_config": "gcisg_seg.selection:target_config",
        },
        audits={
            "gtav": "gcisg_seg.audit:audit_gtav",
            "cityscapes": "gcisg_seg.audit:audit_cityscapes",
            "bdd100k": "gcisg_seg.audit:audit_bdd100k",
            "mapillary": "gcisg_seg.audit:audit_mapillary",
            "pairs": "gcisg_seg.audit:audit_pairs",
        },
        prepares={**SCENES, **REFERENCE},
    ),
    Task(
        name="detection",
        framework=DETECTRON2,
        package="gcisg_det",
        needs="detectron2",
        recognises=_is_detector,
        metrics=("AP", "AP50", "AP75"),
        recipe="r101_fpn",
        doors={
            "analysis": "gcisg_det.analysis:DetectionTask",
            "demo": "gcisg_det.demo:detection_section",
            "export": "gcisg_det.release:export",
            "mini": "gcisg_det.mini:train_and_measure",
            "new_project": "gcisg_det.new_project:detection",
            "panel": "gcisg_det.panels:panel",
            "paper": "gcisg_det.engine:train_and_test",
            "predictor": "gcisg_det.predict:predictor",
            "source_config": "gcisg_det.selection:source_config",
            "target_config": "gcisg_det.selection:target_config",
        },
        audits={
            "sim10k": "gcisg_det.audit:audit_sim10k",
            "cityscapes-boxes": "gcisg_det.audit:audit_cityscapes_boxes",
            "coco": "gcisg_suite.audit.coco:audit_coco",
        },
        prepares={**SCENES, "Detection's reference network": "gcisg_det.mini:prepare_mini"},
    ),
)
TASKS = {task.name: task for task in _ROWS}
AUDITS = {data_set: door for task in _ROWS for data_set, door in task.audits.items()}


def framework_of(file: str | Path) -> Framework:
    """The framework of a config file, by its suffix.

    Raises:
        ValueError: no framework has configs of that suffix.
    """
    for framework in FRAMEWORKS.values():
        if Path(file).suffix in framework.suffixes:
            return framework
    suffixes = ", ".join(framework.suffixes[0] for framework in FRAMEWORKS.values())
    raise ValueError(f"{file}: expected one of the suffixes {suffixes}")


def read_config(file: str | Path, overrides: Sequence[str] = ()) -> Any:
    """A config of either framework.

    Raises:
        ValueError, FileNotFoundError: it cannot be used.
    """
    return load(framework_of(file).read_config)(str(file), list(overrides))


def find_task(config: Any) -> Task | None:
    """The task of a loaded config; None for a model of another kind."""
    return next((task for task in _ROWS if task.recognises(config)), None)


def task_of(config: Any) -> Task:
    """The task of a loaded config.

    Raises:
        ValueError: it is of no task here.
    """
    task = find_task(config)
    if task is None:
        scope = config.get("default_scope")
        raise ValueError(f"default_scope {scope!r}: a config of none of the tasks {', '.join(TASKS)}")
    return task

"""The one table of tasks: which framework, package and functions belong to each, and how its configs are recognised.

Everything is named as `module:function` and imported on use, so tasks of one framework work without the other
framework installed. A new task is a folder under `projects/` and a row here; docs/extend.md shows one.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gcisg_core.integrations.openmmlab import distributions
from gcisg_core.shell import pinned
from gcisg_core.trackers import TRACKERS
from gcisg_suite.rows import Audit, Framework, Package, TaskSpec, load

MMENGINE = Framework(
    name="mmengine",
    suffixes=(".py", ".json"),
    read_config="gcisg_core.integrations.mmengine:load_config",
    read_run="gcisg_core.integrations.mmengine:load_run_config",
    train="gcisg_core.integrations.mmengine:run",
    student="gcisg_core.integrations.mmengine.student:student_of",
    evaluate="gcisg_suite.zoo.evaluate:evaluate",
    replay="gcisg_core.integrations.mmengine.nan",
    base="_base_ = {}",
    as_text=lambda config: json.dumps(config.to_dict(), sort_keys=True, default=str),
    key=r"[\w.]+=.*",
    trackers=tuple(TRACKERS),
    install="pip install 'gcisg[classification]', or 'gcisg[segmentation]' for both tasks",
)
DETECTRON2 = Framework(
    name="detectron2",
    suffixes=(".yaml", ".yml"),
    read_config="gcisg_det.config:read_config",
    read_run="gcisg_det.config:read_run_config",
    train="gcisg_det.engine:run",
    student="gcisg_det.student:student_of",
    evaluate="gcisg_det.evaluation:evaluate",
    replay="gcisg_det.replay",
    base="_BASE_: {}",
    as_text=lambda config: config.dump(),
    key=r"[A-Z][A-Z0-9_]*(\.[A-Z0-9_]+)*",
    pairs=True,
)


def _is_lazy_config(file: Path) -> bool:
    """Whether a `.py` file has plain imports, as LazyConfigs do; mmengine's import only in `with read_base()`."""
    try:
        body = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return False  # its framework will say what is wrong
    imported = [
        name for node in body if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    ]  # fmt: skip
    relative = any(isinstance(node, ast.ImportFrom) and node.level for node in body)
    return relative or any(name.partition(".")[0] in ("detectron2", "gcisg_det") for name in imported)


LAZY = Framework(
    name="detectron2_lazy",
    suffixes=(".py",),
    read_config="gcisg_det.lazy:read_config",
    read_run="gcisg_det.lazy:read_run",
    train="gcisg_det.lazy.train:run",
    student="gcisg_det.student:student_of",
    evaluate="gcisg_det.evaluation:evaluate_lazy",
    replay="gcisg_det.replay",
    base="",
    as_text=lambda config: load("gcisg_det.lazy:as_text")(config),
    key=r"[\w.]+=.*",
    owns=_is_lazy_config,
)
FRAMEWORKS = {framework.name: framework for framework in (LAZY, MMENGINE, DETECTRON2)}


def _is_detector(config: Any) -> bool:
    model = config.get("model")
    return "DATASETS" in config or (isinstance(model, Mapping) and "_target_" in model)


def _is_segmentor(config: Any) -> bool:
    model = config.get("model")
    return config.get("default_scope") == "mmseg" or (isinstance(model, dict) and "decode_head" in model)


def _is_classifier(config: Any) -> bool:
    known = _is_detector(config) or _is_segmentor(config)
    return not known and config.get("default_scope") in (None, "mmengine")


SEGMENTATION, DETECTION, ANALYSIS = (
    f"{{pip}} {what}"
    for what in (pinned("frameworks", "segmentation"), pinned("frameworks", "detection"), "'gcisg[analysis]'")
)
# Where there is no Makefile, its command: only uv accepts the package's metadata.
DETECTRON2_PARTS = (
    "make setup"
    if Path(__file__).resolve().parents[1].joinpath("Makefile").is_file()
    else "{pip} uv wheel 'setuptools<81' && {python} -m uv pip install --python {python} --no-deps --no-build-isolation"
    f" -C--global-option=build_py -C--build-option=--skip-build --require-hashes {pinned('detectron2')}"
)
DETECTRON2_ITSELF = (
    f"Detectron2's own install guide (with a GPU), or its Python part from the package index: {DETECTRON2_PARTS}"
)
MMENGINE_PACKAGE = Package("mmengine", SEGMENTATION, distributions("mmengine"), "0.10")
SCENES = {"Scenes": "gcisg_suite.prepare:scenes"}
IMAGES = {"Images": "gcisg_suite.prepare:images"}
REFERENCE = {"Reference network": "gcisg_suite.prepare:reference"}
_ROWS = (
    TaskSpec(
        name="classification",
        framework=MMENGINE,
        package="gcisg_cls",
        packages=(
            MMENGINE_PACKAGE,
            Package("sklearn", ANALYSIS, ("scikit-learn",)),
            Package("pytorch_grad_cam", ANALYSIS, ("grad-cam",)),
        ),
        recognises=_is_classifier,
        install="pip install 'gcisg[classification]'",
        metrics=("accuracy", "match_rate", "acc_in", "cka"),
        recipe="r101_visda17",
        doors={
            "analysis": "gcisg_cls.analysis:ClassificationTask",
            "demo": "gcisg_cls.demo:classification_section",
            "differences": "gcisg_cls.differences:differences",
            "export": "gcisg_cls.export:export",
            "mini": "gcisg_cls.mini:train_and_evaluate",
            "named_predictor": "gcisg_cls.predict:from_name",
            "new_project": "gcisg_cls.new_project:classification",
            "panel": "gcisg_cls.panels:panel",
            "paper": "gcisg_cls.model_metrics:train_and_test",
            "predictor": "gcisg_cls.predict:from_config",
            "reference": "gcisg_cls.mini:prepare_reference",
            "source_config": "gcisg_cls.selection:source_config",
            "target_config": "gcisg_cls.selection:target_config",
        },
        audits={
            "visda17": Audit("gcisg_cls.audit:audit_visda17"),
            "class-folders": Audit("gcisg_cls.audit:audit_folders", ("classes",)),
        },
        own_data=("class-folders",),
        prepares={**IMAGES, **REFERENCE},
    ),
    TaskSpec(
        name="segmentation",
        framework=MMENGINE,
        package="gcisg_seg",
        packages=(
            Package("mmseg", SEGMENTATION, distributions("mmseg"), "1.0"),
            Package("mmcv", SEGMENTATION, distributions("mmcv"), "2.0"),
            Package("cityscapesscripts", "{pip} cityscapesscripts", ("cityscapesscripts",)),
        ),
        recognises=_is_segmentor,
        install="pip install 'gcisg[segmentation]'",
        metrics=("mIoU", "aAcc", "mAcc"),
        recipe="r50_deeplabv3_gtav2cityscapes",
        doors={
            "analysis": "gcisg_seg.analysis:SegmentationTask",
            "demo": "gcisg_seg.demo:segmentation_section",
            "differences": "gcisg_seg.differences:differences",
            "export": "gcisg_seg.export:export",
            "mini": "gcisg_seg.mini:train_and_evaluate",
            "new_project": "gcisg_seg.new_project:segmentation",
            "panel": "gcisg_seg.panels:panel",
            "paper": "gcisg_seg.evaluation:train_and_test",
            "predictor": "gcisg_seg.predict:Predictor",
            "source_config": "gcisg_seg.selection:source_config",
            "target_config": "gcisg_seg.selection:target_config",
        },
        audits={
            "gtav": Audit("gcisg_seg.audit:audit_gtav"),
            "cityscapes": Audit("gcisg_seg.audit:audit_cityscapes"),
            "bdd100k": Audit("gcisg_seg.audit:audit_bdd100k"),
            "bdd100k-seg": Audit("gcisg_seg.audit:audit_bdd100k_seg"),
            "mapillary": Audit("gcisg_seg.audit:audit_mapillary"),
            "foggy-cityscapes": Audit("gcisg_seg.audit:audit_foggy_cityscapes"),
            "acdc": Audit("gcisg_seg.audit:audit_acdc"),
            "shift": Audit("gcisg_seg.audit:audit_shift"),
            "synthia": Audit("gcisg_seg.audit:audit_synthia"),
            "pairs": Audit(
                "gcisg_seg.audit:audit_pairs",
                (
                    "images",
                    "labels",
                    "image_suffix",
                    "label_suffix",
                    "classes",
                    "num_classes",
                    "label_values",
                    "reduce_zero_label",
                    "ignore_index",
                ),
            ),
        },
        own_data=("pairs",),
        prepares={**SCENES, **IMAGES, **REFERENCE},
    ),
    TaskSpec(
        name="detection",
        framework=DETECTRON2,
        package="gcisg_det",
        packages=(
            Package("detectron2", DETECTRON2_ITSELF, ("detectron2", "detectron2-cdo")),
            Package("pycocotools", DETECTION, ("pycocotools",)),
            Package("fvcore", DETECTION, ("fvcore",)),
        ),
        recognises=_is_detector,
        metrics=("AP", "AP50", "AP75"),
        recipe="r101_fpn",
        doors={
            "analysis": "gcisg_det.analysis:DetectionTask",
            "demo": "gcisg_det.demo:detection_section",
            "differences": "gcisg_det.differences:differences",
            "export": "gcisg_det.export:export",
            "mini": "gcisg_det.mini:train_and_evaluate",
            "new_project": "gcisg_det.new_project:detection",
            "panel": "gcisg_det.panels:panel",
            "paper": "gcisg_det.engine:train_and_test",
            "predictor": "gcisg_det.predict:Predictor",
            "source_config": "gcisg_det.selection:source_config",
            "target_config": "gcisg_det.selection:target_config",
        },
        audits={
            "sim10k": Audit("gcisg_det.audit:audit_sim10k"),
            "cityscapes-boxes": Audit("gcisg_det.audit:audit_cityscapes_boxes"),
            "coco": Audit("gcisg_suite.audit.coco:audit_coco", ("annotations", "classes")),
        },
        own_data=("coco", "images", "labels"),
        prepares={**SCENES, **REFERENCE},
    ),
)
TASKS = {task.name: task for task in _ROWS}
AUDITS = {data_set: audit for task in _ROWS for data_set, audit in task.audits.items()}


def framework_of(file: str | Path) -> Framework:
    """The framework of a config file, by its suffix or, for `.py`, by what it imports. Nothing in the file is run.

    Raises:
        ValueError: no framework has configs of that suffix.
    """
    for framework in FRAMEWORKS.values():
        if Path(file).suffix in framework.suffixes and framework.owns(Path(file)):
            return framework
    suffixes = ", ".join(dict.fromkeys(framework.suffixes[0] for framework in FRAMEWORKS.values()))
    raise ValueError(f"{file}: expected one of the suffixes {suffixes}")


def read_config(file: str | Path, overrides: Sequence[str] = ()) -> Any:
    """A config of either framework.

    Raises:
        ValueError, FileNotFoundError: it cannot be used.
    """
    return framework_of(file).door("read_config")(str(file), list(overrides))


def read_run_config(file: str | Path, overrides: Sequence[str] = (), trust: bool = False) -> Any:
    """:func:`read_config` for the config in the folder of a run; nothing in it is run.

    With ``trust`` it may import modules of any package.
    """
    return framework_of(file).door("read_run")(str(file), list(overrides), trust)


def find_task(config: Any) -> TaskSpec | None:
    """The task of a loaded config: by the package that it imports, else by its content.

    None for a model of another kind.
    """
    modules = (config.get("custom_imports") or {}).get("imports") or ()
    imported = {module.partition(".")[0] for module in ([modules] if isinstance(modules, str) else modules)}
    named = [task for task in _ROWS if task.package in imported]
    return named[0] if len(named) == 1 else next((task for task in _ROWS if task.recognises(config)), None)


def task_of(config: Any) -> TaskSpec:
    """The task of a loaded config.

    Raises:
        ValueError: it belongs to no task here.
    """
    task = find_task(config)
    if task is None:
        scope = config.get("default_scope")
        raise ValueError(f"default_scope {scope!r}: a config of none of the tasks {', '.join(TASKS)}")
    return task

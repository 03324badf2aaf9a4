"""The config keys of data and recipe, and a reader that names the nearest valid key for a misspelt one."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from detectron2.config import CfgNode, get_cfg

from gcisg_core.config import require
from gcisg_core.initial_weights import MIN_MATCH_RATIO
from gcisg_core.integrations.detectron2 import add_regularizer_config, allow_overrides, regularizer_values
from gcisg_core.old_names import ARGUMENTS, warn
from gcisg_core.problems import DataError
from gcisg_core.ranges import check_ranges
from gcisg_suite.coco.values import shown
from gcisg_suite.selection.settings import SelectionSettings
from gcisg_suite.text import is_lazy, not_plain, read_yaml

from . import custom_imports

# Keys of DATASETS that hold paths, in which environment variables ($GCISG_DATA) are replaced.
DATA_KEYS = ("ROOT", "COCO", "SEM_SEG", "PANOPTIC", "OWN")
# What yacs says of a value whose type is not that of the default, and what it should be, by the default's type.
WRONG_TYPE = re.compile(
    r"Type mismatch \(<class '(\w+)'> .*\) with values \((.*) vs\. (.*)\) for config key: (.*)", re.S
)
KINDS = {
    "bool": "True or False",
    "float": "a number with a decimal point",
    "int": "a whole number",
    "list": "a list",
    "str": "a string",
    "tuple": "a list",
}


def add_detection_config(cfg: CfgNode) -> None:
    """Adds the keys of this project to Detectron2's."""
    add_regularizer_config(cfg)
    # The detector that SynToRealDetector adds the method to: any registered meta-architecture with a backbone.
    cfg.MODEL.PARENT_ARCHITECTURE = "GeneralizedRCNN"
    # Share of the backbone's tensors that MODEL.WEIGHTS must match, see gcisg_core.initial_weights; 0 takes what fits.
    cfg.MODEL.MIN_MATCH_RATIO = MIN_MATCH_RATIO
    # Plugins of the backbone by name, see gcisg_core.backbone_plugins: IBN: "a", MIXSTYLE: {P: 0.5}; empty for none.
    cfg.MODEL.BACKBONE_PLUGINS = CfgNode(new_allowed=True)
    # Your own code: modules that register models or data, functions that add keys: "my.module:add_config".
    cfg.CUSTOM_IMPORTS = []
    # Your own trainer, "my.module:MyTrainer", derived from gcisg_det.engine.Trainer.
    cfg.CUSTOM_TRAINER = ""
    # Folder that holds `sim10k` and `cityscapes`; empty: the environment variable GCISG_DATA, else `data`.
    cfg.DATASETS.ROOT = ""
    # Own data, a list of [name, COCO JSON file, image folder].
    cfg.DATASETS.COCO = []
    # Label images for your own data, a list of [name in COCO, folder, "class, class, ..."]: PNG files
    # of class numbers, 255 for none, with the names of the images; for semantic and panoptic architectures.
    cfg.DATASETS.SEM_SEG = []
    # Panoptic labels for data with label images, a list of [name in COCO, COCO's panoptic JSON file, its PNG folder].
    cfg.DATASETS.PANOPTIC = []
    # Data in other formats, a list of [name, format, the format's fields], see gcisg_det.datasets.formats.
    cfg.DATASETS.OWN = []
    # An image that cannot be used: error stops training and names it, skip logs a warning and takes another.
    cfg.INPUT.ON_BAD_SAMPLE = "error"
    # Strengths of the colour jitter (brightness, contrast, saturation, hue) of SynToRealDetector's views in training.
    cfg.INPUT.COLOR_JITTER = [0.0, 0.0, 0.0, 0.0]
    # Probability that a view is blurred (Gaussian, standard deviation 0.1 to 2 pixels).
    cfg.INPUT.BLUR = 0.0
    # PASTA's alpha, k and beta, such as [3.0, 2.0, 0.25]: perturbed Fourier amplitudes of the views; empty for none.
    cfg.INPUT.PASTA = []
    # A folder of style images for the views (domain randomisation), and how they are used: statistics or fourier.
    cfg.INPUT.STYLES = ""
    cfg.INPUT.STYLE_KIND = "statistics"
    # How a checkpoint is chosen, see gcisg_suite.selection.settings: EVERY_CHECKPOINT, BY, SOURCE, DATA.
    cfg.SELECTION = CfgNode({field.name.upper(): field.default for field in fields(SelectionSettings)})


def _keys(node: CfgNode, prefix: str = "") -> Iterator[str]:
    for name, value in node.items():
        yield prefix + name
        if isinstance(value, CfgNode):
            yield from _keys(value, f"{prefix}{name}.")


def read_config(file: str | Path, overrides: Sequence[str] = (), cfg: CfgNode | None = None) -> CfgNode:
    """Read a config file and `KEY VALUE` overrides over Detectron2's defaults and this project's keys.

    Args:
        file: A `.yaml` file.
        overrides: Alternating keys and values.
        cfg: Defaults to start from, for projects with more keys.

    Raises:
        FileNotFoundError: the file does not exist.
        DataError: the file, or a file that it names as `_BASE_`, is not plain YAML: it does not parse, or a tag asks
            for a Python object. Nothing in it is run.
        ValueError: a key does not exist (the message names the nearest valid key), or a value is invalid.
    """
    if not Path(file).is_file():
        raise FileNotFoundError(f"config file {file} does not exist")
    names = custom_imports.named(_check_files(Path(file), cfg or _defaults()), overrides, file)
    custom_imports.load(names, file)
    cfg = cfg or _defaults()  # some modules change the framework's defaults when they are imported
    custom_imports.add_keys(cfg, names, file)
    # Earlier names; they stay empty unless the file or an override sets them.
    defaults = cfg.clone()
    cfg.MODEL.CHANGES, cfg.MODEL.LEAST_MATCH = CfgNode(new_allowed=True), None
    try:
        try:
            cfg.merge_from_file(str(file), allow_unsafe=False)
            allow_overrides(cfg, overrides)
            cfg.merge_from_list(list(overrides))
        except ValueError as error:
            raise ValueError(f"{file}: {_reason(error)}") from error
    except yaml.YAMLError as error:  # of an override
        raise not_plain(error, f"{file} with the overrides {list(overrides)}") from error
    except (KeyError, AssertionError) as error:
        unknown = re.search(r"Non-existent (?:config )?key: ([\w.]+)", str(error))
        if unknown is None:
            raise ValueError(f"{file} with the overrides {list(overrides)}: {error}") from error
        keys = [key for key in _keys(cfg) if key.partition(".")[2].lower() not in ARGUMENTS]
        nearest = difflib.get_close_matches(unknown[1], keys, n=1, cutoff=0.0)[0]
        raise ValueError(f"unknown config key {unknown[1]}; the nearest valid key is {nearest}") from error
    _check_numbers(file, cfg, defaults)
    check_ranges(file, cfg)
    given = {old: cfg.MODEL.pop(old.upper()) for old in ARGUMENTS}
    for old, value in given.items():
        if value not in (None, {}):
            warn(f"MODEL.{old.upper()}", f"MODEL.{ARGUMENTS[old].upper()}")
            cfg.MODEL[ARGUMENTS[old].upper()] = value
    os.environ.setdefault("GCISG_DATA", "data")
    for node, key in ((cfg.MODEL, "WEIGHTS"), (cfg.INPUT, "STYLES"), *((cfg.DATASETS, key) for key in DATA_KEYS)):
        node[key] = _expanded(node[key])
    try:
        regularizer_values(cfg)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    if photometric_values(cfg) or cfg.MODEL.BACKBONE_PLUGINS or cfg.REGULARIZER.METHOD != "none":
        require(
            cfg.MODEL.META_ARCHITECTURE == "SynToRealDetector",
            "MODEL.META_ARCHITECTURE",
            cfg.MODEL.META_ARCHITECTURE,
            "SynToRealDetector (with this one as MODEL.PARENT_ARCHITECTURE) for REGULARIZER, MODEL.BACKBONE_PLUGINS "
            "and INPUT.COLOR_JITTER, BLUR, PASTA and STYLES",
        )
    choice = cfg.INPUT.ON_BAD_SAMPLE
    require(choice in ("error", "skip"), "INPUT.ON_BAD_SAMPLE", choice, "'error' or 'skip'")
    require(len(cfg.INPUT.COLOR_JITTER) == 4, "INPUT.COLOR_JITTER", cfg.INPUT.COLOR_JITTER, "4 numbers")
    require(len(cfg.INPUT.PASTA) in (0, 3), "INPUT.PASTA", cfg.INPUT.PASTA, "3 numbers: alpha, k, beta; or none")
    return cfg


def read_run_config(file: str | Path, overrides: Sequence[str] = (), trust: bool = False) -> CfgNode:
    """:func:`read_config` for the config in a run's folder; nothing in it is run unless it is trusted.

    Raises:
        DataError: It imports your own code.
    """
    if not trust and (names := custom_imports.named(_check_files(Path(file), _defaults()), overrides, file)):
        what = f"imports code ({', '.join(names)}), which the config of a run's folder must not"
        remedy = "Add --trust if the run is your own, or name the config that you trained with: --config FILE"
        raise DataError(file, what, remedy)
    return read_config(file, overrides)


def _defaults() -> CfgNode:
    cfg = get_cfg()
    add_detection_config(cfg)
    return cfg


def _expanded(value: Any) -> Any:
    """With the environment variables of a path, or of the paths in a list, replaced."""
    if isinstance(value, list | tuple):
        return type(value)(map(_expanded, value))
    return os.path.expandvars(value) if isinstance(value, str) else value


def _reason(error: ValueError) -> str:
    """The message of an error; a wrong type as key, value and what was expected."""
    found = WRONG_TYPE.search(str(error))
    if not found:
        return str(error)
    kind, default, value, key = found.groups()
    return f"{key} is {value or repr(value)}, expected {KINDS.get(kind, kind)}, such as {default or repr(default)}"


def _check_numbers(file: str | Path, cfg: CfgNode, defaults: CfgNode, prefix: str = "") -> None:
    """Refuse text in a list of numbers; yacs checks the types of other values."""
    for name, default in defaults.items():
        value = cfg.get(name)
        if isinstance(default, CfgNode) and isinstance(value, CfgNode):
            _check_numbers(file, value, default, f"{prefix}{name}.")
        elif {*map(type, _flat(default))} & {int, float} and str in {*map(type, _flat(value))}:
            raise ValueError(f"{file}: {prefix}{name} is {value!r}, expected numbers, such as {default!r}")


def _flat(value: Any) -> Iterator[Any]:
    for inner in value if isinstance(value, list | tuple) else ():
        yield from _flat(inner) if isinstance(inner, list | tuple) else (inner,)


def _check_files(file: Path, cfg: CfgNode) -> list[dict[str, Any]]:
    """The contents of a file and its bases. Refuses contents that are not mappings nested like the defaults.

    Raises:
        DataError: One is refused; the message names file and key.
    """
    files, contents = [file], [_mapping(file, cfg)]
    while isinstance(base := contents[-1].get("_BASE_"), str) and "://" not in base:
        path = files[-1].parent / Path(base).expanduser()
        if path in files or not path.is_file():
            what = "leads back to itself" if path in files else "does not exist"
            raise DataError(files[-1], f"_BASE_ {base!r} {what}", "Name a config file, relative to this one")
        files.append(path)
        contents.append(_mapping(path, cfg))
    return contents


def _mapping(file: Path, cfg: CfgNode) -> dict[str, Any]:
    if is_lazy(file):
        what = "was written by training, or by an export, from a LazyConfig"
        raise DataError(file, what, "Give the .py that was trained, whose code is run: --config FILE.py")
    content = read_yaml(file)
    for key, value in _nodes(content, cfg):
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
            what = f"{key or 'it'} is {shown(value)}, expected keys and values"
            raise DataError(file, what, "Write KEY: VALUE lines, indented below their node")
        if not isinstance(value.get("_BASE_", ""), str):
            raise DataError(file, f"_BASE_ is {shown(value['_BASE_'])}, expected the name of a file", "Name one config")
    return dict(content)


def _nodes(value: Any, node: CfgNode, key: str = "") -> Iterator[tuple[str, Any]]:
    """What a file has where the defaults have nodes, by key."""
    yield key, value
    for name, inner in node.items():
        if isinstance(inner, CfgNode) and isinstance(value, dict) and name in value:
            yield from _nodes(value[name], inner, f"{key}.{name}" if key else name)


def photometric_values(cfg: CfgNode) -> dict[str, Any]:
    """The arguments of :class:`gcisg_core.views.PhotometricView`; empty if the views are the images themselves."""
    values: dict[str, Any] = {"blur": cfg.INPUT.BLUR} if cfg.INPUT.BLUR else {}
    if cfg.INPUT.PASTA:
        values["pasta"] = dict(zip(("alpha", "k", "beta"), cfg.INPUT.PASTA, strict=False))
    if cfg.INPUT.STYLES:
        values["styles"] = {"folder": cfg.INPUT.STYLES, "kind": cfg.INPUT.STYLE_KIND}
    if values or any(cfg.INPUT.COLOR_JITTER):
        values.update(zip(("brightness", "contrast", "saturation", "hue"), cfg.INPUT.COLOR_JITTER, strict=False))
    return values


def architecture(cfg: CfgNode) -> str:
    """The framework's meta-architecture, with or without a method."""
    wrapped = cfg.MODEL.META_ARCHITECTURE == "SynToRealDetector"
    name: str = cfg.MODEL.PARENT_ARCHITECTURE if wrapped else cfg.MODEL.META_ARCHITECTURE
    return name


def head_key(cfg: CfgNode) -> str | None:
    """The node of `MODEL` with the detector's `NUM_CLASSES`; None if your own architecture has several."""
    from detectron2.modeling import META_ARCH_REGISTRY, GeneralizedRCNN, RetinaNet  # takes longer than all of this

    name = architecture(cfg)
    parent = dict(META_ARCH_REGISTRY).get(name)
    kind = parent if isinstance(parent, type) else object
    if "Retina" in name or issubclass(kind, RetinaNet):
        return "RETINANET"
    known = get_cfg().MODEL
    nodes = {key: node for key, node in cfg.MODEL.items() if isinstance(node, CfgNode) and key not in known}
    added = [key for key, node in nodes.items() if "NUM_CLASSES" in node]
    if parent is None or issubclass(kind, GeneralizedRCNN) or not added:
        return "ROI_HEADS"
    return added[0] if len(added) == 1 else None

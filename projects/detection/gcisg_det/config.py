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
from gcisg_core.initial_weights import LEAST_MATCH
from gcisg_core.integrations.detectron2 import add_regularizer_config, allow_overrides, regularizer_values
from gcisg_core.problems import DataError
from gcisg_suite.selection.settings import SelectionSettings


def add_detection_config(cfg: CfgNode) -> None:
    """Adds the keys of this project to Detectron2's."""
    add_regularizer_config(cfg)
    # The detector that SynToRealDetector adds the method to: any registered meta-architecture with a backbone.
    cfg.MODEL.PARENT_ARCHITECTURE = "GeneralizedRCNN"
    # Share of the backbone's tensors that MODEL.WEIGHTS must match, see gcisg_core.initial_weights; 0 takes what fits.
    cfg.MODEL.LEAST_MATCH = LEAST_MATCH
    # Changes of the backbone by name, see gcisg_core.changes: IBN: "a", MIXSTYLE: {P: 0.5}; empty for none.
    cfg.MODEL.CHANGES = CfgNode(new_allowed=True)
    # Folder that holds `sim10k` and `cityscapes`; empty: the environment variable GCISG_DATA, else `data`.
    cfg.DATASETS.ROOT = ""
    # Own data, a list of [name, COCO JSON file, image folder].
    cfg.DATASETS.COCO = []
    # Label images for the images of data of one's own, a list of [name in COCO, folder, "class, class, ..."]: PNG files
    # of class numbers, 255 for none, called as the images are; for semantic and panoptic architectures.
    cfg.DATASETS.SEM_SEG = []
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
    """Reads a config file and `KEY VALUE` overrides over Detectron2's defaults and this project's keys.

    Args:
        file: A `.yaml` file.
        overrides: Alternating keys and values.
        cfg: Defaults to start from, for projects with more keys.

    Raises:
        FileNotFoundError: The file does not exist.
        DataError: The file, or one that it names as `_BASE_`, is no plain YAML: it does not parse, or a tag asks for an
            object of Python. Nothing of it is run.
        ValueError: A key does not exist; the message names the nearest that does. Or a value is impossible.
    """
    if cfg is None:
        cfg = get_cfg()
        add_detection_config(cfg)
    if not Path(file).is_file():
        raise FileNotFoundError(f"config file {file} does not exist")
    try:
        cfg.merge_from_file(str(file), allow_unsafe=False)
        allow_overrides(cfg, overrides)
        cfg.merge_from_list(list(overrides))
    except yaml.MarkedYAMLError as error:
        raise _not_plain(error, file) from error
    except (KeyError, AssertionError) as error:
        unknown = re.search(r"Non-existent (?:config )?key: ([\w.]+)", str(error))
        if unknown is None:
            raise ValueError(f"{file} with the overrides {list(overrides)}: {error}") from error
        nearest = difflib.get_close_matches(unknown[1], list(_keys(cfg)), n=1, cutoff=0.0)[0]
        raise ValueError(f"unknown config key {unknown[1]}; the nearest valid key is {nearest}") from error
    os.environ.setdefault("GCISG_DATA", "data")
    cfg.MODEL.WEIGHTS, cfg.DATASETS.ROOT, cfg.INPUT.STYLES = (
        os.path.expandvars(path) for path in (cfg.MODEL.WEIGHTS, cfg.DATASETS.ROOT, cfg.INPUT.STYLES)
    )
    regularizer_values(cfg)
    if view_values(cfg) or cfg.MODEL.CHANGES or cfg.REGULARIZER.METHOD != "none":
        require(
            cfg.MODEL.META_ARCHITECTURE == "SynToRealDetector",
            "MODEL.META_ARCHITECTURE",
            cfg.MODEL.META_ARCHITECTURE,
            "SynToRealDetector (with this one as MODEL.PARENT_ARCHITECTURE) for REGULARIZER, MODEL.CHANGES and "
            "INPUT.COLOR_JITTER, BLUR, PASTA and STYLES",
        )
    choice = cfg.INPUT.ON_BAD_SAMPLE
    require(choice in ("error", "skip"), "INPUT.ON_BAD_SAMPLE", choice, "'error' or 'skip'")
    require(len(cfg.INPUT.COLOR_JITTER) == 4, "INPUT.COLOR_JITTER", cfg.INPUT.COLOR_JITTER, "4 numbers")
    require(len(cfg.INPUT.PASTA) in (0, 3), "INPUT.PASTA", cfg.INPUT.PASTA, "3 numbers: alpha, k, beta; or none")
    return cfg


def _not_plain(error: yaml.MarkedYAMLError, file: object) -> DataError:
    """What is wrong with a YAML file, with its line; the mark knows which of several files it is."""
    mark = error.problem_mark or error.context_mark
    place = f"{mark.name}, line {mark.line + 1}" if mark and mark.name.endswith((".yaml", ".yml")) else str(file)
    tag = re.search(r"tag '(?:tag:yaml.org,2002:)?([^']+)'", error.problem or "")
    if tag:
        what = f"is refused: the tag !!{tag[1]} makes an object of Python"
        return DataError(place, what, "Write plain values: numbers, texts, lists; (1, 2) is a tuple as it is")
    return DataError(place, f"is no YAML ({error.problem})", "Mend the line; indent with spaces")


def view_values(cfg: CfgNode) -> dict[str, Any]:
    """The arguments of :class:`gcisg_core.views.PhotometricView`; empty when the views are the images themselves."""
    values: dict[str, Any] = {"blur": cfg.INPUT.BLUR} if cfg.INPUT.BLUR else {}
    if cfg.INPUT.PASTA:
        values["pasta"] = dict(zip(("alpha", "k", "beta"), cfg.INPUT.PASTA, strict=False))
    if cfg.INPUT.STYLES:
        values["styles"] = {"folder": cfg.INPUT.STYLES, "kind": cfg.INPUT.STYLE_KIND}
    if values or any(cfg.INPUT.COLOR_JITTER):
        values.update(zip(("brightness", "contrast", "saturation", "hue"), cfg.INPUT.COLOR_JITTER, strict=False))
    return values


def architecture(cfg: CfgNode) -> str:
    """The framework's meta-architecture, with a method beside it or not."""
    wrapped = cfg.MODEL.META_ARCHITECTURE == "SynToRealDetector"
    name: str = cfg.MODEL.PARENT_ARCHITECTURE if wrapped else cfg.MODEL.META_ARCHITECTURE
    return name


def head_key(cfg: CfgNode) -> str:
    """The node of `MODEL` that has the detector's `NUM_CLASSES`."""
    return "RETINANET" if "Retina" in architecture(cfg) else "ROI_HEADS"

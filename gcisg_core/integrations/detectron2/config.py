"""Detectron2: the method's settings in a config."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from detectron2.config import CfgNode

from gcisg_core.regularizers import read_method


def add_regularizer_config(cfg: CfgNode) -> None:
    """Adds the node `REGULARIZER`: `METHOD`, and by their upper-case names the fields of the method's settings.

    The fields and their defaults stay in the dataclasses of :mod:`gcisg_core.regularizers`.
    """
    cfg.REGULARIZER = CfgNode(new_allowed=True)
    # What is added to the task: none, gcisg, csg, ...
    cfg.REGULARIZER.METHOD = "none"


def allow_overrides(cfg: CfgNode, overrides: Sequence[Any]) -> None:
    """Lets `KEY VALUE` overrides set fields that no file has set, or set in another type; later checks see them."""
    for key in overrides[::2]:
        node, _, field = str(key).partition(".")
        if node == "REGULARIZER" and field:
            cfg.REGULARIZER[field] = CfgNode() if field == "STAGE_LOCATIONS" else None
        elif str(key).startswith("MODEL.CHANGES."):
            change, _, argument = str(key).removeprefix("MODEL.CHANGES.").partition(".")
            cfg.MODEL.CHANGES.setdefault(change, CfgNode(new_allowed=True) if argument else None)
            if argument:
                cfg.MODEL.CHANGES[change][argument] = None


def lower_keys(node: CfgNode) -> dict[str, Any]:
    """A node as plain dictionaries, by lower-case names."""
    return {key.lower(): lower_keys(value) if isinstance(value, CfgNode) else value for key, value in node.items()}


def regularizer_values(cfg: CfgNode) -> dict[str, Any]:
    """`cfg.REGULARIZER` as :func:`gcisg_core.regularizers.build_regularizer` takes it.

    Raises:
        ValueError: The method or a field is unknown (the nearest valid name is given), or a value is out of range.
    """
    values = {key.lower(): value for key, value in cfg.REGULARIZER.items()}
    if values.get("stage_locations"):
        values["stage_locations"] = {int(stage): place for stage, place in values["stage_locations"].items()}
    try:
        read_method(values)
    except ValueError as error:
        raise ValueError(f"REGULARIZER (keys are these names in upper case): {error}") from error
    return values

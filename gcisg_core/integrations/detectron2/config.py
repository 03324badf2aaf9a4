"""Detectron2: the method's settings in a config."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from detectron2.config import CfgNode

from gcisg_core.lookup import unknown_name
from gcisg_core.nan import setting
from gcisg_core.regularizers import read_method


def add_regularizer_config(cfg: CfgNode) -> None:
    """Add the node `REGULARIZER`: `METHOD`, and the fields of the method's settings in upper case.

    The fields and their defaults stay in the dataclasses of :mod:`gcisg_core.regularizers`. Its node `HOOK` has
    the arguments of :class:`RegularizerHook`: `ON_NONFINITE`.
    """
    cfg.REGULARIZER = CfgNode(new_allowed=True)
    # The method: none, gcisg, csg, ...
    cfg.REGULARIZER.METHOD = "none"


def allow_overrides(cfg: CfgNode, overrides: Sequence[Any]) -> None:
    """Let `KEY VALUE` overrides set fields that no file sets, or that have another type; later checks cover them."""
    for key in overrides[::2]:
        node, _, field = str(key).partition(".")
        if node == "REGULARIZER" and "." in field:
            _allow(cfg.REGULARIZER, field)
        elif node == "REGULARIZER" and field:
            cfg.REGULARIZER[field] = CfgNode() if field == "STAGE_LOCATIONS" else None
        elif str(key).startswith(("MODEL.BACKBONE_PLUGINS.", "MODEL.CHANGES.")):
            _allow(cfg.MODEL[field.partition(".")[0]], field.partition(".")[2])


def _allow(node: CfgNode, key: str) -> None:
    """Do the same for a key in a node that accepts any key, or in a node below it."""
    name, _, inner = key.partition(".")
    if not inner:
        node[name] = None
        return
    if not isinstance(node.get(name), CfgNode):
        node[name] = CfgNode(new_allowed=True)
    _allow(node[name], inner)


def lower_keys(node: CfgNode) -> dict[str, Any]:
    """Convert a node to plain dictionaries with lower-case names."""
    return {key.lower(): lower_keys(value) if isinstance(value, CfgNode) else value for key, value in node.items()}


def regularizer_values(cfg: CfgNode) -> dict[str, Any]:
    """Convert `cfg.REGULARIZER` to the form of :func:`gcisg_core.regularizers.build_regularizer`.

    Raises:
        ValueError: The method or a field is unknown (the nearest valid name is given), or a value is out of range.
    """
    hook_values(cfg)
    values = {key.lower(): value for key, value in cfg.REGULARIZER.items() if key != "HOOK"}
    if values.get("stage_locations"):
        values["stage_locations"] = {int(stage): place for stage, place in values["stage_locations"].items()}
    if isinstance(values.get("other_view"), CfgNode):
        values["other_view"] = lower_keys(values["other_view"])
    try:
        read_method(values)
    except ValueError as error:
        raise ValueError(f"REGULARIZER (keys are these names in upper case): {error}") from error
    return values


def hook_values(cfg: CfgNode) -> dict[str, Any]:
    """The node `REGULARIZER.HOOK` as arguments of the hook's recorder; empty if there is none.

    Raises:
        ValueError: A key is unknown, or a value is not one of those allowed.
    """
    values = lower_keys(cfg.REGULARIZER.get("HOOK") or CfgNode())
    for name in values:
        if name != setting.NAME:
            raise unknown_name(name.upper(), ["ON_NONFINITE"], "key of REGULARIZER.HOOK")
    setting.check(values.get(setting.NAME), "REGULARIZER.HOOK.ON_NONFINITE")
    return values

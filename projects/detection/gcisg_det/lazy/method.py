"""Adds a method to the node of a detector, and removes it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from detectron2.utils.registry import locate
from torch import nn

from gcisg_core.regularizers import read_method

from ..meta_arch import with_method
from .config import plain

STRENGTHS = ("brightness", "contrast", "saturation", "hue")
OWN_ARGUMENTS = ("regularizer", "backbone_plugins", "photometric", "image_format")


def add_method(
    model: Any,
    method: str,
    *,
    photometric: Sequence[float] | Mapping[str, Any] | None = None,
    backbone_plugins: Mapping[str, Any] | None = None,
    image_format: str | None = None,
    **settings: Any,
) -> Any:
    """Add a method to the node of a detector, in place.

    Args:
        model: The node, ``L(GeneralizedRCNN)(...)`` or any other detector with a backbone.
        method: ``gcisg``, ``csg``, ...; see :data:`gcisg_core.regularizers.METHODS`.
        photometric: Strengths of the views' colour jitter (brightness, contrast, saturation, hue), or all arguments of
            :class:`gcisg_core.views.PhotometricView`; None: the images are not changed.
        backbone_plugins: Name -> value, see :func:`gcisg_core.backbone_plugins.apply_backbone_plugins`.
        image_format: Channel order of the images; by default the node's ``input_format``, else BGR.
        **settings: Settings of the method, such as ``lambda_ci=0.5``.

    Returns:
        The node.
    """
    values = dict(zip(STRENGTHS, photometric, strict=True)) if isinstance(photometric, Sequence) else photometric
    model.parent = model["_target_"]
    model["_target_"] = build_detector
    model.regularizer = {"method": method, **settings}
    model.backbone_plugins, model.photometric = dict(backbone_plugins or {}), values if values is None else dict(values)
    model.image_format = image_format or model.get("input_format", "BGR")
    return model


def build_detector(
    *,
    parent: Any,
    regularizer: Any,
    backbone_plugins: Any = None,
    photometric: Any = None,
    image_format: str = "BGR",
    **own: Any,
) -> nn.Module:
    """Build the detector of a node changed by :func:`add_method`, which is ``L(build_detector)(parent=..., ...)``."""
    detector = locate(parent) if isinstance(parent, str) else parent
    method = {"regularizer": regularizer, "backbone_plugins": backbone_plugins, "photometric": photometric}
    plain_method = {key: plain(value) for key, value in method.items()}
    return with_method(detector)(**plain_method, image_format=image_format, **own)


def has_method(node: Any) -> bool:
    """Whether :func:`add_method` changed the node."""
    target = node["_target_"]
    return target is build_detector or (isinstance(target, str) and locate(target) is build_detector)


def method_of(node: Any) -> dict[str, Any]:
    """Return the method's name and settings; the name is `none` for a node without a method."""
    found: dict[str, Any] = plain(node.regularizer) if has_method(node) else {"method": "none"}
    return found


def check_method(node: Any) -> None:
    """Check that the method and its settings exist.

    Raises:
        ValueError: One does not; the message gives the nearest valid name.
    """
    try:
        read_method(method_of(node))
    except ValueError as error:
        raise ValueError(f"model.regularizer: {error}") from error


def without_losses(node: Any) -> Any:
    """Return a copy of a node that keeps the backbone plugins, but has no method."""
    node = copy.deepcopy(node)
    if has_method(node):
        node.regularizer = {"method": "none"}
    return node


def without_method(node: Any) -> Any:
    """Return a copy of a node as it was before :func:`add_method`."""
    node = copy.deepcopy(node)
    if has_method(node):
        node["_target_"] = node.pop("parent")
        for name in OWN_ARGUMENTS:
            node.pop(name, None)
    return node

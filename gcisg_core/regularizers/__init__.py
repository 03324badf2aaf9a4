"""Methods that regularise training on synthetic images, one per file.

A new method is one file with a subclass of :class:`~gcisg_core.regularizers.base.Regularizer` and one line here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from torch import nn

from gcisg_core.config import Settings, parse_settings
from gcisg_core.lookup import choose
from gcisg_core.nan import setting
from gcisg_core.other_view import check_other_view
from gcisg_core.regularizers.asg import ASG
from gcisg_core.regularizers.base import Regularizer, Terms
from gcisg_core.regularizers.csg import CSG
from gcisg_core.regularizers.drpc import DRPC
from gcisg_core.regularizers.feature_l2 import FeatureL2
from gcisg_core.regularizers.gcisg import GCISG
from gcisg_core.regularizers.guided import Guided
from gcisg_core.regularizers.isw import ISW
from gcisg_core.regularizers.oracle import Oracle
from gcisg_core.regularizers.si import SynapticIntelligence
from gcisg_core.regularizers.weight_l2 import WeightL2

METHODS: dict[str, type[Regularizer]] = {
    "none": Regularizer,
    "oracle": Oracle,
    "weight_l2": WeightL2,
    "si": SynapticIntelligence,
    "feature_l2": FeatureL2,
    "asg": ASG,
    "csg": CSG,
    "gcisg": GCISG,
    "guided": Guided,
    "isw": ISW,
    "drpc": DRPC,
}


def read_method(values: Mapping[str, Any] | None = None) -> tuple[type[Regularizer], Settings]:
    """The method named by ``values["method"]`` (``"none"`` by default), and its settings.

    Args:
        values: ``method``, ``preset`` and any fields of the method's settings. ``on_nonfinite``, which is now a
            setting of the hook, is removed with a warning.

    Raises:
        ValueError: the method or a setting is unknown, or a value is out of range.
    """
    given = dict(values or {})
    setting.take_earlier(given)
    name = given.pop("method", "none")
    method = choose(METHODS, name, "method")
    settings = parse_settings(method.settings_class, given, ["method"])
    check_other_view(settings.other_view)
    if settings.other_view != "same" and settings.views_needed < 2:
        raise ValueError(
            f"other_view is {settings.other_view!r}, but the method {name!r} with its settings looks at one view of "
            f"each image. Leave other_view out, or choose a method that compares views"
        )
    return method, settings


def is_term(loss: str, method: str) -> bool:
    """Whether a loss is a term of a method, by its name: `loss_ci_stage4` has its weight in the setting `lambda_ci`.

    Args:
        loss: The name in the log.
        method: A key of :data:`METHODS`; False for an unknown one.
    """
    if method not in METHODS:
        return False
    settings = [field.name for field in fields(METHODS[method].settings_class)]
    starts = [method, *(name.removeprefix("lambda_") for name in settings if name.startswith("lambda_"))]
    return loss.startswith(tuple(f"loss_{start}" for start in starts))


def settle_views(
    stated: int | None, values: Mapping[str, Any] | None, key: str, method_key: str, by_task: bool = False
) -> int:
    """How many views of an image to draw for a method; derived from its settings, without building a network.

    Args:
        stated: The number in the config; None: the method decides. More than the method needs is allowed.
        values: As for :func:`read_method`.
        key: The config key of ``stated``.
        method_key: The config key of ``values["method"]``.
        by_task: Count only those that the task's transform draws, see :attr:`Settings.views_drawn`.

    Raises:
        ValueError: the config states fewer views than the method needs.
    """
    settings = read_method(values)[1]
    needed = settings.views_drawn if by_task else settings.views_needed
    # Zero views, where a project allows it, mean the image itself.
    if stated is not None and max(stated, 1) < needed:
        name = (values or {}).get("method", "none")
        raise ValueError(
            f"{key} is {stated}, but the method {name!r} ({method_key}) with its settings needs {needed} views of each "
            f"image. Leave {key} out, so that it follows the method, or set it to {needed} or more"
        )
    return needed if stated is None else stated


def build_regularizer(student: nn.Module, values: Mapping[str, Any] | None = None) -> Regularizer:
    """The method named by ``values["method"]`` (``"none"`` by default) for a backbone.

    Args:
        student: The backbone inside the task model.
        values: ``method``, ``preset`` and any fields of the method's settings.

    Raises:
        ValueError: the method, a setting or a stage is unknown, or a value is out of range.
    """
    method, settings = read_method(values)
    built = method(student, settings)
    built.on_nonfinite = (values or {}).get(setting.NAME)
    if len(built.taps) != built.views_needed:
        raise ValueError(
            f"{method.__name__} taps {len(built.taps)} views, but views_needed of {type(settings).__name__} is "
            f"{built.views_needed}, which is how many are drawn. Override it there"
        )
    return built


__all__ = ["METHODS", "Regularizer", "Terms", "build_regularizer", "is_term", "read_method", "settle_views"]

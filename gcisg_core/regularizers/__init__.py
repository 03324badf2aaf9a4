"""Methods that regularise training on synthetic images, one a file.

A new method is one file with a subclass of :class:`~gcisg_core.regularizers.base.Regularizer` and one line here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from gcisg_core.config import parse_settings
from gcisg_core.lookup import choose
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


def build_regularizer(student: nn.Module, values: Mapping[str, Any] | None = None) -> Regularizer:
    """The method named by ``values["method"]`` (``"none"`` by default) for a backbone.

    Args:
        student: The backbone inside the task model.
        values: ``method``, ``preset`` and any fields of the method's settings.

    Raises:
        ValueError: the method, a setting or a stage is unknown, or a value is out of range.
    """
    given = dict(values or {})
    method = choose(METHODS, given.pop("method", "none"), "method")
    return method(student, parse_settings(method.settings_class, given))


__all__ = ["METHODS", "Regularizer", "Terms", "build_regularizer"]

"""mmengine: the backbone that a config's method regularises."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from gcisg_core.config import require
from gcisg_core.stages import BACKBONES, find_backbone


def student_of(config: Config) -> tuple[nn.Module, dict[str, Any]]:
    """Build a config's backbone, with its plugins and without weights; also return the method's values.

    Raises:
        ValueError: the model has no backbone.
    """
    init_default_scope(config.get("default_scope", "mmengine"))
    model = config.model.copy()
    values = model.pop("regularizer", None) or {}
    student = find_backbone(MODELS.build(model))
    require(student is not None, "model", config.model.type, f"a model with one of {', '.join(BACKBONES)}")
    assert student is not None
    return student, dict(values)

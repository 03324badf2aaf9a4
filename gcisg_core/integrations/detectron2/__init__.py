"""Shared by all projects on Detectron2: the method's settings in a config, its hook, checkpoints."""

from gcisg_core.integrations.detectron2 import compat as compat  # first: Detectron2 0.5 needs it

# isort: split
from gcisg_core.integrations import safetensors as _safetensors  # noqa: F401 - registers its reader
from gcisg_core.integrations import timm as _timm  # noqa: F401 - registers its guides
from gcisg_core.integrations.detectron2.config import (
    add_regularizer_config,
    allow_overrides,
    lower_keys,
    regularizer_values,
)
from gcisg_core.integrations.detectron2.hook import RegularizerHook

__all__ = ["RegularizerHook", "add_regularizer_config", "allow_overrides", "lower_keys", "regularizer_values"]

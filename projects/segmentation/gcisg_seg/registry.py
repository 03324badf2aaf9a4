"""Importing this registers everything of the project with MMSegmentation: name it in a config's `custom_imports`."""

from gcisg_core.integrations import mmengine as hooks_and_samplers
from gcisg_seg import datasets, evaluation, heads, preprocessor, segmentors
from gcisg_suite.selection import mmengine_hook

__all__ = ["datasets", "evaluation", "heads", "hooks_and_samplers", "mmengine_hook", "preprocessor", "segmentors"]

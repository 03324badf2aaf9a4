"""GCISG inside Detectron2: Sim10k to Cityscapes. Importing it registers what configs name."""

from gcisg_core.integrations.detectron2 import compat as compat  # first: Detectron2 0.5 does not import without it

# isort: split
from . import meta_arch as meta_arch
from . import mini_backbone as mini_backbone
from .datasets import register_datasets

register_datasets()

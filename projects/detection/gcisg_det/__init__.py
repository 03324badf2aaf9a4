"""GCISG inside Detectron2: Sim10k to Cityscapes. Importing it registers what configs name."""

from . import compat as compat  # first: Detectron2 0.5 does not import without it
from . import meta_arch as meta_arch
from . import mini_backbone as mini_backbone
from .datasets import register_datasets

register_datasets()

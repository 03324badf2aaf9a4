"""GCISG inside Detectron2: Sim10k to Cityscapes. Importing it registers the data sets and the meta-architecture."""

from . import compat as compat  # first: Detectron2 0.5 does not import without it
from . import meta_arch as meta_arch
from .datasets import register_datasets

register_datasets()

"""GCISG inside Detectron2: Sim10k to Cityscapes. Importing it registers the data sets."""

from . import compat as compat  # first: Detectron2 0.5 does not import without it
from .datasets import register_datasets

register_datasets()

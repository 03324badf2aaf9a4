"""Lets Detectron2 0.5, and upstream without its compiled extension, run on current torch, numpy and Pillow.

Every repair is made only where the attribute is missing, so with a complete Detectron2 nothing changes.
"""

from __future__ import annotations

import importlib.util
import sys
import types
import warnings
from collections.abc import Mapping

import numpy as np
from PIL import Image

# Names that numpy 1.24 removed, as Detectron2 0.5 uses them.
NUMPY_ALIASES = {"int": int, "float": float, "bool": bool, "object": object, "str": str}


class MissingExtension(types.ModuleType):
    """Stands for `detectron2._C`: imports succeed, use of a compiled operator says what is missing."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):  # introspection, not an operator
            raise AttributeError(name)
        raise ImportError(
            f"Detectron2's compiled operator `{name}` is not installed; box detection does not need it. "
            "Build Detectron2 from source by its own install guide to use it."
        )


def fill_missing(target: object, values: Mapping[str, object]) -> list[str]:
    """Sets the attributes that `target` lacks, leaves the others, and returns the names that were set."""
    filled = []
    for name, value in values.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy warns when one of its removed names is asked for
            missing = not hasattr(target, name)
        if missing:
            setattr(target, name, value)
            filled.append(name)
    return filled


def apply() -> list[str]:
    """Repairs what is missing. Safe to call again.

    Returns:
        The names of what was repaired by this call; empty where nothing was missing.
    """
    repaired = [f"numpy.{name}" for name in fill_missing(np, NUMPY_ALIASES)]
    repaired += [f"PIL.Image.{name}" for name in fill_missing(Image, {"LINEAR": Image.Resampling.BILINEAR})]
    if "detectron2._C" not in sys.modules and importlib.util.find_spec("detectron2._C") is None:
        sys.modules["detectron2._C"] = MissingExtension("detectron2._C")
        repaired.append("detectron2._C")
    return repaired


apply()

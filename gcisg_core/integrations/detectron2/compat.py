"""Lets Detectron2 0.5, and upstream without its compiled extension, run with current torch, numpy and Pillow.

Only missing attributes are added, so a complete Detectron2 is not changed.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
import warnings
from collections.abc import Mapping

import numpy as np
import torch.distributed as dist
from PIL import Image

from gcisg_core.problems import MissingPackageError

# Names removed in numpy 1.24 that Detectron2 0.5 uses.
NUMPY_ALIASES = {"int": int, "float": float, "bool": bool, "object": object, "str": str}
# A faster copy of pycocotools; this project uses the official code.
EVALUATION = "detectron2.evaluation.fast_eval_api"


class MissingExtension(types.ModuleType):
    """Stands for `detectron2._C`: importing it succeeds, using it raises an error about what is missing."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):  # introspection, not an operator
            raise AttributeError(name)
        raise MissingPackageError(
            f"Detectron2's compiled function `{name}` is not installed; the project's evaluator does not need it. "
            "Build Detectron2 from source by its own install guide to use it."
        )


def fill_missing(target: object, values: Mapping[str, object]) -> list[str]:
    """Set the attributes that `target` lacks; return their names."""
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
    """Add what is missing. It can be called repeatedly.

    Returns:
        The names that this call added; empty if nothing was missing.
    """
    # Detectron2 and fvcore call it on import, so new versions of torch would print a warning in every command.
    warnings.filterwarnings("ignore", ".*torch.jit.script. is deprecated", FutureWarning)
    repaired = [f"numpy.{name}" for name in fill_missing(np, NUMPY_ALIASES)]
    repaired += [f"PIL.Image.{name}" for name in fill_missing(Image, {"LINEAR": Image.Resampling.BILINEAR})]
    if EVALUATION not in sys.modules and importlib.util.find_spec("detectron2._C") is None:
        # Present only while the modules that require it (this one upstream, four in 0.5) are imported: other parts of
        # Detectron2 handle its absence themselves.
        sys.modules["detectron2._C"] = MissingExtension("detectron2._C")
        try:
            importlib.import_module(EVALUATION)
        finally:
            del sys.modules["detectron2._C"]
        repaired.append(EVALUATION)
    return repaired


def make_local_group(per_machine: int) -> None:
    """Register the processes on this machine, as the framework's `launch` does; 0.5 has no function for it."""
    from detectron2.utils import comm

    if hasattr(comm, "create_local_process_group"):
        comm.create_local_process_group(per_machine)
        return
    for machine in range(dist.get_world_size() // per_machine):
        group = dist.new_group([*range(machine * per_machine, (machine + 1) * per_machine)])
        if machine == dist.get_rank() // per_machine:
            comm._LOCAL_PROCESS_GROUP = group


apply()

"""Checkpoints that appear whole or not at all, and that cannot run code when they are read."""

from __future__ import annotations

import _codecs
import collections
import os
import pickle
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode

from gcisg_core.problems import DataError

from .weights import check_pixel_statistics

PARTIAL = ".partial"


def _latin1_only(text: str, encoding: str) -> bytes:
    """What pickles of bytes need of `_codecs.encode`; other codecs, such as those that inflate, are refused."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"codec {encoding!r}")
    return _codecs.encode(text, "latin1")


def _allowed_globals() -> dict[tuple[str, str], Any]:
    reconstruct, scalar = np.zeros(1).__reduce__()[0], np.float64(0).__reduce__()[0]
    allowed: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("_codecs", "encode"): _latin1_only,
    }
    for package in ("numpy.core", "numpy._core"):
        allowed[f"{package}.multiarray", "_reconstruct"] = reconstruct
        allowed[f"{package}.multiarray", "scalar"] = scalar
        allowed[f"{package}.numeric", "_frombuffer"] = np.zeros(1).__reduce_ex__(5)[0]
    return allowed


class ArrayUnpickler(pickle.Unpickler):
    """Reads arrays and plain containers only; anything else that a pickle names raises `UnpicklingError`."""

    allowed = _allowed_globals()

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.allowed[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None


def check_pickle(file: str | Path) -> None:
    """Reads a `.pkl` file without running code from it.

    Raises:
        DataError: The file is damaged, or holds more than arrays and plain containers.
    """
    try:
        with Path(file).open("rb") as stream:
            ArrayUnpickler(stream, encoding="latin1").load()
    except Exception as error:  # a damaged pickle can raise nearly anything
        what = f"is refused: {error or type(error).__name__}; expected a pickle of arrays and plain containers"
        remedy = (
            "Get the file again from its author; to use weights that need more, load them where you trust them and "
            "save {'model': {name: array}, 'matching_heuristics': True} with pickle"
        )
        raise DataError(file, what, remedy) from error


class SafeCheckpointer(DetectionCheckpointer):
    """The framework's checkpointer with atomic writing, safe reading, and a check of the pixel statistics.

    Args:
        model: The model, possibly wrapped for several processes.
        save_dir: Folder of the checkpoints.
        cfg: When given, the weights are compared with its pixel statistics, see :mod:`gcisg_det.weights`.
        strict: Refuse a checkpoint that is not one of this task model. Resuming always does.
        **checkpointables: Further objects to save.
    """

    def __init__(
        self,
        model: Any,
        save_dir: str = "",
        *,
        cfg: CfgNode | None = None,
        strict: bool = False,
        **checkpointables: Any,
    ) -> None:
        super().__init__(model, save_dir, **checkpointables)
        self.cfg, self.strict = cfg, strict
        self.resuming, self.file = False, ""

    def save(self, name: str, **kwargs: Any) -> None:
        """Writes under a temporary name; :meth:`tag_last_checkpoint`, which the framework calls next, renames."""
        super().save(name + PARTIAL, **kwargs)

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Gives a complete checkpoint its name, then lets `last_checkpoint` point to it, each in one step."""
        folder = Path(self.save_dir)
        final = last_filename_basename.replace(PARTIAL, "")
        with (folder / last_filename_basename).open("rb") as stream:
            os.fsync(stream.fileno())
        (folder / last_filename_basename).replace(folder / final)
        pointer = folder / f"last_checkpoint{PARTIAL}"
        pointer.write_text(final)
        pointer.replace(folder / "last_checkpoint")

    def resume_or_load(self, path: str, *, resume: bool = True) -> dict[str, Any]:
        """Goes on from the last checkpoint, if there is one, or takes the weights at `path`."""
        self.resuming = resume and self.has_checkpoint()
        return super().resume_or_load(path, resume=resume)

    def load(self, path: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Loads as the framework does.

        Raises:
            DataError: The file cannot be had, is damaged, would run code, or fits nothing in the model.
        """
        try:
            return super().load(path, *args, **kwargs)
        except (OSError, AssertionError) as error:
            remedy = "Bring the file to this machine and name it in MODEL.WEIGHTS; MODEL.WEIGHTS '' starts from scratch"
            raise DataError(path, f"the weights cannot be had ({error})", remedy) from error

    def _load_file(self, filename: str) -> dict[str, Any]:
        self.file = filename
        if filename.endswith(".pkl"):
            check_pickle(filename)
            loaded = super()._load_file(filename)
        else:
            try:
                # torch before 2.6 would run code by default.
                with mock.patch.dict(os.environ, TORCH_FORCE_WEIGHTS_ONLY_LOAD="1"):
                    loaded = super()._load_file(filename)
            except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
                what = f"is damaged or holds more than weights ({str(error).splitlines()[0]})"
                raise DataError(filename, what, "Get the file again from its author, or choose another") from error
        if self.cfg is not None:
            check_pixel_statistics(self.cfg, filename, loaded.get("__author__", ""))
        return loaded

    def _load_model(self, checkpoint: dict[str, Any]) -> Any:
        weights = checkpoint["model"]
        given = len(weights)
        # Only a run that goes on has use for what a method keeps. Other weights are for the task: names such as
        # MSRA's, which the framework matches by their ends, must not meet the copies of the backbone.
        hidden = None if self.resuming else self.model._modules.pop("regularizer", None)
        try:
            if not self.resuming:
                checkpoint["model"] = {k: v for k, v in weights.items() if not k.startswith("regularizer.")}
            incompatible = super()._load_model(checkpoint)
            known = {name for name, _ in self.model.named_parameters()}
        finally:
            if hidden is not None:
                self.model._modules["regularizer"] = hidden
        if given and known <= set(incompatible.missing_keys):
            what = f"none of its {given} entries fits a parameter of {type(self.model).__name__}"
            raise DataError("MODEL.WEIGHTS", what, "Convert them first; see gcisg_det.weights for torchvision's")
        if self.strict or self.resuming:
            wrong = [
                *(f"{name} has the shape {a}, expected {b}" for name, a, b in incompatible.incorrect_shapes),
                *(f"{name} is missing" for name in incompatible.missing_keys),
                *(f"{name} is not in the model" for name in incompatible.unexpected_keys),
            ]
            if wrong:
                what = f"it is not of this config's model: {'; '.join(wrong[:3])} ({len(wrong)} differences)"
                raise DataError(self.file, what, "Give the config that it was trained with, or another checkpoint")
        return incompatible

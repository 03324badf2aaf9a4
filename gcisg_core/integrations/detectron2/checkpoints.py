"""Checkpoints that are written atomically and read without running code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode

from gcisg_core.export import METHOD_PREFIX
from gcisg_core.files import named_errors, write_text
from gcisg_core.initial_weights import MIN_MATCH_RATIO, load_initial_weights
from gcisg_core.integrations.detectron2.weights import check_pixel_statistics
from gcisg_core.problems import DataError
from gcisg_core.run_folder import FINAL, POINTER, check_run, run_name
from gcisg_core.safe_load import read_checkpoint, unwrap_state_dict

PARTIAL = ".partial"


class SafeCheckpointer(DetectionCheckpointer):
    """The framework's checkpointer with atomic writing, safe reading, and a check of the pixel statistics.

    Initial weights of a backbone alone go through :func:`gcisg_core.initial_weights.load_initial_weights`; those of a
    whole detector are loaded by the framework.

    Args:
        model: The model, possibly wrapped for several processes.
        save_dir: Folder of the checkpoints.
        cfg: When given, the weights are compared with its pixel statistics
            (:mod:`gcisg_core.integrations.detectron2.weights`), and its `MODEL.MIN_MATCH_RATIO` holds.
        strict: Refuse a checkpoint of another task model. Resuming always does.
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
        """Write, with the run's name, to a temporary file; :meth:`tag_last_checkpoint`, called next, renames it."""
        folder = Path(self.save_dir)
        try:
            with named_errors(folder / f"{name}.pth"):
                super().save(name + PARTIAL, **{"run": run_name(folder), **kwargs})
        finally:
            if self.save_dir and self.save_to_disk:
                (folder / f"{name}{PARTIAL}.pth").unlink(missing_ok=True)

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Rename a complete checkpoint, then let `last_checkpoint` point to it, each atomically."""
        folder = Path(self.save_dir)
        final = last_filename_basename.replace(PARTIAL, "")
        with (folder / last_filename_basename).open("rb") as stream:
            os.fsync(stream.fileno())
        (folder / last_filename_basename).replace(folder / final)
        write_text(folder / POINTER, final)

    def resume_or_load(self, path: str, *, resume: bool = True) -> dict[str, Any]:
        """Resume from the last checkpoint, if there is one, or load the weights at `path`."""
        self.resuming = resume and self.has_checkpoint()
        return super().resume_or_load(path, resume=resume)

    def load(self, path: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Load as the framework does.

        Raises:
            DataError: The file could not be loaded, is damaged, would run code, or fits nothing in the model.
        """
        try:
            return super().load(path, *args, **kwargs)
        except (OSError, AssertionError) as error:
            remedy = "Bring the file to this machine and name it in MODEL.WEIGHTS; MODEL.WEIGHTS '' starts from scratch"
            raise DataError(path, f"the weights could not be loaded ({error})", remedy) from error

    def _load_file(self, filename: str) -> dict[str, Any]:
        self.file = filename
        content = read_checkpoint(filename)
        held = content if isinstance(content, dict) else {}
        if self.resuming:
            check_run(Path(self.save_dir), Path(filename), held.get("run"))
        if isinstance(held.get("model"), dict):
            loaded = held
        else:
            state = unwrap_state_dict(content, filename)
            loaded = {"model": {name: value for name, value in state.items() if not name.endswith("_momentum")}}
        if filename.endswith(".pkl") and not {"model", "__author__"} <= held.keys():
            # In the framework's form for Caffe2 and Detectron 1.
            loaded.update(__author__="Caffe2", matching_heuristics=True)
        if self.cfg is not None:
            check_pixel_statistics(self.cfg, filename, loaded.get("__author__", ""), loaded["model"])
        return loaded

    def _load_model(self, checkpoint: dict[str, Any]) -> Any:
        weights = checkpoint["model"]
        backbone = getattr(self.model, "backbone", None)
        student = getattr(backbone, "bottom_up", backbone)
        if student is not None and not (self.strict or self.resuming or self._is_detector(weights)):
            load_initial_weights(student, weights, self.file, self._min_match_ratio())
            return None
        given = len(weights)
        # Only a resumed run needs the method's tensors. Other weights are for the task: names such as MSRA's,
        # which the framework matches by suffix, must not match the method's copies of the backbone.
        hidden = None if self.resuming else self.model._modules.pop("regularizer", None)
        try:
            if not self.resuming:
                checkpoint["model"] = {k: v for k, v in weights.items() if not k.startswith(METHOD_PREFIX)}
            incompatible = super()._load_model(checkpoint)
            known = {name for name, _ in self.model.named_parameters()}
        finally:
            if hidden is not None:
                self.model._modules["regularizer"] = hidden
        if given and known <= set(incompatible.missing_keys):
            what = f"none of its {given} entries fits a parameter of {type(self.model).__name__}"
            raise DataError("MODEL.WEIGHTS", what, "Give weights of this detector or of its backbone")
        if self.strict or self.resuming:
            wrong = [
                *(f"{name} has the shape {a}, expected {b}" for name, a, b in incompatible.incorrect_shapes),
                *(f"{name} is missing" for name in incompatible.missing_keys),
                *(f"{name} is not in the model" for name in incompatible.unexpected_keys),
            ]
            if wrong:
                what = f"it does not fit this config's model: {'; '.join(wrong[:3])} ({len(wrong)} differences)"
                raise DataError(self.file, what, "Give the config that it was trained with, or another checkpoint")
        elif student is not None:
            self._check_backbone(student, incompatible)
        return incompatible

    def _check_backbone(self, student: Any, incompatible: Any) -> None:
        """Check the share of a whole detector's file that matches, as for a backbone's file."""
        prefix = next(name for name, module in self.model.named_modules() if module is student)
        absent = {*incompatible.missing_keys, *(name for name, *_ in incompatible.incorrect_shapes)}
        names = [f"{prefix}.{name}" for name in student.state_dict() if not name.endswith("num_batches_tracked")]
        lacking = [name for name in names if name in absent]
        found = len(names) - len(lacking)
        if found < self._min_match_ratio() * len(names):
            what = f"has {found} of {len(names)} tensors of {prefix}, not {', '.join(lacking[:3])}, ..."
            remedy = f"Give weights of this detector, or set MODEL.MIN_MATCH_RATIO; it is {self._min_match_ratio()}"
            raise DataError(self.file, what, remedy)

    def _min_match_ratio(self) -> float:
        return MIN_MATCH_RATIO if self.cfg is None else self.cfg.MODEL.MIN_MATCH_RATIO

    def _is_detector(self, weights: dict[str, Any]) -> bool:
        """Whether the names are those of a whole model of this framework or a detector of Caffe2."""
        return not self.model.state_dict().keys().isdisjoint(weights) or any("rpn" in name for name in weights)


def save_missing_final(checkpointer: SafeCheckpointer, iteration: int) -> None:
    """Save the final checkpoint of a run that was stopped after its last step but before it was saved."""
    saved = Path(checkpointer.get_checkpoint_file()).name if checkpointer.has_checkpoint() else ""
    if saved != f"{FINAL}.pth" and checkpointer.save_to_disk:
        checkpointer.save(FINAL, iteration=iteration)

"""Choosing a checkpoint during training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gcisg_suite.analysis.task import Options

from .criteria import report
from .run_checkpoints import evaluate_run, make_tasks, settings_of
from .settings import TARGET


class Selector:
    """Evaluates the checkpoints of a run as they are written; holds the pretrained network and the lists of images.

    Args:
        run: The run's folder.
        config: Its config, of mmengine or Detectron2; it is not changed.
        device: Where each checkpoint is loaded, beside the model that is trained.

    Raises:
        ValueError: the selection's settings or images cannot be used.
    """

    def __init__(self, run: Path, config: Any, device: str) -> None:
        self.run, self.settings = run, settings_of(config)
        options = Options(data=self.settings.data or None, device=device)
        self.target, self.source = make_tasks(config, options, self.settings.source or None)

    def evaluate(self) -> list[dict[str, Any]]:
        """Evaluate new checkpoints; returns the lines of the existing ones."""
        return evaluate_run(self.run, self.target, self.source, self.settings.by == TARGET)

    def report(self) -> str:
        """The ranking and the choice, or why there is none; an error here must not lose the trained model."""
        try:
            return report(self.evaluate(), self.settings.by)
        except ValueError as error:
            return str(error)

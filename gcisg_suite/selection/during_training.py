"""The choice of a checkpoint while a run goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gcisg_suite.analysis.task import Options

from .criteria import report
from .run_checkpoints import evaluate_run, make_tasks, settings_of
from .settings import TARGET


class Selector:
    """Evaluates the checkpoints of a run as they come; holds the pretrained network and the lists of images.

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
        """Evaluate what is new; the lines of the checkpoints that are there."""
        return evaluate_run(self.run, self.target, self.source, self.settings.by == TARGET)

    def report(self) -> str:
        """The ranking and the choice, or why there is none: a trained model is not lost for that."""
        try:
            return report(self.evaluate(), self.settings.by)
        except ValueError as error:
            return str(error)

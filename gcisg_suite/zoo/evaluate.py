"""The metrics of a checkpoint under a config of mmengine."""

from __future__ import annotations

import re
from pathlib import Path

from gcisg_core.integrations.mmengine import build_runner, load_for_evaluation, unwrap


def evaluate(config: str, checkpoint: str, with_metrics: bool, work_dir: str) -> dict[str, float]:
    """Load a checkpoint strictly and, if asked, evaluate it; see :class:`gcisg_suite.tasks.Framework`."""
    # By default a name of config and second, which two tasks can share, and with it the registries' scope.
    name = re.sub(r"\W", "_", Path(checkpoint).stem)  # a comma would make a list of it
    settings = ["log_level=WARNING", f"experiment_name=zoo_{name}"]
    runner = build_runner(config, settings, work_dir)
    load_for_evaluation(unwrap(runner.model), checkpoint)
    metrics: dict[str, float] = runner.test() if with_metrics else {}
    return metrics

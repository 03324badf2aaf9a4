"""Evaluates a checkpoint under an mmengine config."""

from __future__ import annotations

import re
from pathlib import Path

from gcisg_core.integrations.mmengine import build_runner, load_for_evaluation, unwrap


def evaluate(config: str, checkpoint: str, with_metrics: bool, work_dir: str) -> dict[str, float]:
    """Load a checkpoint strictly and, if asked, evaluate it; see :class:`gcisg_suite.tasks.Framework`."""
    # The default name, of config and second, may be the same for two tasks, which would then share a registry scope.
    name = re.sub(r"\W", "_", Path(checkpoint).stem)  # a comma would turn the value into a list
    settings = ["log_level=WARNING", f"experiment_name=zoo_{name}"]
    runner = build_runner(config, settings, work_dir)
    load_for_evaluation(unwrap(runner.model), checkpoint)
    metrics: dict[str, float] = runner.test() if with_metrics else {}
    return metrics

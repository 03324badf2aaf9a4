"""`gcisg select`."""

from __future__ import annotations

from pathlib import Path

from gcisg_suite.commands.arguments import Device, Flag, Overrides, UsageError, check_exists, check_file, chosen_device
from gcisg_suite.selection.settings import CHOICES, TARGET


def select(
    run: Path,
    /,
    *overrides: Overrides,
    by: str | None = None,
    source: str | None = None,
    data: str | None = None,
    target_labels: Flag = False,
    reference: str | None = None,
    config: Path | None = None,
    trust: Flag = False,
    device: Device = None,
) -> None:
    """Choose a checkpoint of a run without labels of real (target) images, by ranking all that the run still has.

    For example:

        gcisg select runs/gcisg_mini --source data/mini/classification/source_1
        gcisg select runs/gcisg_mini --target-labels

    The criteria (docs/selection.md) are the task's metric on source validation images; match rate, CKA to the
    pretrained network and energy on target images; and the mean of these ranks, which is the default. Target labels are
    used only with --target-labels, which prints how much each choice loses, and with --by target, which chooses by
    them for comparison with published numbers. Evaluations are kept in the run's selection.jsonl; selection.html shows
    the ranking and its curves.

    Args:
        run: Folder of a run, with its checkpoints.
        by: The criterion that chooses: source, match_rate, cka, energy, mean_rank or target (default: the config's
            selection.by, which is mean_rank).
        source: Synthetic (source) images with labels that were not used in training, in the layout of the training
            data.
        data: Target images, labelled or not (default: the config's validation images).
        target_labels: Also print how much each choice loses on the target, compared with the best checkpoint.
        reference: Weights of the pretrained network (default: the config's own).
        config: The run's config (default: the one in its folder, which is read and never run).
        trust: Also import modules that the config in the folder lists and that belong neither to the suite nor to its
            frameworks.
    """
    if by not in (None, *CHOICES):
        raise UsageError(f"--by {by}: expected one of {', '.join(CHOICES)}")
    check_exists("RUN", run)
    check_file("--config", config)
    check_exists("--source", source)
    check_exists("--data", data)

    from gcisg_suite.progress import brief

    with brief("loading config and data"):
        from gcisg_suite.analysis.task import Options
        from gcisg_suite.selection.criteria import report
        from gcisg_suite.selection.page import write_page
        from gcisg_suite.selection.run_checkpoints import config_of, evaluate_run, make_tasks, settings_of
        from gcisg_suite.tasks import read_config, read_run_config

        loaded = read_config(config, overrides) if config else read_run_config(config_of(run), overrides, trust)
        settings = settings_of(loaded)
        chooses = by or settings.by
        options = Options(reference=reference, data=data or settings.data or None, device=chosen_device(device))
        target, source_task = make_tasks(loaded, options, source or settings.source or None)
    lines = evaluate_run(run, target, source_task, target_labels or chooses == TARGET)
    print(report(lines, chooses))
    print(f"\nPage: {write_page(run, lines, chooses)}")

#!/usr/bin/env python
"""Rank the checkpoints of a run without target labels; `python tools/select.py` and `gcisg-select` are this program.

    python tools/select.py runs/gcisg_mini --source data/mini/classification/source_1
    python tools/select.py runs/gcisg_mini --target-labels

Criteria (docs/selection.md): the task's measure on source validation images, match rate, CKA to the pretrained
network and energy on target images, and the mean of these ranks, which chooses by default. Target labels are not used,
unless `--target-labels` asks what the choices cost, or `--by target` for a comparison with published numbers. What was
measured is kept in the run's `selection.jsonl`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from gcisg_analysis.frameworks import read_config
from gcisg_analysis.run_checkpoints import config_of, make_tasks, measure_run, settings_of
from gcisg_analysis.selection import CHOICES, TARGET, report
from gcisg_analysis.task import Options


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of a run, with its checkpoints")
    parser.add_argument("--by", choices=CHOICES, help="what chooses (the config's selection.by: mean_rank)")
    parser.add_argument(
        "--source", metavar="PATH", help="source images that were not trained on, in the source's layout"
    )
    parser.add_argument(
        "--data", metavar="PATH", help="target images, labelled or not (the config's validation images)"
    )
    parser.add_argument("--target-labels", action="store_true", help="also say what the choices cost on the target")
    parser.add_argument("--reference", metavar="FILE", help="the pretrained network's weights (the config's own)")
    parser.add_argument("--config", type=Path, metavar="FILE", help="the run's config (the one in its folder)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("overrides", nargs="*", help="key=value (mmengine) or KEY VALUE (Detectron2) config overrides")
    args = parser.parse_intermixed_args(argv)
    for path in (args.run, args.config, args.source, args.data):
        if path and not Path(path).exists():
            parser.error(f"{path}: no such file or folder")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    try:
        config = read_config(args.config or config_of(args.run), args.overrides)
        settings = settings_of(config)
        by = args.by or settings.by
        options = Options(reference=args.reference, data=args.data or settings.data or None, device=args.device)
        target, source = make_tasks(config, options, args.source or settings.source or None)
        print(report(measure_run(args.run, target, source, args.target_labels or by == TARGET), by))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

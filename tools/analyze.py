#!/usr/bin/env python
"""Analyse trained models: what style does to them, what they kept of the pretrained network, where they look.

    python tools/analyze.py --config projects/classification/gcisg_mini.py --out runs/analysis \\
        --checkpoint baseline=runs/baseline/iter_300.pth gcisg=runs/gcisg/iter_300.pth

Writes `analysis.html`, which needs nothing else to be read, and `analysis.json` (docs/analysis.md). The checkpoints may
be this suite's or a plain framework's: a torchvision ResNet's state dict with its own `fc` under a classification
config, one of MMSegmentation or Detectron2 under its own plain config.

    python tools/analyze.py --replay work_dirs/run/nonfinite_iter12_rank0.pth
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from replay import report
from train_net import find_config

from gcisg_analysis.analyze import Checkpoint, analyze
from gcisg_analysis.frameworks import make_task, read_config
from gcisg_analysis.task import Options
from gcisg_core.metrics import ENERGY_FORMS


def parse_checkpoint(given: str) -> Checkpoint:
    """`NAME=FILE` or `FILE`, which is then called by its folder and its own name."""
    name, equals, path = given.partition("=")
    if not equals or Path(given).exists():
        name, path = "/".join(Path(given).with_suffix("").parts[-2:]), given
    if not Path(path).is_file():
        raise argparse.ArgumentTypeError(f"{path}: no such file")
    return Checkpoint(name, path)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", metavar="FILE", help="a .py (mmengine) or .yaml (Detectron2) config")
    parser.add_argument(
        "--checkpoint",
        nargs="+",
        type=parse_checkpoint,
        metavar="[NAME=]FILE",
        help="the models; the others are compared with the first. Several files of one name are seeds of one method",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the page goes")
    parser.add_argument("--reference", metavar="FILE", help="the pretrained network's weights (the config's own)")
    parser.add_argument(
        "--data",
        metavar="PATH",
        help="what to evaluate on in place of the config's test data. Classification: a folder with a folder a class, "
        "as VisDA-17's parts. Segmentation: the data set's root, in the layout of the config's data set. Detection: "
        "the folder that holds cityscapes/, or a COCO .json file that lies above its images",
    )
    parser.add_argument("--imagenet", metavar="DIR", help="folder a class of the pretraining's validation images")
    parser.add_argument("--imagenet-size", type=int, default=224, help="edge of those images in the dense tasks (224)")
    parser.add_argument("--energy", choices=ENERGY_FORMS, default="published", help="form of the energy")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--replay", type=Path, metavar="FILE", help="only run this nonfinite_*.pth step again (docs/nan_recorder.md)"
    )
    parser.add_argument("overrides", nargs="*", help="key=value (mmengine) or KEY VALUE (Detectron2) config overrides")
    args = parser.parse_intermixed_args(argv)
    if args.replay:
        return args
    for option in ("config", "checkpoint", "out"):
        if getattr(args, option) is None:
            parser.error(f"--{option} is needed, or --replay FILE alone")
    args.config = find_config(args.config)
    for path in (args.config, args.data, args.imagenet):
        if path and not Path(path).exists():
            parser.error(f"{path}: no such file or folder")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    if args.replay:
        try:
            print(report(args.replay))
        except (ValueError, RuntimeError) as error:
            sys.exit(f"error: {error}")
        return
    options = Options(args.reference, args.data, args.imagenet, args.imagenet_size, args.energy, args.device)
    try:
        task = make_task(read_config(args.config, args.overrides), options)
        print(analyze(task, args.config, args.checkpoint, args.out))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

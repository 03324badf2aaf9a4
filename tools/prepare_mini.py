#!/usr/bin/env python
"""Make the miniature benchmark: images, scenes, and the reference network that plays the role of ImageNet's.

What is there already is kept. Results go to $GCISG_DATA/mini (data/mini by default).
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Collection

from gcisg_cls.mini import mini_root, prepare_mini, prepare_reference
from gcisg_miniature import scenes

# Detection is prepared where Detectron2 is installed.
TASKS = ("classification", "segmentation", *(["detection"] if importlib.util.find_spec("detectron2") else []))


def prepare(tasks: Collection[str] = TASKS) -> None:
    """Make what these tasks need and what is missing."""
    if {"segmentation", "detection"} & {*tasks}:
        print(f"Scenes: {scenes.prepare(mini_root() / 'scenes')}")
    if {"classification", "segmentation"} & {*tasks}:
        print(f"Images and reference network: {prepare_mini()}")
    if "detection" in tasks:
        from gcisg_det.mini import prepare_mini as prepare_detection

        print(f"Detection's reference network: {prepare_detection()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS, help="what to prepare (all)")
    parser.add_argument("--references", type=int, default=0, metavar="N", help="classification: N further references")
    args = parser.parse_args()
    prepare(args.tasks)
    for seed in range(1, args.references + 1):
        print(f"Another reference network: {prepare_reference(seed)}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python
"""Make the miniature benchmark: its images, and the reference network that plays the role of ImageNet's.

What is there already is kept. Results go to $GCISG_DATA/mini (data/mini by default).
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import torch

from gcisg_core.integrations.mmengine import AtomicLocalBackend, run
from gcisg_mini import classification

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "projects/classification/reference_mini.py"


def pretrain(goal: Path, work_dir: Path) -> None:
    """Train the reference network and save it in torchvision's form, its classifier as ``fc``."""
    namespace = argparse.Namespace(
        config=str(CONFIG), overrides=[], work_dir=str(work_dir), seed=None, amp=False, resume=True, eval_only=False
    )
    model = run(namespace)
    print(model)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

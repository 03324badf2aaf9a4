#!/usr/bin/env python
"""Make the miniature benchmark: images, scenes, and the reference network that plays the role of ImageNet's.

What is there already is kept. Results go to $GCISG_DATA/mini (data/mini by default).
"""

from __future__ import annotations

import argparse
import importlib.util

from gcisg_cls.mini import mini_root, prepare_mini
from gcisg_miniature import scenes


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    scenes.prepare(mini_root() / "scenes")
    print(f"The miniature benchmark is ready; its reference network is {prepare_mini()}")
    if importlib.util.find_spec("detectron2"):
        from gcisg_det.mini import prepare_mini as prepare_detection

        print(f"Detection is ready; its backbone's weights are {prepare_detection()}")


if __name__ == "__main__":
    main()

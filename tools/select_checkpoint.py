#!/usr/bin/env python
"""Rank the checkpoints of a run without target labels: `gcisg select`.

python tools/select_checkpoint.py runs/gcisg_mini --target-labels
"""

import sys

from gcisg_suite.cli import main

if __name__ == "__main__":
    main(["select", *sys.argv[1:]])

#!/usr/bin/env python
"""Run a step again that the NaN recorder wrote to a file: `gcisg replay`.

python tools/replay.py work_dirs/run/nonfinite_iter12_rank0.pth
"""

import sys

from gcisg_suite.cli import main

if __name__ == "__main__":
    main(["replay", *sys.argv[1:]])

#!/usr/bin/env python
"""Train and evaluate variants of a config over seeds: `gcisg sweep`.

python tools/sweep.py --sweep projects/classification/sweeps/lambdas.yaml --seeds 0-1 --split dev
"""

import sys

from gcisg_suite.cli import main

if __name__ == "__main__":
    main(["sweep", *sys.argv[1:]])

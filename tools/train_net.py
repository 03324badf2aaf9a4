#!/usr/bin/env python
"""Train or evaluate any config of the projects, or of your own: `gcisg train`.

python tools/train_net.py --config projects/classification/gcisg_mini.py
python tools/train_net.py --config projects/classification/gcisg_mini.py train_cfg.max_iters=100
python tools/train_net.py --config projects/detection/gcisg_mini.yaml SOLVER.MAX_ITER 100
"""

import sys

from gcisg_suite.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])

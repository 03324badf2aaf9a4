#!/usr/bin/env python
"""Analyse trained models: `gcisg analyze`.

    python tools/analyze.py --config projects/classification/gcisg_mini.py --output runs/analysis \\
        --checkpoint baseline=runs/baseline/iter_210.pth gcisg=runs/gcisg/iter_210.pth
"""

import sys

from gcisg_suite.cli import main

if __name__ == "__main__":
    main(["analyze", *sys.argv[1:]])

#!/usr/bin/env python
"""Predict on images, folders and videos: `gcisg predict`.

python tools/predict.py --config FILE --checkpoint FILE photos/ --output predictions
"""

import sys

from gcisg_suite.cli import main

if __name__ == "__main__":
    main(["predict", *sys.argv[1:]])

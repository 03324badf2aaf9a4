#!/usr/bin/env python
"""Export a trained model to the plain framework: `gcisg export`.

python tools/export.py --config FILE --checkpoint FILE --output release
"""

import sys

from gcisg_suite.cli import main

if __name__ == "__main__":
    main(["export", *sys.argv[1:]])

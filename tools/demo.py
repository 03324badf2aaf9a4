#!/usr/bin/env python
"""Train baseline and GCISG on the miniature benchmark: `gcisg demo`.

python tools/demo.py
"""

import sys

from gcisg_suite.cli import main

if __name__ == "__main__":
    main(["demo", *sys.argv[1:]])

#!/usr/bin/env python
"""Make the miniature benchmark: `gcisg prepare`.

python tools/prepare_mini.py
"""

import sys

from gcisg_suite.cli import main

if __name__ == "__main__":
    main(["prepare", *sys.argv[1:]])

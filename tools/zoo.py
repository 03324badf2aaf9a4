#!/usr/bin/env python
"""List, show, verify and download the models of the zoo: `gcisg zoo`.

python tools/zoo.py list
"""

import sys

from gcisg_suite.cli import main

if __name__ == "__main__":
    main(["zoo", *sys.argv[1:]])

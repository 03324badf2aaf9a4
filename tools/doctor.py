#!/usr/bin/env python
"""Say what is installed, what is missing, and the command that fixes it: `gcisg doctor`.

python tools/doctor.py
"""

import sys

from gcisg_suite.cli import main

if __name__ == "__main__":
    main(["doctor", *sys.argv[1:]])

#!/usr/bin/env python
"""List everything that is wrong with a data set: `gcisg audit`.

python tools/audit_data.py --dataset gtav --root data/gta5
"""

import sys

from gcisg_suite.cli import main

if __name__ == "__main__":
    main(["audit", *sys.argv[1:]])

#!/usr/bin/env python
"""Write one HTML page about runs: `gcisg report`.

python tools/report.py work_dirs/baseline_mini work_dirs/gcisg_mini --output runs/report.html
"""

import sys

from gcisg_suite.cli import main

if __name__ == "__main__":
    main(["report", *sys.argv[1:]])

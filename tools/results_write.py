#!/usr/bin/env python
"""Write `docs/results.md` and its plots from the sweeps' runs and `docs/results.yml`.

python tools/results_write.py
"""

from gcisg_suite.sweep.results import write

if __name__ == "__main__":
    write()

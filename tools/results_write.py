#!/usr/bin/env python
"""Write what the documents say of results, settings and costs: `docs/results.md`, its plots, and the generated parts.

python tools/results_write.py
"""

from gcisg_suite import generated
from gcisg_suite.sweep import results

if __name__ == "__main__":
    results.write()
    generated.write()

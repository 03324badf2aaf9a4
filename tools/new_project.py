#!/usr/bin/env python
"""Write two configs for images of yours: `gcisg new-project`.

python tools/new_project.py --task classification --synthetic my/synthetic --real my/real --output my/project
"""

import sys

from gcisg_suite.cli import main

if __name__ == "__main__":
    main(["new-project", *sys.argv[1:]])

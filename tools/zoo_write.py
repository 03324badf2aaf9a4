#!/usr/bin/env python
"""Write the model zoo's files, or pack a trained checkpoint into it: `gcisg zoo write`.

python tools/zoo_write.py
python tools/zoo_write.py --pack classification/gcisg_mini --checkpoint iter_210.pth --log scalars.json
"""

import sys

from gcisg_suite.cli import main

if __name__ == "__main__":
    main(["zoo", "write", *sys.argv[1:]])

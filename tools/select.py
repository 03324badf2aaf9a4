#!/usr/bin/env python
"""Rank the checkpoints of a run: `python tools/select.py RUN`, see `select_checkpoint.py`."""

import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec

if __name__ == "__main__":
    from select_checkpoint import main

    main()
else:
    # A script's folder comes first in its search path, so this file hides Python's own `select`: hand that one over.
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib may need `select` itself
    spec = PathFinder.find_spec("select", [path for path in sys.path if os.path.abspath(path) != here])  # noqa: PTH100
    assert spec is not None
    assert spec.loader is not None
    sys.modules[__name__] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules[__name__])

#!/usr/bin/env python
"""Make the pictures of `docs/gallery.md` from the runs of the demonstration; it needs Chromium.

python tools/demo.py --tasks classification
python tools/gallery.py
"""

from pathlib import Path

from gcisg_suite.gallery import make

if __name__ == "__main__":
    make(Path("docs/gallery"))

"""Reports: run folders read back, and one self-contained HTML page."""

"""List everything that is wrong with a data set: the file, what is wrong, what to do about it.

Exit code 0: no problem; 1: problems were found; 2: wrong usage.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import os
import sys
from pathlib import Path

# Name -> "module:function" of audit(root: Path, workers: int) -> AuditResult. Imported only when asked for,
# so that a framework missing for one task is no obstacle to another.
AUDITS = {
    "visda17": "gcisg_cls.audit:audit_visda17",
    "class-folders": "gcisg_cls.audit:audit_folders",
    "gtav": "gcisg_seg.audit:audit_gtav",
    "cityscapes": "gcisg_seg.audit:audit_cityscapes",
    "bdd100k": "gcisg_seg.audit:audit_bdd100k",
    "mapillary": "gcisg_seg.audit:audit_mapillary",
    "sim10k": "gcisg_det.audit:audit_sim10k",
    "cityscapes-boxes": "gcisg_det.audit:audit_cityscapes_boxes",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, choices=AUDITS, help="whose official layout the folder follows")
    parser.add_argument("--root", required=True, type=Path, help="the folder that holds the data set's own folders")
    parser.add_argument("--json", action="store_true", help="print one JSON object in place of lines")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    args = parser.parse_args()
    if not args.root.is_dir():
        parser.error(f"--root {args.root}: no such folder")

    module, function = AUDITS[args.dataset].split(":")
    result = getattr(importlib.import_module(module), function)(args.root, workers=args.workers)
    if args.json:
        print(json.dumps({"dataset": args.dataset, "root": str(args.root), **dataclasses.asdict(result)}, indent=2))
    else:
        for problem in result.problems:
            print(problem)
        counts = ", ".join(f"{split} {count}" for split, count in result.counts.items())
        print(f"{args.dataset} in {args.root}: {len(result.problems)} problems; found: {counts}")
    return 1 if result.problems else 0


if __name__ == "__main__":
    sys.exit(main())

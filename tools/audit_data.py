"""List everything that is wrong with a data set: the file, what is wrong, what to do about it.

    python tools/audit_data.py --dataset gtav --root data/gta5
    python tools/audit_data.py --dataset pairs --root mine --labels masks --image-suffix .jpg --num-classes 5
    python tools/audit_data.py --dataset coco --root mine/images --annotations mine/train.json --classes car

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
from typing import Any

# Name -> "module:function" of audit(root: Path, workers: int, **OPTIONS) -> AuditResult. Imported only when asked for,
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
    "pairs": "gcisg_seg.audit:audit_pairs",
    "coco": "gcisg_audit.coco:audit_coco",
}
OPTIONS = {
    "pairs": ("images", "labels", "image_suffix", "label_suffix", "num_classes"),
    "coco": ("annotations", "classes"),
}


def parse_args() -> tuple[argparse.Namespace, dict[str, Any]]:
    """The arguments, and those of them that the data set's own audit takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, choices=AUDITS, help="whose official layout the folder follows")
    parser.add_argument("--root", required=True, type=Path, help="the folder that holds the data set's own folders")
    parser.add_argument("--json", action="store_true", help="print one JSON object in place of lines")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    pairs = parser.add_argument_group("pairs", "images and label images of your own")
    pairs.add_argument(
        "--images", metavar="DIR", help="folder of the images, below the root (images)", default=argparse.SUPPRESS
    )
    pairs.add_argument(
        "--labels", metavar="DIR", help="folder of the label images, below the root (labels)", default=argparse.SUPPRESS
    )
    pairs.add_argument("--image-suffix", metavar="TEXT", help="ends an image's name (.png)")
    pairs.add_argument("--label-suffix", metavar="TEXT", help="ends its label's name (.png)")
    pairs.add_argument(
        "--num-classes",
        metavar="N",
        type=int,
        help="label values are 0 to N - 1, and 255 (19)",
        default=argparse.SUPPRESS,
    )
    coco = parser.add_argument_group("coco", "a JSON file in COCO's format; the root is the folder of its images")
    coco.add_argument(
        "--annotations",
        metavar="FILE",
        type=Path,
        help="the file (the root's only JSON file)",
        default=argparse.SUPPRESS,
    )
    coco.add_argument(
        "--classes", metavar="NAME", nargs="+", help="the categories that it must have (any)", default=argparse.SUPPRESS
    )
    args = parser.parse_args()
    if not args.root.is_dir():
        parser.error(f"--root {args.root}: no such folder")
    taken = {name for names in OPTIONS.values() for name in names}
    options = {name: value for name, value in vars(args).items() if name in taken and value is not None}
    for name in options.keys() - set(OPTIONS.get(args.dataset, ())):
        parser.error(f"--{name.replace('_', '-')} is not for --dataset {args.dataset}")
    if not 1 <= options.get("num_classes", 1) <= 254:
        parser.error(f"--num-classes {args.num_classes}: expected 1 to 254")
    return args, options


def main() -> int:
    args, options = parse_args()
    module, function = AUDITS[args.dataset].split(":")
    result = getattr(importlib.import_module(module), function)(args.root, workers=args.workers, **options)
    if args.json:
        print(json.dumps({"dataset": args.dataset, "root": str(args.root), **dataclasses.asdict(result)}, indent=2))
        return 1 if result.problems else 0
    for problem in result.problems:
        print(problem)
    totals = {name: count for name, count in result.counts.items() if "/" not in name}
    for total in totals:
        if parts := {name: n for name, n in result.counts.items() if name.startswith(f"{total}/")}:
            print(f"{total}: " + ", ".join(f"{name.partition('/')[2]} {count}" for name, count in parts.items()))
    found = ", ".join(f"{name} {count}" for name, count in totals.items())
    print(f"{args.dataset} in {args.root}: {len(result.problems)} problems; found: {found}")
    return 1 if result.problems else 0


if __name__ == "__main__":
    sys.exit(main())

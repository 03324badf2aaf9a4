#!/usr/bin/env python
"""Write two configs, a baseline and GCISG, that train on synthetic images of yours and are measured on real ones.

    python tools/new_project.py --task classification --synthetic my/synthetic --real my/real --out my/project

What is not given is asked for. The folders are audited first: each fault is a line with its file and what to do, and
nothing is written while there is one, unless `--force` is given. docs/your_data.md describes the folders.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from gcisg_core.files import write_text
from gcisg_core.lookup import choose
from gcisg_core.problems import AuditResult, Problem

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
MINE, THEIRS = "synthetic", "real"


class Project(NamedTuple):
    """What a task makes of the folders: the audits, and the text of both configs below the line that names the base."""

    audits: dict[str, AuditResult]
    suffix: str
    baseline: str
    gcisg: str


def classification(args: argparse.Namespace) -> Project:
    """A folder a class in both folders; the classes are the names of the folders."""
    from gcisg_cls.audit import audit_folders

    audits, classes = {}, {}
    for name, folder in folders(args).items():
        audits[name] = audit_folders(folder, args.workers)
        prefix = f"{folder.name}/"
        classes[name] = [key.removeprefix(prefix) for key in audits[name].counts if key.startswith(prefix)]
    for first, second in ((MINE, THEIRS), (THEIRS, MINE)):
        for name in [name for name in classes[first] if name not in classes[second]]:
            what, remedy = f"no images of the class, the {first} folder has some", "Add them, or remove the class there"
            audits[second].problems.append(Problem(str(folders(args)[second] / name), what, remedy))
    baseline = f"""\
classes = {tuple(classes[MINE])!r}
train_dataloader = dict(dataset=dict(dataset=dict(root={str(args.synthetic)!r}, classes=classes)))
val_dataloader = dict(dataset=dict(root={str(args.real)!r}, classes=classes))
test_dataloader = val_dataloader
model = dict(num_classes=len(classes))
"""
    return Project(audits, ".py", baseline, 'model = dict(regularizer=dict(method="gcisg"))\n')


def read_classes(path: Path) -> tuple[list[str], list[tuple[int, int, int]] | None]:
    """Names and colours of a file with a line a class, `name` or `name R G B`, in the order of the label values.

    Raises:
        ValueError: a line has another form, or only some lines have a colour.
    """
    names, colours = [], []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        values = [int(word) for word in words[-3:] if word.isdigit() and int(word) < 256]
        if len(words) > 3 and len(values) == 3:
            colours.append((values[0], values[1], values[2]))
            words = words[:-3]
        elif colours or any(word.isdigit() for word in words[1:]):
            raise ValueError(f"{path} line {number}: {line!r}, expected the form 'name' or 'name R G B' in every line")
        names.append(" ".join(words))
    if not names or len(colours) not in (0, len(names)) or len(set(names)) < len(names):
        raise ValueError(
            f"{path}: expected a line a class, each with another name, and all or none with a colour R G B"
        )
    return names, colours or None


def most_common_suffix(folder: Path) -> str:
    """How most of the images of a folder end; ".png" where there is none."""
    found = Counter(path.suffix for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    return found.most_common(1)[0][0] if found else ".png"


def segmentation(args: argparse.Namespace) -> Project:
    """`images/` and `labels/` in both folders, and a file with the classes."""
    from gcisg_seg.audit import audit_image_labels

    if args.classes is None:
        args.classes = Path(ask("classes", "File with a line a class, `name` or `name R G B`, by label value"))
    classes, colours = read_classes(args.classes)
    prefix = {"img_path": args.images, "seg_map_path": args.labels or "labels"}
    audits, lines = {}, {}
    for name, folder in folders(args).items():
        images, labels = (folder / part for part in prefix.values())
        suffixes = most_common_suffix(images), most_common_suffix(labels)
        audits[name] = audit_image_labels(images, labels, classes, colours, suffixes, args.workers)
        given: dict[str, object] = {"data_root": str(folder), "img_suffix": suffixes[0], "seg_map_suffix": suffixes[1]}
        if list(prefix.values()) != ["images", "labels"]:
            given["data_prefix"] = prefix
        lines[name] = ", ".join(f"{key}={value!r}" for key, value in given.items() if value != ".png")
    baseline = f"""\
metainfo = dict(classes={tuple(classes)!r}, palette={colours!r})
train_dataloader = dict(dataset=dict(dataset=dict({lines[MINE]}, metainfo=metainfo)))
val_dataloader = dict(dataset=dict({lines[THEIRS]}, metainfo=metainfo))
test_dataloader = val_dataloader
model = dict(decode_head=dict(num_classes={len(classes)}), auxiliary_head=dict(num_classes={len(classes)}))
"""
    return Project(audits, ".py", baseline, 'model = dict(regularizer=dict(method="gcisg", grid=(8, 8)))\n')


def detection(args: argparse.Namespace) -> Project:
    """A COCO JSON and images in both folders."""
    import gcisg_det  # noqa: F401 - repairs Detectron2 0.5 before it is imported
    from gcisg_audit.coco import audit_coco
    from gcisg_det.datasets import coco_classes

    entries, audits, classes = [], {}, {}
    for name, folder in folders(args).items():
        file, images = folder / (args.labels or "annotations.json"), folder / args.images
        entries.append(f'["{name}", "{file}", "{images}"]')
        audits[name] = audit_coco(images, args.workers, annotations=file)
        classes[name] = coco_classes(str(file)) if not audits[name].problems else []
    if all(classes.values()) and classes[MINE] != classes[THEIRS]:
        what = f"has the categories {', '.join(classes[THEIRS])}, the {MINE} file has {', '.join(classes[MINE])}"
        remedy = "Give both files the same categories, with IDs in the same order"
        audits[THEIRS].problems.append(Problem(str(args.real), what, remedy))
    baseline = f"""\
DATASETS:
  COCO: [{", ".join(entries)}]
  TRAIN: ("{MINE}",)
  TEST: ("{THEIRS}",)
MODEL: {{ROI_HEADS: {{NUM_CLASSES: {len(classes[MINE])}}}}}
"""
    return Project(audits, ".yaml", baseline, 'REGULARIZER: {METHOD: "gcisg"}\n')


TASKS: dict[str, Callable[[argparse.Namespace], Project]] = {
    "classification": classification,
    "segmentation": segmentation,
    "detection": detection,
}


def folders(args: argparse.Namespace) -> dict[str, Path]:
    return {MINE: args.synthetic, THEIRS: args.real}


def ask(flag: str, question: str) -> str:
    """An answer from the terminal; without one, the error names the flag."""
    try:
        answer = input(f"{question}: ").strip()
    except EOFError:
        answer = ""
    if not answer:
        sys.exit(f"error: --{flag} is needed. {question}")
    return answer


def base_config(task: str, out: Path) -> str:
    """The base of a task's configs: beside the checkout's tools, or what the installed package brought along."""
    from train_net import find_config

    above = Path(__file__).resolve().parent.parent / "projects" / task
    suffix = ".yaml" if task == "detection" else ".py"
    if above.is_dir():
        return Path(os.path.relpath(above / f"own_data{suffix}", out.resolve())).as_posix()
    return Path(find_config(f"projects/{task}/own_data{suffix}")).resolve().as_posix()


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", metavar="TASK", help=f"one of {', '.join(TASKS)}")
    parser.add_argument("--synthetic", type=Path, metavar="DIR", help="images with labels, to train on")
    parser.add_argument("--real", type=Path, metavar="DIR", help="real images with labels, to measure on")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the two configs go")
    parser.add_argument("--classes", type=Path, metavar="FILE", help="segmentation: a line a class, `name [R G B]`")
    parser.add_argument("--images", default="images", help="the images' folder in both folders (default: images)")
    parser.add_argument("--labels", help="the labels' folder (default: labels), or the COCO JSON (annotations.json)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--force", action="store_true", help="write the configs whatever the audit finds")
    args = parser.parse_args(argv)
    args.task = args.task or ask("task", f"Task ({', '.join(TASKS)})")
    try:
        choose(TASKS, args.task, "task")
    except ValueError as error:
        parser.error(str(error))
    args.synthetic = args.synthetic or Path(ask("synthetic", "Folder of the synthetic images, with labels"))
    args.real = args.real or Path(ask("real", "Folder of the real images, with labels"))
    args.out = args.out or Path(ask("out", "Folder for the configs"))
    for name, folder in folders(args).items():
        if not folder.is_dir():
            parser.error(f"--{name} {folder}: no such folder")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        project = TASKS[args.task](args)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    found = [problem for audit in project.audits.values() for problem in audit.problems]
    for problem in found:
        print(problem)
    for name, audit in project.audits.items():
        counts = ", ".join(f"{key} {value}" for key, value in audit.counts.items())
        print(f"{name}: {len(audit.problems)} problems; found: {counts}")
    if found and not args.force:
        print("Nothing was written: mend what is listed, or give --force.")
        return 1
    key, equals = ("_BASE_", ": ") if project.suffix == ".yaml" else ("_base_", " = ")
    bases = {"baseline": base_config(args.task, args.out), "gcisg": f"baseline{project.suffix}"}
    for name, base in bases.items():
        path = write_text(args.out / f"{name}{project.suffix}", f'{key}{equals}"{base}"\n{getattr(project, name)}')
        print(f"python tools/train_net.py --config {path} --work-dir {args.out / 'runs' / name}")
    print(f"python tools/report.py {args.out / 'runs/baseline'} {args.out / 'runs/gcisg'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A project of one's own: its audits and configs; see `gcisg new-project`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePath

from gcisg_seg.audit import audit_image_labels, find_label_values
from gcisg_seg.layouts import find_pairs, own_layout
from gcisg_seg.own_labels import LabelRule
from gcisg_suite.folders import list_files
from gcisg_suite.images import SUFFIXES
from gcisg_suite.new_project import MINE, THEIRS, Answers, Project, ask
from gcisg_suite.text import read_lines


def read_classes(path: Path) -> tuple[list[str], list[tuple[int, int, int]] | None]:
    """Names and colours of a file with a line a class, `name` or `name R G B`, in the order of the label values.

    Raises:
        ValueError: a line has another form, or only some lines have a colour.
    """
    names, colours = [], []
    for number, line in enumerate(read_lines(path), start=1):
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
    """How most of the images of a folder end, in lower case; ".png" where there is none."""
    suffixes = (PurePath(name).suffix.lower() for name in list_files(folder).files)
    found = Counter(suffix for suffix in suffixes if suffix in SUFFIXES)
    return found.most_common(1)[0][0] if found else ".png"


def segmentation(answers: Answers) -> Project:
    """`images/` and `labels/` in both folders, and a file with the classes."""
    if answers.classes is None:
        answers.classes = Path(ask("classes", "File with a line a class, `name` or `name R G B`, by label value"))
    classes, colours = read_classes(answers.classes)
    prefix = {"img_path": answers.images, "seg_map_path": answers.labels or "labels"}
    audits, lines = {}, {}
    for name, folder in answers.folders.items():
        images, labels = (folder / part for part in prefix.values())
        suffixes = most_common_suffix(images), most_common_suffix(labels)
        audits[name] = audit_image_labels(images, labels, classes, colours, suffixes, answers.workers)
        given: dict[str, object] = {"data_root": str(folder), "img_suffix": suffixes[0], "seg_map_suffix": suffixes[1]}
        rule = LabelRule(len(classes), tuple(colours or ()) or None)
        if values := find_label_values(find_pairs(images, labels, own_layout(*suffixes)).pairs, rule):
            given["label_values"] = values
        if list(prefix.values()) != ["images", "labels"]:
            given["data_prefix"] = prefix
        lines[name] = ", ".join(f"{key}={value!r}" for key, value in given.items() if value != ".png")
    palette = "" if colours is None else f", palette={colours!r}"
    baseline = f"""\
metainfo = dict(classes={tuple(classes)!r}{palette})
train_dataloader = dict(dataset=dict(dataset=dict({lines[MINE]}, metainfo=metainfo)))
val_dataloader = dict(dataset=dict({lines[THEIRS]}, metainfo=metainfo))
test_dataloader = val_dataloader
model = dict(decode_head=dict(num_classes={len(classes)}), auxiliary_head=dict(num_classes={len(classes)}))
"""
    gcisg = """\
model = dict(regularizer=dict(method="gcisg", patches=(8, 8)))
"""
    return Project(audits, baseline, gcisg)

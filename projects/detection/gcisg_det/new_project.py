"""A project of one's own: its audits and configs; see `gcisg new-project`."""

from __future__ import annotations

from gcisg_core.problems import Problem
from gcisg_suite.audit.coco import audit_coco
from gcisg_suite.audit.images import audit_images
from gcisg_suite.coco.load import read_categories
from gcisg_suite.formats.classes import read_classes
from gcisg_suite.formats.take import take_boxes
from gcisg_suite.new_project import MINE, THEIRS, Answers, Project


def detection(answers: Answers) -> Project:
    """Boxes in both folders, in any format of :mod:`gcisg_suite.formats.table`."""
    entries, audits, classes = [], {}, {}
    places = take_boxes(answers, read_classes(answers.classes)[0] if answers.classes else None)
    for name, place in places.items():
        entries.append(f'["{name}", "{place.labels}", "{place.images}"]')
        if place.labelled:
            audits[name] = audit_coco(place.images, answers.workers, annotations=place.labels)
        else:
            audits[name] = audit_images(place.images, answers.workers)
        classes[name] = [item["name"] for item in read_categories(place.labels)] if not audits[name].problems else []
    if all(classes.values()) and set(classes[MINE]) != set(classes[THEIRS]):
        what = f"has the categories {', '.join(classes[THEIRS])}, the {MINE} file has {', '.join(classes[MINE])}"
        remedy = "Give both files the same categories, in any order; or name those that are wanted: --classes FILE"
        audits[THEIRS].problems.append(Problem(str(answers.real), what, remedy))
    baseline = f"""\
DATASETS:
  COCO: [{", ".join(entries)}]
  TRAIN: ("{MINE}",)
  TEST: ("{THEIRS}",)
MODEL: {{ROI_HEADS: {{NUM_CLASSES: {len(classes[MINE])}}}}}
"""
    return Project(audits, baseline, 'REGULARIZER: {METHOD: "gcisg"}\n')

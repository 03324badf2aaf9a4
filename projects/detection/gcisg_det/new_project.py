"""A project of one's own: its audits and configs; see `gcisg new-project`."""

from __future__ import annotations

from gcisg_core.problems import Problem
from gcisg_suite.audit.coco import audit_coco
from gcisg_suite.coco.load import read_categories
from gcisg_suite.new_project import MINE, THEIRS, Answers, Project


def detection(answers: Answers) -> Project:
    """A COCO JSON and images in both folders."""
    entries, audits, classes = [], {}, {}
    for name, folder in answers.folders.items():
        file, images = folder / (answers.labels or "annotations.json"), folder / answers.images
        entries.append(f'["{name}", "{file}", "{images}"]')
        audits[name] = audit_coco(images, answers.workers, annotations=file)
        classes[name] = [item["name"] for item in read_categories(file)] if not audits[name].problems else []
    if all(classes.values()) and set(classes[MINE]) != set(classes[THEIRS]):
        what = f"has the categories {', '.join(classes[THEIRS])}, the {MINE} file has {', '.join(classes[MINE])}"
        remedy = "Give both files the same categories; their order is of no matter"
        audits[THEIRS].problems.append(Problem(str(answers.real), what, remedy))
    baseline = f"""\
DATASETS:
  COCO: [{", ".join(entries)}]
  TRAIN: ("{MINE}",)
  TEST: ("{THEIRS}",)
MODEL: {{ROI_HEADS: {{NUM_CLASSES: {len(classes[MINE])}}}}}
"""
    return Project(audits, baseline, 'REGULARIZER: {METHOD: "gcisg"}\n')

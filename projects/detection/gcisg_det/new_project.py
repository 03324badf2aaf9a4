"""The audits and configs of a new detection project; see `gcisg new-project`."""

from __future__ import annotations

import json

from gcisg_core.problems import DataError
from gcisg_suite.audit.coco import audit_coco
from gcisg_suite.audit.images import audit_images
from gcisg_suite.classes import named_classes
from gcisg_suite.coco.load import read_categories
from gcisg_suite.formats.take import take_boxes
from gcisg_suite.new_project import MINE, THEIRS, Answers, Project
from gcisg_suite.schedule import Schedule

BATCH, EPOCHS, MOST = 4, 30, 20_000  # batch size and most iterations as in own_data.yaml, epochs as in the paper
WARMUP = 1000  # the framework's default, in iterations


def detection(answers: Answers) -> Project:
    """The project for boxes in both folders, in any format of :mod:`gcisg_suite.formats.table`.

    The classes are the given ones, or else those of the synthetic boxes.
    """
    given = answers.options.get("classes")
    classes = named_classes(given)[0] if given else None
    entries, audits = [], {}
    for name, place in take_boxes(answers, classes).items():
        entries.append(json.dumps([name, str(place.labels), str(place.images)], ensure_ascii=False))
        if place.labelled:
            audits[name] = audit_coco(place.images, answers.workers, place.labels, classes)
        else:
            audits[name] = audit_images(place.images, answers.workers)
        if name == MINE:
            classes = _categories(place.labels) or classes
    counts = audits[MINE].counts
    schedule = Schedule(counts["images"] - counts.get("images without a box", 0), BATCH, EPOCHS, MOST)
    last = schedule.iterations
    baseline = f"""\
DATASETS:
  COCO: [{", ".join(entries)}]
  TRAIN: ("{MINE}",)
  TEST: ("{THEIRS}",)
MODEL: {{ROI_HEADS: {{NUM_CLASSES: {len(classes or ())}}}}}
SOLVER:
  MAX_ITER: {last}
  STEPS: ({last * 2 // 3}, {last * 8 // 9})
  WARMUP_ITERS: {min(WARMUP, schedule.interval)}
  CHECKPOINT_PERIOD: {schedule.interval}
"""
    return Project(audits, schedule, baseline, 'REGULARIZER: {METHOD: "gcisg"}\n')


def _categories(file: object) -> list[str]:
    """The names in the order of the labels; empty if the file cannot be used, which the audit reports."""
    try:
        return [item["name"] for item in read_categories(str(file))]
    except DataError:
        return []

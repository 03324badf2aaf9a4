"""A project of one's own: its audits and configs; see `gcisg new-project`."""

from __future__ import annotations

import json

from gcisg_core.problems import DataError
from gcisg_suite.audit.coco import audit_coco
from gcisg_suite.classes import named_classes
from gcisg_suite.coco.load import read_categories
from gcisg_suite.new_project import MINE, THEIRS, Answers, Project
from gcisg_suite.schedule import Schedule

BATCH, EPOCHS, MOST = 4, 30, 20_000  # of own_data.yaml, of the paper, and of own_data.yaml
WARMUP = 1000  # iterations, the framework's


def detection(answers: Answers) -> Project:
    """A COCO JSON and images in both folders; the classes are those given, or those of the synthetic file."""
    options = answers.options
    name = options.get("annotations") or options.get("labels") or "annotations.json"
    entries, audits, classes = [], {}, options.get("classes")
    for part, folder in answers.folders.items():
        file, images = folder / name, folder / options.get("images", "images")
        audits[part] = audit_coco(images, answers.workers, file, classes)
        entries.append(json.dumps([part, str(file), str(images)], ensure_ascii=False))
        if part == MINE:
            classes = _categories(file) or classes
    count = len(named_classes(classes)[0]) if classes else 0
    counts = audits[MINE].counts
    schedule = Schedule(counts["images"] - counts.get("images without a box", 0), BATCH, EPOCHS, MOST)
    last = schedule.iterations
    baseline = f"""\
DATASETS:
  COCO: [{", ".join(entries)}]
  TRAIN: ("{MINE}",)
  TEST: ("{THEIRS}",)
MODEL: {{ROI_HEADS: {{NUM_CLASSES: {count}}}}}
SOLVER:
  MAX_ITER: {last}
  STEPS: ({last * 2 // 3}, {last * 8 // 9})
  WARMUP_ITERS: {min(WARMUP, schedule.interval)}
  CHECKPOINT_PERIOD: {schedule.interval}
"""
    return Project(audits, schedule, baseline, 'REGULARIZER: {METHOD: "gcisg"}\n')


def _categories(file: object) -> list[str]:
    """The names in the order of the labels; none where the file cannot be used, which the audit says."""
    try:
        return [item["name"] for item in read_categories(str(file))]
    except DataError:
        return []

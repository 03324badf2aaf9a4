"""A project of one's own: its audits and configs; see `gcisg new-project`."""

from __future__ import annotations

import json

from gcisg_core.problems import DataError
from gcisg_suite.audit.coco import audit_coco
<<<<<<< 3dc60375ef583801da9d02cf58beab23b4bbccde
from gcisg_suite.audit.images import audit_images
=======
from gcisg_suite.classes import named_classes
>>>>>>> b5da250b9125c9999d8319423b59a6b3afd4168f
from gcisg_suite.coco.load import read_categories
from gcisg_suite.formats.classes import read_classes
from gcisg_suite.formats.take import take_boxes
from gcisg_suite.new_project import MINE, THEIRS, Answers, Project
from gcisg_suite.schedule import Schedule

BATCH, EPOCHS, MOST = 4, 30, 20_000  # of own_data.yaml, of the paper, and of own_data.yaml
WARMUP = 1000  # iterations, the framework's


def detection(answers: Answers) -> Project:
<<<<<<< 3dc60375ef583801da9d02cf58beab23b4bbccde
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
=======
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
>>>>>>> b5da250b9125c9999d8319423b59a6b3afd4168f
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

"""A project of your own: its audits and configs; see `gcisg new-project`."""

from __future__ import annotations

from gcisg_cls.audit import audit_folders
from gcisg_cls.datasets import IMAGE_LIST
from gcisg_suite.audit.images import audit_images
from gcisg_suite.formats.forms import image_files
from gcisg_suite.formats.table import NATIVE, find_format
from gcisg_suite.formats.take import NO_LABELS
from gcisg_suite.new_project import MINE, THEIRS, Answers, Project
from gcisg_suite.schedule import Schedule

BATCH, EPOCHS, MOST = 64, 30, 10_000  # of own_data.py, of the paper, and of own_data.py


def _real_labels(answers: Answers) -> bool:
    """Whether the real images lie in folders of classes; no where all lie in one folder, and that is no class."""
    own = {path.name for path in answers.synthetic.iterdir() if path.is_dir()}
    files = [path.relative_to(answers.real) for path in image_files(answers.real)]
    homes = {path.parts[0] if len(path.parts) > 1 else "" for path in files}
    alone = len(homes) == 1 and not homes & own and not (answers.real / IMAGE_LIST).is_file()
    return find_format(answers.real, {}, not alone, answers.formats.get(THEIRS), THEIRS) == NATIVE


def classification(answers: Answers) -> Project:
    """A folder a class in both folders; the classes are those given, or the names of the synthetic folders."""
    audits = {MINE: audit_folders(answers.synthetic, answers.workers, answers.options.get("classes"))}
    classes = audits[MINE].classes
    if _real_labels(answers):
        kind, audits[THEIRS] = "", audit_folders(answers.real, answers.workers, classes)
    else:
        print(f"{THEIRS}: {answers.real} {NO_LABELS}")
        kind, audits[THEIRS] = 'type="UnlabelledImages", ', audit_images(answers.real, answers.workers)
    schedule = Schedule(audits[MINE].counts.get(answers.synthetic.name, 0), BATCH, EPOCHS, MOST)
    baseline = f"""\
classes = {tuple(classes)!r}
train_dataloader = dict(dataset=dict(dataset=dict(root={str(answers.synthetic)!r}, classes=classes)))
val_dataloader = dict(dataset=dict({kind}root={str(answers.real)!r}, classes=classes))
test_dataloader = val_dataloader
train_cfg = dict(max_iters={schedule.iterations}, val_interval={schedule.interval})
default_hooks = dict(checkpoint=dict(interval={schedule.interval}))
model = dict(num_classes=len(classes))
"""
    gcisg = """\
model = dict(regularizer=dict(method="gcisg"))
"""
    return Project(audits, schedule, baseline, gcisg)

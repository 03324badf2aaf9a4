"""A project of one's own: its audits and configs; see `gcisg new-project`."""

from __future__ import annotations

from gcisg_cls.audit import audit_folders
from gcisg_suite.new_project import MINE, THEIRS, Answers, Project
from gcisg_suite.schedule import Schedule

BATCH, EPOCHS, MOST = 64, 30, 10_000  # of own_data.py, of the paper, and of own_data.py


def classification(answers: Answers) -> Project:
    """A folder a class in both folders; the classes are those given, or the names of the synthetic folders."""
    audits = {MINE: audit_folders(answers.synthetic, answers.workers, answers.options.get("classes"))}
    prefix = f"{answers.synthetic.name}/"
    classes = [key.removeprefix(prefix) for key in audits[MINE].counts if key.startswith(prefix)]
    audits[THEIRS] = audit_folders(answers.real, answers.workers, classes)
    schedule = Schedule(audits[MINE].counts[answers.synthetic.name], BATCH, EPOCHS, MOST)
    baseline = f"""\
classes = {tuple(classes)!r}
train_dataloader = dict(dataset=dict(dataset=dict(root={str(answers.synthetic)!r}, classes=classes)))
val_dataloader = dict(dataset=dict(root={str(answers.real)!r}, classes=classes))
test_dataloader = val_dataloader
train_cfg = dict(max_iters={schedule.iterations}, val_interval={schedule.interval})
default_hooks = dict(checkpoint=dict(interval={schedule.interval}))
model = dict(num_classes=len(classes))
"""
    gcisg = """\
model = dict(regularizer=dict(method="gcisg"))
"""
    return Project(audits, schedule, baseline, gcisg)

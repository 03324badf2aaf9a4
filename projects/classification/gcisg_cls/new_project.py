"""A project of one's own: its audits and configs; see `gcisg new-project`."""

from __future__ import annotations

from gcisg_cls.audit import audit_folders
from gcisg_core.problems import Problem
from gcisg_suite.new_project import MINE, THEIRS, Answers, Project


def classification(answers: Answers) -> Project:
    """A folder a class in both folders; the classes are the names of the folders."""
    audits, classes = {}, {}
    for name, folder in answers.folders.items():
        audits[name] = audit_folders(folder, answers.workers)
        prefix = f"{folder.name}/"
        classes[name] = [key.removeprefix(prefix) for key in audits[name].counts if key.startswith(prefix)]
    for first, second in ((MINE, THEIRS), (THEIRS, MINE)):
        for name in [name for name in classes[first] if name not in classes[second]]:
            what, remedy = f"no images of the class, the {first} folder has some", "Add them, or remove the class there"
            audits[second].problems.append(Problem(str(answers.folders[second] / name), what, remedy))
    baseline = f"""\
classes = {tuple(classes[MINE])!r}
train_dataloader = dict(dataset=dict(dataset=dict(root={str(answers.synthetic)!r}, classes=classes)))
val_dataloader = dict(dataset=dict(root={str(answers.real)!r}, classes=classes))
test_dataloader = val_dataloader
model = dict(num_classes=len(classes))
"""
    gcisg = """\
model = dict(regularizer=dict(method="gcisg"))
"""
    return Project(audits, baseline, gcisg)

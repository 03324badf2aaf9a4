"""A project of one's own: its audits and configs; see `gcisg new-project`."""

from __future__ import annotations

from typing import Any

from gcisg_seg.audit import audit_pairs, find_label_values, pair_classes
from gcisg_seg.layouts import find_pairs, own_layout
from gcisg_seg.own_labels import LabelRule
from gcisg_suite.new_project import MINE, THEIRS, Answers, Project, ask
from gcisg_suite.schedule import Schedule

BATCH, EPOCHS, MOST = 8, 40, 20_000  # of own_data.py, of the recipes, and of own_data.py
# Option -> what a data set of own_data.py calls it.
FIELDS = {"image_suffix": "img_suffix", "label_suffix": "seg_map_suffix"}
RULE = ("label_values", "reduce_zero_label", "ignore_index")


def segmentation(answers: Answers) -> Project:
    """`images/` and `labels/` in both folders, and classes."""
    options = answers.options
    if not options.keys() & {"classes", "num_classes"}:
        options["classes"] = (ask("classes", "File with a line a class, `name` or `name R G B`, by label value"),)
    classes, colours = pair_classes(options.get("classes"), options.get("num_classes", 0))
    rule = {name: options[name] for name in RULE if name in options}
    prefix = {"img_path": options.get("images", "images"), "seg_map_path": options.get("labels", "labels")}
    audits, lines = {}, {}
    for name, folder in answers.folders.items():
        audits[name] = audit_pairs(folder, answers.workers, **options)
        given: dict[str, Any] = {"data_root": str(folder), **rule}
        given |= {field: options[option] for option, field in FIELDS.items() if option in options}
        layout = own_layout(options.get("image_suffix"), options.get("label_suffix"))
        pairs = find_pairs(folder / prefix["img_path"], folder / prefix["seg_map_path"], layout).pairs
        if values := find_label_values(pairs, LabelRule(len(classes), tuple(colours or ()) or None, **rule)):
            given["label_values"] = values
        if [*prefix.values()] != ["images", "labels"]:
            given["data_prefix"] = prefix
        lines[name] = ", ".join(f"{key}={value!r}" for key, value in given.items())
    schedule = Schedule(audits[MINE].counts.get("all", 0), BATCH, EPOCHS, MOST)
    last, interval = schedule.iterations, schedule.interval
    palette = "" if colours is None else f", palette={colours!r}"
    baseline = f"""\
metainfo = dict(classes={tuple(classes)!r}{palette})
train_dataloader = dict(dataset=dict(dataset=dict({lines[MINE]}, metainfo=metainfo)))
val_dataloader = dict(dataset=dict({lines[THEIRS]}, metainfo=metainfo))
test_dataloader = val_dataloader
train_cfg = dict(max_iters={last}, val_interval={interval})
param_scheduler = [dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end={last}, by_epoch=False)]
default_hooks = dict(checkpoint=dict(interval={interval}))
model = dict(decode_head=dict(num_classes={len(classes)}), auxiliary_head=dict(num_classes={len(classes)}))
"""
    gcisg = """\
model = dict(regularizer=dict(method="gcisg", grid=(8, 8)))
"""
    return Project(audits, schedule, baseline, gcisg)

"""The audits and configs of a new segmentation project; see `gcisg new-project`."""

from __future__ import annotations

from typing import Any

from gcisg_core.problems import AuditResult
from gcisg_seg.audit import audit_image_labels, find_label_values, pair_classes
from gcisg_seg.formats import FORMATS, STREETS
from gcisg_seg.layouts import Suffix, find_pairs, own_layout
from gcisg_seg.own_labels import Colour, LabelRule
from gcisg_seg.splits import names_in
from gcisg_suite.audit.images import audit_images
from gcisg_suite.formats.take import Place, take_masks
from gcisg_suite.new_project import MINE, THEIRS, Answers, Project, ask
from gcisg_suite.schedule import Schedule

BATCH, EPOCHS, MOST = 8, 40, 20_000  # batch size and most iterations as in own_data.py, epochs as in the recipes
# Option -> its name in a data set of own_data.py.
FIELDS = {"image_suffix": "img_suffix", "label_suffix": "seg_map_suffix"}
RULE = ("label_values", "reduce_zero_label", "ignore_index")
Classes = tuple[list[str], list[Colour] | None]


def segmentation(answers: Answers) -> Project:
    """The project for images and labels in any format of :mod:`gcisg_seg.formats`. Label images need classes."""
    options = answers.options

    def given() -> Classes | None:
        is_given = options.keys() & {"classes", "num_classes"}
        return pair_classes(options.get("classes"), options.get("num_classes", 0)) if is_given else None

    def need() -> list[str]:
        options["classes"] = (
            ask("classes", "File with one class on each line, `name` or `name R G B`, by label value"),
        )
        return pair_classes(options["classes"], 0)[0]

    wanted = given()
    places = take_masks(answers, wanted[0] if wanted else None, need, FORMATS, STREETS)
    classes, colours = given() or (places[MINE].classes, None)
    audits, lines = {}, {}
    for name, place in places.items():
        audits[name], rule = _look(place, classes, colours, answers)
        lines[name] = ", ".join(f"{key}={value!r}" for key, value in (_home(name, place, answers) | rule).items())
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
model = dict(regularizer=dict(method="gcisg", patches=(8, 8)))
"""
    return Project(audits, schedule, baseline, gcisg)


def _home(name: str, place: Place, answers: Answers) -> dict[str, Any]:
    """The settings with which a config's data set finds the files."""
    if place.suffixes:
        kind = {} if place.labelled else {"type": "UnlabelledImageDataset"}
        prefix = {"img_path": str(place.images), "seg_map_path": str(place.labels)}
        listed = {"img_suffix": place.suffixes, "ann_file": str(place.listed), "domain": name}
        return {**kind, "data_root": "", "data_prefix": prefix, **listed}
    prefix = {"img_path": answers.images, "seg_map_path": str(answers.labels or "labels")}
    home: dict[str, Any] = {"data_root": str(answers.folders[name])}
    home |= {field: answers.options[option] for option, field in FIELDS.items() if option in answers.options}
    return home if [*prefix.values()] == ["images", "labels"] else {**home, "data_prefix": prefix}


def _look(
    place: Place, classes: list[str], colours: list[Colour] | None, answers: Answers
) -> tuple[AuditResult, dict[str, Any]]:
    """The audit of a place, and the settings with which its data set reads labels."""
    if not place.labelled:
        return audit_images(place.images, answers.workers), {}
    suffixes: tuple[Suffix, Suffix] = place.suffixes, ".png"
    if place.listed:
        only = names_in(str(place.listed))
        # In converted labels, 255 always means no class.
        rule: dict[str, Any] = {"label_values": (0, 1)} if len(classes) == 2 else {}
    else:
        suffixes, only = (answers.options.get("image_suffix"), answers.options.get("label_suffix")), None
        rule = {name: answers.options[name] for name in RULE if name in answers.options}
    audit = audit_image_labels(
        place.images, place.labels, classes, colours, suffixes, answers.workers, only, place.fixed, **rule
    )
    pairs = find_pairs(place.images, place.labels, own_layout(*suffixes), only).pairs
    # The audit has found the same values, and reported them.
    if values := find_label_values(pairs, LabelRule(len(classes), tuple(colours or ()) or None, **rule)):
        rule["label_values"] = values
    return audit, rule

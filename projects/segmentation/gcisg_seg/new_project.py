"""A project of one's own: its audits and configs; see `gcisg new-project`."""

from __future__ import annotations

<<<<<<< 3dc60375ef583801da9d02cf58beab23b4bbccde
from collections import Counter
from pathlib import Path, PurePath
from typing import Any

from gcisg_core.problems import AuditResult
from gcisg_seg.audit import audit_image_labels, find_label_values
from gcisg_seg.formats import FORMATS, STREETS
from gcisg_seg.layouts import find_pairs, own_layout
from gcisg_seg.own_labels import Colour, LabelRule
from gcisg_seg.splits import names_in
from gcisg_suite.audit.images import audit_images
from gcisg_suite.folders import list_files
from gcisg_suite.formats.classes import read_classes
from gcisg_suite.formats.take import Place, take_masks
from gcisg_suite.images import SUFFIXES
from gcisg_suite.new_project import MINE, THEIRS, Answers, Project, ask

# Arguments of a data set, in the order in which a config names them.
ORDER = ("type", "data_root", "img_suffix", "seg_map_suffix", "label_values", "data_prefix", "ann_file", "domain")


def most_common_suffix(folder: Path) -> str:
    """How most of the images of a folder end, in lower case; ".png" where there is none."""
    suffixes = (PurePath(name).suffix.lower() for name in list_files(folder).files)
    found = Counter(suffix for suffix in suffixes if suffix in SUFFIXES)
    return found.most_common(1)[0][0] if found else ".png"


def segmentation(answers: Answers) -> Project:
    """Images and labels in any format of :mod:`gcisg_seg.formats`; label images need a file with the classes."""

    def need() -> list[str]:
        answers.classes = Path(ask("classes", "File with a line a class, `name` or `name R G B`, by label value"))
        return read_classes(answers.classes)[0]

    given = read_classes(answers.classes)[0] if answers.classes else None
    places = take_masks(answers, given, need, FORMATS, STREETS)
    classes, colours = read_classes(answers.classes) if answers.classes else (places[MINE].classes, None)
    audits, lines = {}, {}
    for name, place in places.items():
        audits[name], settings = _look(place, classes, colours, answers.workers)
        if place.listed is None and place.labelled:
            folder = answers.folders[name]
            inner = {"img_path": answers.images, "seg_map_path": answers.labels or "labels"}
            settings |= {"data_root": str(folder)}
            if [*inner.values()] != ["images", "labels"]:
                settings["data_prefix"] = inner
        else:
            kind = {} if place.labelled else {"type": "UnlabelledImageDataset"}
            prefix = {"img_path": str(place.images), "seg_map_path": str(place.labels)}
            settings |= {**kind, "data_root": "", "data_prefix": prefix, "ann_file": str(place.listed), "domain": name}
        order = [key for key in ORDER if settings.get(key, ".png") != ".png"]
        lines[name] = ", ".join(f"{key}={settings[key]!r}" for key in order)
=======
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
>>>>>>> b5da250b9125c9999d8319423b59a6b3afd4168f
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
<<<<<<< 3dc60375ef583801da9d02cf58beab23b4bbccde
    return Project(audits, baseline, gcisg)


def _look(
    place: Place, classes: list[str], colours: list[Colour] | None, workers: int
) -> tuple[AuditResult, dict[str, Any]]:
    """The audit of a place, and what its data set must be told."""
    if not place.labelled:
        return audit_images(place.images, workers), {"img_suffix": place.suffix}
    settings: dict[str, Any] = {}
    if place.listed:
        suffixes, only = (place.suffix, ".png"), names_in(str(place.listed))
        if len(classes) == 2:
            settings = {"label_values": (0, 1)}  # 255 in converted labels is always no class
    else:
        suffixes, only = (most_common_suffix(place.images), most_common_suffix(place.labels)), None
        rule = LabelRule(len(classes), tuple(colours or ()) or None)
        # The audit finds them by itself, and says so.
        if values := find_label_values(find_pairs(place.images, place.labels, own_layout(*suffixes)).pairs, rule):
            settings = {"label_values": values}
    told = settings if place.listed else {}
    audit = audit_image_labels(
        place.images, place.labels, classes, colours, suffixes, workers, only, place.fixed, **told
    )
    return audit, {"img_suffix": suffixes[0], "seg_map_suffix": suffixes[1], **settings}
=======
    return Project(audits, schedule, baseline, gcisg)
>>>>>>> b5da250b9125c9999d8319423b59a6b3afd4168f

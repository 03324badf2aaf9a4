"""Small, whole examples of each format that is read, with what reads it: as training does, and as the audit does."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.io import savemat

import gcisg_det  # noqa: F401 - repairs Detectron2 0.5 before it is imported
from gcisg_cls.audit import audit_folders
from gcisg_cls.datasets import ClassFolderDataset
from gcisg_core.integrations import safetensors as _safetensors  # noqa: F401 - registers its reader
from gcisg_core.integrations.mmengine import read_plain
from gcisg_core.nan.record import load as load_record
from gcisg_core.run_folder import open_run, release_all
from gcisg_core.safe_load import read_checkpoint
from gcisg_det.audit import audit_cityscapes_boxes, audit_sim10k
from gcisg_det.datasets.cityscapes import load_cityscapes_cars
from gcisg_det.datasets.sim10k import load_sim10k
from gcisg_seg.audit import audit_gtav, audit_pairs
from gcisg_seg.checks import OFFICIAL, read_own_label
from gcisg_seg.layouts import Pair
from gcisg_seg.own_labels import LabelRule, class_numbers
from gcisg_seg.splits import gtav_split
from gcisg_suite.audit.coco import audit_coco
from gcisg_suite.coco.load import load_coco
from gcisg_suite.images import read_image
from gcisg_suite.report.page import write_report
from gcisg_suite.report.runs import read_run
from gcisg_suite.report.sections import section
from gcisg_suite.selection.criteria import read_lines
from gcisg_suite.sweep.sweep import read_runs
from gcisg_suite.sweep.variants import read_sweep

STATE = {"state_dict": {"w": torch.arange(6.0).reshape(2, 3), "b": torch.ones(3)}, "meta": {"iter": 3}}
CONFIG = 'model = dict(type="A", regularizer=dict(method="none"))\ntrain_cfg = dict(max_iters=4)\n'


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        file: The file that is mutated, below the folder.
        make: Writes a whole example into a folder.
        read: What training, or a command, does with the folder.
        audit: The audit of the folder, where there is one.
        cost: How many times fewer mutations are tried.
    """

    file: str
    make: Callable[[Path], None]
    read: Callable[[Path], Any]
    audit: Callable[[Path], Any] | None = None
    cost: int = 1


def picture(seed: int, mode: str = "RGB", **options: Any) -> bytes:
    values = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(values).convert(mode).save(stream, **{"format": "PNG", **options})
    return stream.getvalue()


def png(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, format="PNG")
    return stream.getvalue()


def odd_files() -> list[bytes]:
    """Whole files of another kind than is expected: pixels, numbers, nesting, and what claims to be large."""
    whole = np.arange(192).reshape(12, 16)
    found = [png(whole.astype(kind)) for kind in (bool, np.uint8, np.uint16)] + [png(np.zeros((5, 5), np.uint16))]
    found += [picture(1, mode) for mode in ("RGBA", "LA", "P", "1")]
    for kind in (np.int32, np.float32):
        stream = io.BytesIO()
        Image.fromarray(whole.astype(kind) * 10**6).save(stream, format="TIFF")
        found.append(stream.getvalue())
    for ids in (1.5, np.nan, 2**60, "a", 1 + 2j, {"a": 1}):
        stream = io.BytesIO()
        savemat(stream, {"trainIds": [[ids]], "valIds": np.array([[2.0]]), "testIds": np.array([[2.0]])})
        found.append(stream.getvalue())
    shared: list[Any] = [1]
    for _ in range(40):
        shared = [shared, shared]
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(2**20))
    aliases = "a0: &a0 [1, 1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
    return [*found, pickle.dumps({"model": shared}), bomb.getvalue(), aliases.encode()]


def write(folder: Path, **files: bytes | str) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def indexed() -> bytes:
    image = Image.fromarray((np.arange(192).reshape(12, 16) % 3).astype(np.uint8), mode="P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return stream.getvalue()


def gtav(folder: Path) -> None:
    label = png((np.arange(192).reshape(12, 16) % 34).astype(np.uint8))
    for name in ("00001", "00002"):
        write(folder, **{f"images/{name}.png": picture(int(name)), f"labels/{name}.png": label})
    stream = io.BytesIO()
    savemat(stream, {"trainIds": np.array([[1]]), "valIds": np.array([[2]]), "testIds": np.array([[2]])})
    write(folder, **{"split.mat": stream.getvalue()})


def class_folders(folder: Path) -> None:
    write(folder, **{"a/0.png": picture(0), "b c/1.png": picture(1), "image_list.txt": "a/0.png 0\nb c/1.png 1\n"})


def coco(folder: Path) -> None:
    outline = [[2.0, 2.0, 9.0, 2.0, 9.0, 8.0, 2.0, 8.0]]
    runs = {"size": [12, 16], "counts": [20, 5, 167]}
    boxes = [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 2, 7, 6], "area": 42, "iscrowd": 0,
         "segmentation": outline, "keypoints": [3, 3, 2]},
        {"id": 2, "image_id": 2, "category_id": 2, "bbox": [1.5, 1, 4, 5], "area": 20, "iscrowd": 1,
         "segmentation": runs},
    ]  # fmt: skip
    images = [{"id": n, "file_name": f"{n}.png", "width": 16, "height": 12} for n in (1, 2)]
    content = {"images": images, "annotations": boxes, "categories": [{"id": n, "name": f"c{n}"} for n in (1, 2)]}
    write(folder, **{"1.png": picture(1), "2.png": picture(2), "a.json": json.dumps(content)})


def cityscapes(folder: Path) -> None:
    square = [[2, 2], [9, 2], [9, 8], [2, 8]]
    objects = [{"label": "car", "polygon": square}, {"label": "road", "polygon": square[:3], "deleted": 0}]
    ids = np.zeros((12, 16), np.uint16)
    ids[2:8, 2:9] = 26001
    parts = {
        "leftImg8bit/val/a/a_1_leftImg8bit.png": picture(1),
        "gtFine/val/a/a_1_gtFine_polygons.json": json.dumps({"imgHeight": 12, "imgWidth": 16, "objects": objects}),
        "gtFine/val/a/a_1_gtFine_instanceIds.png": png(ids),
    }
    write(folder, **parts)


def sim10k(folder: Path) -> None:
    box = "".join(f"<{name}>{value}</{name}>" for name, value in {"xmin": 2, "ymin": 3, "xmax": 9, "ymax": 10}.items())
    thing = f"<object><name>car</name><difficult>0</difficult><bndbox>{box}</bndbox></object>"
    size = "<size><width>16</width><height>12</height><depth>3</depth></size>"
    parts = {
        "VOC2012/JPEGImages/1.jpg": picture(1, format="JPEG"),
        "VOC2012/Annotations/1.xml": f'<?xml version="1.0" encoding="utf-8"?>\n<annotation>{size}{thing}</annotation>',
        "VOC2012/ImageSets/Main/trainval10k.txt": "1\n",
    }
    write(folder, **parts)


def weights(folder: Path) -> None:
    torch.save(STATE, folder / "net.pth")
    torch.save(STATE, folder / "old.pth", _use_new_zipfile_serialization=False)
    (folder / "net.pkl").write_bytes(pickle.dumps({"model": {"w": np.arange(6.0)}, "__author__": "x"}))
    from safetensors.torch import save_file

    save_file(STATE["state_dict"], folder / "net.safetensors")
    record = {"version": 1, "message": "m", "losses": {"loss": 1.0}, "model": STATE["state_dict"]}
    torch.save(record, folder / "nonfinite.pth")


def run_folder(folder: Path) -> None:
    lines = [
        {"loss": 1.5, "time": 0.1, "step": 1},
        {"loss": 1.0, "time": 0.1, "step": 2},
        {"accuracy": 50.0, "step": 2},
    ]
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    write(folder, **{"20260101_000000/vis_data/scalars.json": text, "20260101_000000/start.json": '{"start": 1}'})
    write(folder, **{"mine.py": CONFIG, "identity.json": '{"run": "a", "seed": 3, "settings": {"lr": 0.1}}'})
    write(folder, last_checkpoint=str(folder / "iter_2.pth"))
    for step in (1, 2):
        torch.save({**STATE, "step": step}, folder / f"iter_{step}.pth")


def go_on(folder: Path) -> int:
    """The step that a resumed run continues from."""
    try:
        checkpoint = open_run(folder, {"lr": 0.1}, 3, resume=True)
    finally:
        release_all()
    return 0 if checkpoint is None else read_checkpoint(checkpoint)["step"]


def report(folder: Path) -> str:
    """What `gcisg report` writes of a run."""
    run = read_run(folder)
    return write_report(folder / "report.html", "a", [section(run.task, {run.name: run})]).read_text()


def run_lines(folder: Path) -> None:
    """The lines of a sweep, and of a selection."""
    lines = [{"schema": 1, "variant": "a", "seed": seed, "hash": "b"} for seed in (1, 2)]
    write(folder, **{"selection.jsonl": "".join(f"{json.dumps(line)}\n" for line in lines)})


def detection_run(folder: Path) -> None:
    lines = [{"iteration": 0, "total_loss": 1.5, "time": 0.1}, {"iteration": 1, "total_loss": 1.0, "x/bbox/AP": 5.0}]
    config = "DATASETS:\n  TRAIN: [a]\n  TEST: [b]\n  COCO: []\nSOLVER: {MAX_ITER: 2}\nSEED: 1\n"
    write(folder, **{"metrics.json": "".join(f"{json.dumps(line)}\n" for line in lines), "config.yaml": config})


def grid(folder: Path) -> None:
    text = "task: classification\nvariants:\n  a: {config: gcisg_mini, overrides: {seed: 1}}\ngrid: {lr: [1, 2]}\n"
    write(folder, **{"grid.yaml": text})


def _images(name: str, **options: Any) -> Format:
    return Format(name, lambda f: write(f, **{name: picture(1, **options)}), lambda f: read_image(f / name))


def _weights(name: str) -> Format:
    return Format(name, weights, lambda f: read_checkpoint(f / name))


def _label(folder: Path) -> Any:
    pair = Pair(str(folder / "images/00001.png"), str(folder / "labels/00001.png"), "gtav_ids")
    return OFFICIAL.number(pair, OFFICIAL.decode(pair.label))


def _own_label(folder: Path) -> Any:
    path, colours = str(folder / "labels/a.png"), ((255, 0, 0), (0, 255, 0), (0, 0, 255))
    return class_numbers(path, read_own_label(path), LabelRule(3, colours))


def _pairs(folder: Path) -> None:
    write(folder, **{"images/a.png": picture(1), "labels/a.png": indexed()})


def _classes(folder: Path) -> Any:
    dataset = ClassFolderDataset(str(folder), {"type": "EvalView", "size": 8}, None)
    return [dataset[index]["label"] for index in range(len(dataset))]


POLYGONS = "gtFine/val/a/a_1_gtFine_polygons.json"
FORMATS = {
    "png": _images("a.png"),
    "jpeg": _images("a.jpg", format="JPEG"),
    "cmyk": _images("a.jpg", format="JPEG", mode="CMYK"),
    "tiff": _images("a.tif", format="TIFF"),
    "webp": _images("a.webp", format="WEBP"),
    "gif": _images("a.gif", format="GIF", mode="P"),
    "label": Format("labels/00001.png", gtav, _label, audit_gtav, 4),
    "image of a pair": Format(
        "images/00001.png", gtav, lambda f: read_image(f / "images/00001.png"), audit_gtav, cost=4
    ),
    "split": Format("split.mat", gtav, lambda f: gtav_split(f, "train"), audit_gtav, 7),
    "own label": Format("labels/a.png", _pairs, _own_label, lambda f: audit_pairs(f, num_classes=3)),
    "image list": Format("image_list.txt", class_folders, _classes, audit_folders),
    "class image": Format("a/0.png", class_folders, _classes, audit_folders),
    "coco": Format("a.json", coco, lambda f: load_coco(f / "a.json", f), audit_coco),
    "coco masks": Format("a.json", coco, lambda f: load_coco(f / "a.json", f, "bitmask"), audit_coco),
    "polygons": Format(POLYGONS, cityscapes, load_cityscapes_cars, audit_cityscapes_boxes),
    "instance ids": Format(
        "gtFine/val/a/a_1_gtFine_instanceIds.png",
        cityscapes,
        lambda f: load_cityscapes_cars(f, "val", "da_faster"),
        audit_cityscapes_boxes,
    ),
    "voc": Format("VOC2012/Annotations/1.xml", sim10k, lambda f: load_sim10k(f / "VOC2012"), audit_sim10k),
    "voc list": Format(
        "VOC2012/ImageSets/Main/trainval10k.txt", sim10k, lambda f: load_sim10k(f / "VOC2012"), audit_sim10k
    ),
    "checkpoint": _weights("net.pth"),
    "old checkpoint": _weights("old.pth"),
    "pickle": _weights("net.pkl"),
    "safetensors": _weights("net.safetensors"),
    "record": Format("nonfinite.pth", weights, lambda f: load_record(f / "nonfinite.pth", 1)),
    "identity": Format("identity.json", run_folder, go_on),
    "pointer": Format("last_checkpoint", run_folder, go_on),
    "newest of a run": Format("iter_2.pth", run_folder, go_on),
    "scalars": Format("20260101_000000/vis_data/scalars.json", run_folder, report, cost=4),
    "start": Format("20260101_000000/start.json", run_folder, read_run),
    "selection": Format("selection.jsonl", run_lines, read_lines),
    "runs of a sweep": Format("selection.jsonl", run_lines, lambda f: read_runs(f / "selection.jsonl")),
    "run's config": Format("mine.py", run_folder, lambda f: read_plain(f / "mine.py")),
    "metrics": Format("metrics.json", detection_run, report, cost=4),
    "detection's config": Format("config.yaml", detection_run, report, cost=4),
    "grid": Format("grid.yaml", grid, lambda f: read_sweep(f / "grid.yaml")),
}

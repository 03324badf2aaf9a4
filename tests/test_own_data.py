"""From folders of synthetic and of real images to a result, by the commands and configs of docs/your_data.md."""

from __future__ import annotations

import json
import re
import shlex

import numpy as np
import pytest
import torchvision
from mmengine.config import Config
from PIL import Image

from gcisg_core.shell import gcisg_command
from tests.detection.scenes import TINY
from tests.documents import blocks, run

NAMES = ("baseline", "gcisg")
PAGE = "docs/your_data.md"
COLOURS = {"road": (128, 64, 128), "car": (0, 0, 142), "person": (220, 20, 60)}
SHORT = ["train_cfg.max_iters=2", "train_cfg.val_interval=2", "default_hooks.logger.interval=1"]
LOADERS = [
    f"{name}_dataloader.{setting}"
    for name in ("train", "val", "test")
    for setting in ("num_workers=0", "persistent_workers=False")
]
# What makes each task's documented training small: nothing of the data or of the method.
SMALL = {
    "classification": [
        *SHORT, *LOADERS, "train_dataloader.batch_size=2", "model.backbone=resnet18", "model.weights=weights.pth",
        "train_dataloader.dataset.dataset.pipeline.size=32", "val_dataloader.dataset.pipeline.size=32",
        "test_dataloader.dataset.pipeline.size=32",
    ],
    "segmentation": [
        *SHORT, *LOADERS, "train_dataloader.batch_size=2", "model.backbone.depth=18", "model.backbone.init_cfg=None",
        "model.backbone.stem_channels=8", "model.backbone.base_channels=8", "model.decode_head.in_channels=64",
        "model.decode_head.channels=8", "model.auxiliary_head.in_channels=32", "model.auxiliary_head.channels=8",
    ],
    "detection": [*map(str, TINY), "SOLVER.MAX_ITER", "2", "SOLVER.STEPS", "()", "TEST.DETECTIONS_PER_IMAGE", "5"],
}  # fmt: skip


def noise(path, rng, size=(48, 64)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(path)


def make_classification(root, rng):
    for name in ("bird", "boat", "bus"):
        for number in range(3):
            noise(root / name / f"{number}.png", rng)


def make_segmentation(root, rng):
    """Labels hold numbers in the synthetic folder and colours in the real one."""
    for number in range(4):
        noise(root / "images" / f"{number}.png", rng, (128, 128))
        label = rng.integers(0, 3, (128, 128), np.uint8)
        label[:4] = 255
        path = root / "labels" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        if root.name == "real":
            table = np.zeros((256, 3), np.uint8)
            table[:3] = [*COLOURS.values()]
            label = table[label]
        Image.fromarray(label).save(path)


def make_detection(root, rng):
    images, boxes = [], []
    for number in range(1, 5):
        noise(root / "images" / f"{number}.png", rng, (96, 128))
        images.append({"id": number, "file_name": f"{number}.png", "width": 128, "height": 96})
        for category in (2, 5, 7):
            box = [10 * category, 10, 40, 50]
            entry = {"id": len(boxes) + 1, "image_id": number, "category_id": category, "bbox": box}
            boxes.append({**entry, "area": 2000, "iscrowd": 0})
    categories = [{"id": key, "name": name} for key, name in zip((2, 5, 7), COLOURS, strict=True)]
    content = {"images": images, "annotations": boxes, "categories": categories}
    (root / "annotations.json").write_text(json.dumps(content))


MAKE = {"classification": make_classification, "segmentation": make_segmentation, "detection": make_detection}


def make_both(task, place):
    """`synthetic` and `real` of a task, and the names of its classes."""
    for seed, name in enumerate(("synthetic", "real")):
        MAKE[task](place / name, np.random.default_rng(seed))
    colours = "\n".join(f"{name} {' '.join(map(str, colour))}" for name, colour in COLOURS.items())
    (place / "classes.txt").write_text(colours)


@pytest.fixture
def folders(tmp_path, monkeypatch, request):
    """`my/synthetic` and `my/real` of a task, in the folder in which commands run."""
    make_both(request.param, tmp_path / "my")
    (tmp_path / "projects").symlink_to(request.config.rootpath / "projects")
    monkeypatch.chdir(tmp_path)
    return request.param


def part(task):
    """The document's blocks of a task."""
    found = blocks(PAGE)
    starts = [index for index, block in enumerate(found) if block.text.startswith("my/synthetic/")]
    chosen = starts[[*MAKE].index(task)]
    return found[chosen : min([start for start in starts if start > chosen], default=len(found))]


def metrics_of(task, folder):
    """The metrics that a run wrote."""
    if task == "detection":
        lines = (folder / "metrics.json").read_text().splitlines()
        return {key for line in lines for key in json.loads(line)} & {
            "real/bbox/AP",
            "real/bbox/AP50",
            "real/bbox/AP75",
        }
    (file,) = folder.glob("*/vis_data/scalars.json")
    return {*json.loads(file.read_text().splitlines()[-1])} - {"step", "time", "data_time"}


METRICS = {
    "classification": {"accuracy/mean_class", "accuracy/overall"},
    "segmentation": {"real/aAcc", "real/mIoU", "real/mAcc", "mIoU"},
    "detection": {"real/bbox/AP", "real/bbox/AP50", "real/bbox/AP75"},
}


@pytest.mark.parametrize("folders", MAKE, indirect=True)
def test_the_documents_commands_lead_from_the_folders_to_a_report(folders, tmp_path):
    import torch

    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "weights.pth")
    (console,) = (block for block in part(folders) if block.language == "console")
    audit, baseline, gcisg, report = console.text.splitlines()
    assert run(audit, "--workers", "1") == 0
    for command in (baseline, gcisg):
        assert run(command, *SMALL[folders]) == 0
    for name in ("baseline", "gcisg"):
        assert metrics_of(folders, tmp_path / "my/project/runs" / name) == METRICS[folders]
    assert run(report) == 0
    page = (tmp_path / "my/project/report.html").read_text()
    assert "<td>loss" not in page
    shown = {re.sub(r"</?td>", "", cell) for cell in re.findall(r"<td>[^<]*</td>", page)}
    assert METRICS[folders] <= shown
    assert "No pictures" not in page
    assert page.count("<img") == 2


@pytest.mark.parametrize("folders", MAKE, indirect=True)
def test_the_documents_config_is_that_of_the_two_written_ones(folders, tmp_path):
    """What a reader writes by hand equals what `tools/new_project.py` writes, but for names that only the file uses."""
    (written,) = (block.text for block in part(folders) if block.language in ("python", "yaml"))
    lines = written.strip().splitlines()
    assert len(lines) - 1 < 10
    path = tmp_path / lines[0].removeprefix("# ")
    path.parent.mkdir(parents=True)
    path.write_text(written)
    (console,) = (block for block in part(folders) if block.language == "console")
    assert run(console.text.splitlines()[0], "--workers", "1") == 0
    if folders == "detection":
        from gcisg_det.config import read_config

        assert read_config(path) == read_config(path.with_name("gcisg.yaml"))
        return
    hand, tool = (Config.fromfile(path.with_name(name)).to_dict() for name in (path.name, "gcisg.py"))
    same = ("model", "train_dataloader", "val_dataloader", "test_dataloader", "train_cfg", "val_evaluator")
    same += ("param_scheduler",) if folders == "segmentation" else ()
    assert {key: hand[key] for key in same} == {key: tool[key] for key in same}


class TestFaults:
    """Faults that the audit names before anything is written."""

    def audit(self, task, capsys, *more):
        flags = ["--task", task, "--synthetic", "my/synthetic", "--real", "my/real", "--out", "out", "--workers", "1"]
        status = run("python tools/new_project.py", *flags, *more)
        return status, capsys.readouterr().out

    @pytest.mark.parametrize("folders", ["classification"], indirect=True)
    def test_a_real_class_of_another_name(self, folders, tmp_path, capsys):
        (tmp_path / "my/real/bus").rename(tmp_path / "my/real/coach")
        status, output = self.audit(folders, capsys)
        assert status == 1
        assert "my/real/coach: no class of that name. Expected folders: bird, boat, bus" in output
        assert "note: my/real/bus: class 'bus' (label 2) has no image. Nothing to do: it gets no result" in output
        assert not (tmp_path / "out").exists()
        assert self.audit(folders, capsys, "--force")[0] == 0
        assert (tmp_path / "out/gcisg.py").is_file()

    @pytest.mark.remedy("The data set needs label_values={}, which new-project writes")
    @pytest.mark.parametrize("folders", ["segmentation"], indirect=True)
    def test_masks_of_0_and_255_without_colours_train(self, folders, tmp_path, capsys):
        """In the real folder; the synthetic one has numbers. The classes' file is one of Windows."""
        (tmp_path / "my/classes.txt").write_bytes("\ufeffbackground\r\nobject\r\n".encode())
        for path in (tmp_path / "my").glob("*/labels/*.png"):
            value = 255 if "real" in path.parts else 1
            Image.fromarray(np.where(np.eye(128) > 0, value, 0).astype(np.uint8)).save(path)
        status, output = self.audit(folders, capsys, "--classes", "my/classes.txt")
        assert status == 0
        assert "note: my/real/labels: its masks have the values 0 and 255: 255 is 'object'" in output
        written = (tmp_path / "out/baseline.py").read_text()
        assert "metainfo = dict(classes=('background', 'object'))" in written
        assert written.count("label_values=(0, 255)") == 1
        assert run("python tools/train_net.py --config out/gcisg.py --work-dir out/run", *SMALL["segmentation"]) == 0
        assert metrics_of("segmentation", tmp_path / "out/run") == METRICS["segmentation"]

    @pytest.mark.parametrize("folders", ["classification"], indirect=True)
    def test_printed_commands_name_folders_with_spaces_and_quotes(self, folders, tmp_path, capsys):
        (tmp_path / "my").rename(tmp_path / "My Data")
        goal = "My Data/it's mine"
        flags = ["--task", folders, "--synthetic", "My Data/synthetic", "--real", "My Data/real", "--output", goal]
        assert run("python tools/new_project.py", *flags, "--workers", "1") == 0
        commands = [shlex.split(line) for line in capsys.readouterr().out.splitlines()[-3:]]
        start = shlex.split(gcisg_command())
        assert [words[: len(start)] for words in commands] == [start] * 3
        train, report = commands[1][len(start) :], commands[2][len(start) :]
        assert train == ["train", "--config", f"{goal}/gcisg.py", "--output", f"{goal}/runs/gcisg"]
        assert report == ["report", *(f"{goal}/runs/{name}" for name in NAMES), "--output", f"{goal}/report.html"]
        for name in NAMES:
            assert Config.fromfile(f"{goal}/{name}.py").train_cfg.max_iters == 500

    @pytest.mark.parametrize("folders", ["segmentation"], indirect=True)
    @pytest.mark.parametrize(
        ("pixels", "message"),
        [
            (np.full((128, 128), 3, np.uint8), "values or colours of no class: 1, such as [3]"),
            (np.full((128, 128, 3), 9, np.uint8), "values or colours of no class: 1, such as ['#090909']"),
            (np.zeros((64, 128), np.uint8), "label is 128 x 64 pixels, its image 128 x 128"),
            (np.zeros((128, 128), np.uint16), "image mode I;16: a label has the class's number at each pixel"),
        ],
    )
    def test_labels_that_fit_no_class_or_image(self, folders, pixels, message, tmp_path, capsys):
        Image.fromarray(pixels).save(tmp_path / "my/real/labels/2.png")
        status, output = self.audit(folders, capsys, "--classes", "my/classes.txt")
        assert status == 1
        assert f"my/real/labels/2.png: {message}" in output

    @pytest.mark.parametrize("folders", ["detection"], indirect=True)
    def test_other_categories(self, folders, tmp_path, capsys):
        file = tmp_path / "my/real/annotations.json"
        file.write_text(file.read_text().replace('"car"', '"Car"'))
        status, output = self.audit(folders, capsys)
        assert status == 1
        assert "annotations.json: category 'Car' is not one of the expected road, car, person" in output
        assert "note: my/real/annotations.json: category 'car' is missing. Nothing to do: it gets no result" in output
        assert self.audit(folders, capsys, "--force")[0] == 0
        status = run("python tools/train_net.py --config out/baseline.yaml", *SMALL["detection"])
        assert status == 1
        error = capsys.readouterr().err
        assert "annotations.json: the category 'Car' is not one of the classes trained on, which are road, car" in error

    @pytest.mark.parametrize("folders", ["detection"], indirect=True)
    def test_other_order_of_categories_and_missing_fields_are_no_faults(self, folders, tmp_path, capsys):
        file = tmp_path / "my/real/annotations.json"
        content = json.loads(file.read_text())
        content["categories"].reverse()
        for item in content["annotations"]:
            item["category_id"] = 9 - item["category_id"]
            del item["area"], item["iscrowd"]
        for item in content["categories"]:
            item["id"] = 9 - item["id"]
        file.write_text(json.dumps(content))
        status, output = self.audit(folders, capsys)
        assert status == 0
        assert "note: my/real/annotations.json: annotations without `iscrowd`, taken as 0: 12, such as" in output

    def test_what_is_not_given_is_asked_for(self, tmp_path, monkeypatch, capsys):
        for seed, name in enumerate(("synthetic", "real")):
            make_classification(tmp_path / name, np.random.default_rng(seed))
        answers = iter(["classification", str(tmp_path / "synthetic"), str(tmp_path / "real"), str(tmp_path / "out")])
        monkeypatch.setattr("builtins.input", lambda question: next(answers))
        assert run("python tools/new_project.py --workers 1") == 0
        assert (tmp_path / "out/baseline.py").is_file()
        monkeypatch.setattr("builtins.input", lambda question: "")
        assert run("python tools/new_project.py --task classification") == 1
        assert "error: --synthetic is needed" in capsys.readouterr().err

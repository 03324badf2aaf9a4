"""Prediction with each task's models, ours and plain ones, on images, folders and videos."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torchvision
from mmengine.registry import MODELS, init_default_scope
from PIL import Image
from pycocotools.coco import COCO

import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

# isort: split
from detectron2.engine import DefaultPredictor
from detectron2.modeling import build_model

from gcisg_cls.export import export as export_classifier
from gcisg_cls.views import EvalView, normalize
from gcisg_core.export import write_export
from gcisg_core.integrations.mmengine import load_config
from gcisg_det.config import read_config
from gcisg_det.export import export as export_detector
from gcisg_seg.export import export as export_segmentor
from gcisg_suite.cli import main
from tests.detection.scenes import TINY
from tests.official import save_official
from tests.test_export import CLASSIFICATION, SEGMENTATION, disturb

ROOT = Path(__file__).parents[1]
MINI = str(ROOT / "projects/classification/gcisg_mini.py")
SIZES = [(64, 48), (64, 48), (50, 70), (64, 48), (32, 32)]


def picture(number, size):
    values = np.random.default_rng(number).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(values).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def photos(tmp_path):
    """Five pictures of three sizes, two of them in a folder below."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for number, size in enumerate(SIZES):
        picture(number, size).save(folder / ("more" if number > 2 else "") / f"{number}.png")
    return folder


@pytest.fixture
def predict(tmp_path, monkeypatch, capsys):
    """Runs the tool; returns the folder of results and what it said."""

    def run(config, checkpoint, *arguments, code=0):
        command = ["--config", config, "--checkpoint", checkpoint, "--out", tmp_path / "out", "--device", "cpu"]
        said = ""
        try:
            main(["predict", *map(str, (*command, *arguments))])
            assert code == 0
        except SystemExit as stopped:
            said = str(stopped.code)
            assert code, said
        captured = capsys.readouterr()
        return tmp_path / "out", captured.out + captured.err + said

    return run


@pytest.fixture
def classifier(tmp_path):
    """The miniature's network with random weights, as training leaves it."""
    config = load_config(MINI, ["model.weights=None"])
    torch.manual_seed(0)
    model = disturb(MODELS.build(config.model))
    save_official({"state_dict": model.state_dict(), "meta": {"seed": 1}}, tmp_path / "iter_3.pth")
    return model, tmp_path / "iter_3.pth"


def check_tiny(predict, config, checkpoint, *arguments):
    """Images of a pixel, a row and a column have results and overlays too; returns the folder."""
    folder = Path(checkpoint).with_name("tiny")
    folder.mkdir()
    sizes = [(1, 1), (1, 9), (9, 1)]
    for number, size in enumerate(sizes):
        picture(number, size).save(folder / f"tiny{number}.png")
    out, _ = predict(config, checkpoint, folder, *arguments)
    assert [(about["width"], about["height"]) for about in read(out)[1]["images"]] == sizes
    assert len([*out.glob("overlays/tiny*.png")]) == 3
    return out


def read(out):
    return json.loads((out / "predictions.json").read_text()), json.loads((out / "images.json").read_text())


def test_a_classifier_labels_a_folder(predict, classifier, photos):
    model, checkpoint = classifier
    out, said = predict(MINI, checkpoint, photos, "--batch-size", 2)
    entries, index = read(out)
    assert [Path(entry["file_name"]).relative_to(photos).as_posix() for entry in entries] == [
        "0.png", "1.png", "2.png", "more/3.png", "more/4.png",
    ]  # fmt: skip
    for entry, about in zip(entries, index["images"], strict=True):
        image = Image.open(entry["file_name"])
        with torch.no_grad():
            expected = model(normalize(EvalView(64)(image))[None]).softmax(1)[0]
        assert entry["label"] == expected.argmax()
        assert entry["score"] == pytest.approx(expected.max().item(), rel=1e-5)
        assert [item["score"] for item in entry["top"]] == sorted((i["score"] for i in entry["top"]), reverse=True)
        assert (about["width"], about["height"]) == image.size
    assert index["categories"][2] == {"id": 2, "name": "two"}
    assert {path.relative_to(out).as_posix() for path in out.rglob("*.png")} == {
        "overlays/0.png", "overlays/1.png", "overlays/2.png", "overlays/more/3.png", "overlays/more/4.png",
    }  # fmt: skip
    drawn, image = np.asarray(Image.open(out / "overlays/2.png")), np.asarray(Image.open(photos / "2.png"))
    assert np.array_equal(drawn[:70, :50], image)
    assert drawn[70:].max() > 200  # the caption
    assert "5 images and frames in" in said
    assert "per second" in said
    check_tiny(predict, MINI, checkpoint)


def test_a_plain_state_dict_of_torchvision(predict, photos, tmp_path):
    network = disturb(torchvision.models.resnet18())
    # Its published files are older than the count of batches.
    state = {name: value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "r18.pth")
    out, _ = predict("resnet18", tmp_path / "r18.pth", photos / "0.png")
    (entry,), _ = read(out)
    weights = torchvision.models.ResNet18_Weights.DEFAULT
    with torch.no_grad():
        expected = network(weights.transforms()(Image.open(photos / "0.png"))[None])
    assert entry["label"] == expected.argmax()
    assert entry["class"] == weights.meta["categories"][entry["label"]]
    _, said = predict("resnet34", tmp_path / "r18.pth", photos / "0.png", code=1)
    assert "r18.pth does not fit this config's model" in said


def test_an_exported_classifier_says_what_ours_says(predict, photos, tmp_path):
    file = str(ROOT / "projects/classification/gcisg_r101_visda17.py")
    config = load_config(file, CLASSIFICATION)
    model = disturb(MODELS.build(config.model))
    torch.save({"state_dict": model.state_dict()}, tmp_path / "iter_1.pth")
    exported = write_export(export_classifier(config, str(tmp_path / "iter_1.pth")), tmp_path, "net")
    out, _ = predict(exported.with_suffix(".py"), exported, photos / "0.png")
    plain = read(out)
    out, _ = predict(file, exported, photos / "0.png", "--overrides", *CLASSIFICATION)
    assert read(out) == plain
    out, _ = predict(file, tmp_path / "iter_1.pth", photos / "0.png", "--overrides", *CLASSIFICATION)
    assert read(out) == plain
    assert plain[1]["categories"][0]["name"] == "aeroplane"


def test_a_segmentor_maps_images(predict, photos, tmp_path):
    file = ROOT / "projects/segmentation/gcisg_r50_deeplabv3_gtav2cityscapes.py"
    config = load_config(str(file), SEGMENTATION)
    init_default_scope("mmseg")
    model = disturb(MODELS.build(config.model))
    torch.save({"state_dict": model.state_dict(), "meta": {}}, tmp_path / "iter_1.pth")
    out, _ = predict(file, tmp_path / "iter_1.pth", photos, "--batch-size", 4, "--overrides", *SEGMENTATION)
    entries, index = read(out)
    for entry in entries:
        name = Path(entry["file_name"]).relative_to(photos)
        pixels = torch.from_numpy(np.array(Image.open(entry["file_name"]))).permute(2, 0, 1)
        with torch.no_grad():
            meta = [{"img_shape": pixels.shape[1:], "ori_shape": pixels.shape[1:]}]
            expected = model.inference(normalize(pixels)[None], meta).argmax(1)[0].numpy()
        found = Image.open(out / "labels" / name)
        assert (found.mode, found.size) == ("P", expected.shape[::-1])
        assert (np.asarray(found) == expected).mean() > 0.999  # normalised in another order
        assert sum(entry["shares"].values()) == pytest.approx(1)
        assert Image.open(out / "overlays" / name).size == found.size
    assert index["categories"][13]["name"] == "car"
    assert found.getpalette()[13 * 3 : 14 * 3] == [0, 0, 142]

    labels = {path.name: path.read_bytes() for path in out.rglob("labels/*.png")}
    plain = write_export(export_segmentor(config, str(tmp_path / "iter_1.pth")), tmp_path, "net")
    out, _ = predict(plain.with_suffix(".py"), plain, photos)
    assert {path.name: path.read_bytes() for path in out.rglob("labels/*.png")} == labels
    out = check_tiny(predict, plain.with_suffix(".py"), plain)
    assert [Image.open(path).size for path in sorted(out.glob("labels/tiny*.png"))] == [(1, 1), (1, 9), (9, 1)]


def test_a_detector_gives_cocos_results(predict, photos, tmp_path, monkeypatch):
    file = ROOT / "projects/detection/gcisg_r50_fpn.yaml"
    overrides = [*map(str, TINY), "REGULARIZER.QUEUE_LENGTH", "32", "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0"]
    cfg = read_config(file, overrides)
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    with torch.no_grad():
        for weight in model.backbone.parameters():
            weight.mul_(0.7)  # without a training the frozen normalisation lets the features overflow
    torch.save({"model": model.state_dict(), "iteration": 3}, tmp_path / "model_final.pth")
    arguments = ["--score", 0.3]  # one by one: the framework pads the images of a batch to one size
    out, _ = predict(file, tmp_path / "model_final.pth", photos, *arguments, "--overrides", *overrides)
    entries, index = read(out)
    loaded = COCO(str(out / "images.json")).loadRes(str(out / "predictions.json"))
    assert loaded.loadCats([0])[0]["name"] == "car"

    exported = write_export(export_detector(cfg, str(tmp_path / "model_final.pth")), tmp_path, "net")
    monkeypatch.chdir(tmp_path)
    plain = read_config(exported.with_suffix(".yaml"), ["MODEL.DEVICE", "cpu"])
    framework = DefaultPredictor(plain)
    for about in index["images"]:
        found = framework(cv2.imread(about["file_name"]))["instances"]
        theirs = sorted(found.scores.tolist())
        ours = sorted(entry["score"] for entry in entries if entry["image_id"] == about["id"])
        assert len(ours) > 0
        np.testing.assert_allclose(ours, theirs, rtol=1e-3)
        boxes = torch.tensor([entry["bbox"] for entry in entries if entry["image_id"] == about["id"]])
        boxes[:, 2:] += boxes[:, :2]
        assert torch.cdist(boxes, found.pred_boxes.tensor).min(dim=1).values.max() < 0.5  # pixels of the file's image
    out, _ = predict(exported.with_suffix(".yaml"), exported, photos, *arguments)
    assert read(out) == (entries, index)
    drawn = [path.read_bytes() for path in sorted((out / "overlays").rglob("*.png"))]
    out, _ = predict(exported.with_suffix(".yaml"), exported, photos, "--score", 1.1)
    bare = [path.read_bytes() for path in sorted((out / "overlays").rglob("*.png"))]
    assert len(drawn) == len(bare) == len(index["images"])
    assert all(one != other for one, other in zip(drawn, bare, strict=True))
    check_tiny(predict, exported.with_suffix(".yaml"), exported)


class TestVideo:
    @pytest.fixture
    def film(self, tmp_path):
        writer = cv2.VideoWriter(str(tmp_path / "film.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 5.0, (64, 48))
        for number in range(7):
            writer.write(np.ascontiguousarray(np.asarray(picture(number, (64, 48)))[..., ::-1]))
        writer.release()
        return tmp_path / "film.mp4"

    def test_every_frame_has_a_line_and_a_picture(self, predict, classifier, film):
        out, said = predict(MINI, classifier[1], film, "--batch-size", 3)
        lines = [json.loads(line) for line in (out / "film.jsonl").read_text().splitlines()]
        assert [line["frame"] for line in lines] == list(range(7))
        assert lines[5]["seconds"] == pytest.approx(1)
        assert all(line["predictions"][0]["class"] for line in lines)
        capture = cv2.VideoCapture(str(out / "film.mp4"))
        assert (capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)) == (7, 5)
        assert "7 images and frames" in said

    def test_a_segmentor_with_a_backbone_of_ours(self, predict, film, tmp_path):
        file = ROOT / "projects/segmentation/gcisg_mini.py"
        config = load_config(str(file), ["model.regularizer.queue_length=8"])
        init_default_scope("mmseg")
        torch.save({"state_dict": MODELS.build(config.model).state_dict()}, tmp_path / "iter_1.pth")
        out, _ = predict(file, tmp_path / "iter_1.pth", film, "--batch-size", 7)
        lines = [json.loads(line) for line in (out / "film.jsonl").read_text().splitlines()]
        assert len(lines) == 7
        assert sum(lines[6]["predictions"][0]["shares"].values()) == pytest.approx(1)

    def test_a_damaged_film_is_named(self, predict, classifier, film):
        film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
        out, said = predict(MINI, classifier[1], film, code=1)
        assert f"{film}: no frame can be read" in said
        assert not list(out.rglob("film*"))


class TestWhatCannotBeRead:
    def test_is_named_and_the_rest_is_predicted(self, predict, classifier, photos):
        (photos / "cut.png").write_bytes((photos / "0.png").read_bytes()[:60])
        (photos / "notes.txt").write_text("no image")
        out, said = predict(MINI, classifier[1], photos, code=1)
        assert f"error: {photos}/cut.png: not a readable image" in said
        assert f"left out 1 files, neither image nor video: {photos}/notes.txt" in said
        assert len(read(out)[0]) == 5

    def test_hidden_files_are_counted_and_not_predicted(self, predict, classifier, photos):
        for name in ("._0.png", ".ipynb_checkpoints/0-checkpoint.png", ".DS_Store"):
            (photos / name).parent.mkdir(exist_ok=True)
            (photos / name).write_bytes((photos / "0.png").read_bytes())
        out, said = predict(MINI, classifier[1], photos)
        assert "left out 3 files, hidden by their name: " in said
        assert len(read(out)[0]) == 5

    @pytest.mark.parametrize(("name", "message"), [
        ("absent.png", "absent.png: no such file or folder"), ("empty", "empty: no image (.jpg"), (".", "lies in"),
        ("notes.txt", "notes.txt: neither image nor video by its suffix"), ("twice", "would both give the result a"),
    ])  # fmt: skip
    def test_is_said_before_anything_is_predicted(self, predict, classifier, tmp_path, name, message):
        (tmp_path / "notes.txt").write_text("no image")
        for folder in ("empty", "twice"):
            (tmp_path / folder).mkdir()
        for file in ("a.png", "a.jpg"):
            picture(0, (9, 9)).save(tmp_path / "twice" / file)
        out, said = predict(MINI, classifier[1], tmp_path / name, code=1)
        assert message in said
        assert not out.exists()

    @pytest.mark.remedy("so results would be taken for images; name another")
    def test_results_among_the_images(self, predict, classifier, photos, tmp_path, tmp_path_factory):
        _, said = predict(MINI, classifier[1], tmp_path, code=1)
        assert f"--output {tmp_path}/out lies in {tmp_path}, so results would be taken for images; name another" in said
        other, given = tmp_path_factory.mktemp("other"), ["--checkpoint", str(classifier[1]), "--device", "cpu"]
        main(["predict", "--config", str(MINI), *given, "--output", str(other), str(tmp_path)])
        assert len(read(other)[0]) == 5

    def test_a_checkpoint_of_another_model(self, predict, photos, tmp_path):
        torch.save({"state_dict": torchvision.models.resnet18().state_dict()}, tmp_path / "other.pth")
        _, said = predict(MINI, tmp_path / "other.pth", photos, code=1)
        assert "other.pth does not fit this config's model" in said

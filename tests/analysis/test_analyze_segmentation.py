"""A plain config and checkpoint of MMSegmentation, and a checkpoint of this suite, to the page."""

import copy
import re
import shutil

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image

from tests.analysis.pages import analyze, below_failures, read
from tests.command import gcisg

CLASSES = ("road", "car", "person")
NORM = {"type": "SyncBN", "requires_grad": True}  # as mmseg's own configs have it
PLAIN = {
    "default_scope": "mmseg",
    "model": {
        "type": "EncoderDecoder",
        "data_preprocessor": {
            "type": "SegDataPreProcessor", "mean": [120.0] * 3, "std": [60.0] * 3, "bgr_to_rgb": True,
        },
        "backbone": {
            "type": "ResNet", "depth": 18, "norm_cfg": NORM, "strides": (1, 2, 1, 1), "dilations": (1, 1, 2, 4),
            "stem_channels": 8, "base_channels": 8, "init_cfg": {"type": "Pretrained", "checkpoint": "open-mmlab://no"},
        },
        "decode_head": {
            "type": "FCNHead", "in_channels": 64, "in_index": 3, "channels": 8, "num_convs": 1, "norm_cfg": NORM,
            "num_classes": 3, "align_corners": False,
        },
        "train_cfg": {},
        "test_cfg": {"mode": "slide", "crop_size": (48, 48), "stride": (24, 24)},
    },
    "test_dataloader": {
        "batch_size": 1,
        "dataset": {
            "type": "BaseSegDataset", "data_root": "elsewhere", "img_suffix": ".png", "seg_map_suffix": ".png",
            "data_prefix": {"img_path": "images", "seg_map_path": "labels"},
            "metainfo": {"classes": CLASSES, "palette": [[0, 0, 0]] * 3},
            "pipeline": [{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"}, {"type": "PackSegInputs"}],
        },
    },
    "test_evaluator": {"type": "IoUMetric", "iou_metrics": ["mIoU"]},
}  # fmt: skip


# It takes images of one size, as BEiT does.
BEIT = {"type": "BEiT", "img_size": 48, "embed_dims": 24, "num_layers": 3, "num_heads": 3, "out_indices": (2,)}


@pytest.fixture(params=["resnet"])
def files(tmp_path, request):
    """Three labelled images, the config, and three checkpoints."""
    config = copy.deepcopy(PLAIN)
    if request.param == "beit":
        config["model"]["backbone"] = BEIT
        config["model"]["decode_head"] |= {"in_channels": 24, "in_index": 0}
    init_default_scope("mmseg")
    from mmseg.registry import MODELS

    rng = np.random.default_rng(0)
    for part in ("images", "labels"):
        (tmp_path / "data" / part).mkdir(parents=True)
    for number in range(3):
        labels = np.kron(rng.integers(0, 3, (4, 6)), np.ones((16, 16))).astype(np.uint8)
        labels[:4] = 255
        pixels = rng.integers(0, 60, (64, 96, 3)) + 60 * (labels % 4)[..., None]
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"data/images/{number}.png")
        Image.fromarray(labels).save(tmp_path / f"data/labels/{number}.png")
    Config(config).dump(tmp_path / "plain.py")
    torch.manual_seed(0)
    models = [MODELS.build(Config(config).model) for _ in range(2)]
    torch.save({"state_dict": models[0].state_dict(), "meta": {"iter": 3}}, tmp_path / "plain.pth")
    beside = {"regularizer.queues.stage3.vectors": torch.zeros(2, 2)}
    torch.save({"state_dict": models[1].state_dict() | beside}, tmp_path / "ours.pth")
    channels = config["model"]["decode_head"]["in_channels"]
    classifier = {"fc.weight": torch.randn(3, channels), "fc.bias": torch.zeros(3)}
    torch.save(models[0].backbone.state_dict() | classifier, tmp_path / "pretrained.pth")
    return tmp_path


def test_a_plain_segmentor_and_ours_side_by_side(files, monkeypatch):
    sure = below_failures(monkeypatch)
    analyze("--config", files / "plain.py", "--data", files / "data", "--out", files / "page",
            "--device", "cpu", "--reference", files / "pretrained.pth",
            "--checkpoint", f"plain={files / 'plain.pth'}", f"ours={files / 'ours.pth'}")  # fmt: skip
    content, page = read(files / "page")
    plain, ours = content["checkpoints"]
    # The reference is the backbone of the plain model.
    assert [plain["metrics"][f"cka_stage{stage}"] for stage in (1, 2, 3, 4)] == pytest.approx([1] * 4)
    assert ours["metrics"]["cka"] < 0.999
    counts = np.array(plain["confusion"]["counts"])
    assert counts.sum() == 3 * 60 * 96  # the ignored rows are left out
    union = counts.sum(0) + counts.sum(1) - counts.diagonal()
    assert plain["metrics"]["mIoU"] == pytest.approx(100 * (counts.diagonal() / union).mean())
    assert content["differences"][0]["paired_over_images"]["match_rate"]["pairs"] == 3
    assert len(sure) == 6
    assert all(re.fullmatch(r"mean confidence \d+ %\n\d+ % of pixels correct", text) for text in sure)
    assert len(page.pictures) == 6


def test_without_its_pretrained_weights_the_page_says_so(files, monkeypatch):
    analyze("--config", files / "plain.py", "--data", files / "data", "--out", files / "page",
            "--device", "cpu", "--checkpoint", files / "plain.pth")  # fmt: skip
    content, page = read(files / "page")
    assert "give its weights as --reference" in content["reference"]["metrics"]["reference"]
    assert content["checkpoints"][0]["metrics"]["cka"] == "no pretrained network to compare with"
    assert isinstance(content["checkpoints"][0]["metrics"]["energy_1"], float)
    assert content["differences"] == []
    assert len(page.pictures) == 5


@pytest.mark.parametrize("files", ["beit"], indirect=True)
def test_a_backbone_of_one_size_is_analysed_in_the_windows_of_the_test(files):
    for name in ("a", "b", "c"):
        (files / "imagenet" / name).mkdir(parents=True)
        shutil.copy(files / "data/images/0.png", files / "imagenet" / name)
    analyze("--config", files / "plain.py", "--data", files / "data", "--out", files / "page", "--device", "cpu",
            "--reference", files / "pretrained.pth", "--imagenet", files / "imagenet",
            "--checkpoint", files / "plain.pth")  # fmt: skip
    content, page = read(files / "page")
    metrics = content["checkpoints"][0]["metrics"]
    assert metrics["cka"] == pytest.approx(1)
    assert metrics["acc_in"] == pytest.approx(100 / 3)  # three times one image, resized to 48 x 48
    assert len(page.pictures) == 5


@pytest.mark.remedy("or let the test predict in windows of it: model.test_cfg")
@pytest.mark.parametrize("files", ["beit"], indirect=True)
def test_a_backbone_of_one_size_says_it_where_the_test_shows_it_whole_images(files):
    file = files / "plain.py"
    file.write_text(file.read_text() + "\nmodel['test_cfg'] = dict(mode='whole')\n")
    ended = gcisg("analyze", "--config", file, "--data", files / "data", "--out", files / "page", "--device", "cpu",
                  "--checkpoint", files / "plain.pth")  # fmt: skip
    assert ended.code == 1
    assert ended.err.splitlines()[-1] == (
        "error: BEiT takes images of 48 x 48 pixels, got 64 x 96: crop or resize images to it in the pipeline, or let "
        'the test predict in windows of it: model.test_cfg=dict(mode="slide", crop_size=(48, 48), stride=(48, 48))'
    )
    setting = ended.err.rpartition("windows of it: model.test_cfg=")[2].strip()
    file.write_text(f"{file.read_text()}model['test_cfg'] = {setting}\n")
    analyze("--config", file, "--data", files / "data", "--out", files / "page", "--device", "cpu",
            "--checkpoint", files / "plain.pth")  # fmt: skip
    assert (files / "page/analysis.json").is_file()

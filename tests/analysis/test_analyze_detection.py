"""A plain config and checkpoint of Detectron2, and a checkpoint of this suite, to the page."""

import json
import re

import pytest
import torch
import yaml

pytest.importorskip("detectron2")
import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

# isort: split
from detectron2.config import get_cfg
from detectron2.modeling import build_model

from tests.analysis.pages import analyze, below_failures, read
from tests.detection.scenes import SIZE, TINY, picture

BOXES = [[(10, 20, 60, 70)], [(30, 20, 90, 80), (5, 5, 25, 25)], []]


def plain_config(path):
    """A file that Detectron2 alone can read."""
    stages, levels = ["res2", "res3", "res4", "res5"], ["p2", "p3", "p4", "p5"]
    values = {
        "MODEL.BACKBONE.NAME": "build_resnet_fpn_backbone",
        "MODEL.RESNETS.OUT_FEATURES": stages,
        "MODEL.FPN.IN_FEATURES": stages,
        "MODEL.RPN.IN_FEATURES": [*levels, "p6"],
        "MODEL.ANCHOR_GENERATOR.SIZES": [[8], [16], [32], [64], [128]],
        "MODEL.ROI_HEADS.NAME": "StandardROIHeads",
        "MODEL.ROI_HEADS.IN_FEATURES": levels,
        "MODEL.ROI_HEADS.NUM_CLASSES": 1,
        "MODEL.ROI_BOX_HEAD.NAME": "FastRCNNConvFCHead",
        "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 7,
        "MODEL.PIXEL_STD": [57.375, 57.12, 58.395],
        "DATASETS.TEST": ["coco_2017_val"],
    }
    values |= {key: list(value) if isinstance(value, tuple) else value
               for key, value in zip(TINY[::2], TINY[1::2], strict=True)}  # fmt: skip
    tree = {"VERSION": 2}
    for key, value in values.items():
        *parents, last = key.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    path.write_text(yaml.safe_dump(tree))
    return path


@pytest.fixture
def files(tmp_path):
    """Three images with a COCO file above them, the config, and checkpoints."""
    images, annotations = [], []
    (tmp_path / "photos").mkdir()
    for number, boxes in enumerate(BOXES):
        picture(number, boxes).save(tmp_path / f"photos/{number}.png")
        images.append({"id": number, "file_name": f"photos/{number}.png", "width": SIZE[0], "height": SIZE[1]})
        for x1, y1, x2, y2 in boxes:
            box, area = [x1, y1, x2 - x1, y2 - y1], (x2 - x1) * (y2 - y1)
            annotations.append({"id": len(annotations) + 1, "image_id": number, "category_id": 1, "bbox": box,
                                "area": area, "iscrowd": 0})  # fmt: skip
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "box"}]}
    (tmp_path / "val.json").write_text(json.dumps(content))
    cfg = get_cfg()
    cfg.merge_from_file(str(plain_config(tmp_path / "plain.yaml")))
    for name, beside in (("plain", {}), ("ours", {"regularizer.captured": torch.tensor(True)})):
        torch.manual_seed(len(name))
        model = build_model(cfg)
        with torch.no_grad():
            for weight in model.backbone.parameters():
                weight.mul_(0.7)  # the frozen normalisation would let the features overflow
            model.roi_heads.box_predictor.cls_score.bias[:] = torch.tensor([2.0, 0.0])
        torch.save({"model": model.state_dict() | beside, "iteration": 3}, tmp_path / f"{name}.pth")
    return tmp_path


def arguments(files, *more):
    return ["--config", files / "plain.yaml", "--data", files / "val.json", "--out", files / "page",
            "--device", "cpu", *more]  # fmt: skip


@pytest.mark.remedy(
    "needs validation images of the pretraining task: --imagenet",
    "Give data of the detector's classes as --data, or as the config's test data",
)
def test_a_plain_detector_and_ours_side_by_side(files, monkeypatch):
    with pytest.raises(SystemExit, match=r"NUM_CLASSES is 4, but analysis has 1: box\. Give data of the detector's"):
        analyze(*arguments(files, "--checkpoint", files / "plain.pth", "--", "MODEL.ROI_HEADS.NUM_CLASSES", "4"))
    sure = below_failures(monkeypatch)
    analyze(*arguments(files, "--reference", files / "plain.pth", "--checkpoint",
                                    f"plain={files / 'plain.pth'}", f"ours={files / 'ours.pth'}"))  # fmt: skip
    content, page = read(files / "page")
    plain, ours = content["checkpoints"]
    assert [plain["metrics"][f"cka_stage{stage}"] for stage in (1, 2, 3, 4)] == pytest.approx([1] * 4)
    assert ours["metrics"]["cka"] < 0.999
    assert isinstance(plain["metrics"]["AP50"], float)
    assert plain["confusion"]["axes"] == ["box", "background"]
    assert sum(plain["confusion"]["counts"][0]) == 3
    assert content["reference"]["metrics"]["acc_in"] == "needs validation images of the pretraining task: --imagenet"
    assert content["data"]["images"] == 3
    assert len(sure) == 6
    assert all(re.fullmatch(r"scores [\d., ]+|no box above 0.5(; the best score is 0.\d\d)?", text) for text in sure)
    assert len(page.pictures) == 6

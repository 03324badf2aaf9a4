"""Keypoints, proposals, label images and panoptic data of your own: trained with a method, each with its evaluator."""

import importlib.machinery
import json
import math
import sys
import types

import numpy as np
import pytest

pytest.importorskip("detectron2")
import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

# isort: split
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from gcisg_core.problems import DataError
from gcisg_det.config import read_config
from gcisg_det.datasets import setup_datasets
from gcisg_det.evaluation import evaluate
from gcisg_det.evaluators import build_evaluator, headline
from gcisg_det.mapper import build_mapper
from gcisg_det.predict import Predictor
from tests.coco.files import make
from tests.detection.scenes import PROJECT, TINY, framework_log, picture, train

KEYPOINTS = ["nose", "left_ear", "right_ear", "tail"]
SMALL = [
    "MODEL.META_ARCHITECTURE", "SynToRealDetector", "REGULARIZER.QUEUE_LENGTH", 8, "MODEL.ROI_HEADS.NUM_CLASSES", 2,
    "SOLVER.MAX_ITER", 2, "SOLVER.STEPS", (), "MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0,
    "MODEL.ROI_KEYPOINT_HEAD.CONV_DIMS", (8,), "MODEL.ROI_MASK_HEAD.CONV_DIM", 8, "MODEL.ROI_MASK_HEAD.NUM_CONV", 1,
    "MODEL.SEM_SEG_HEAD.CONVS_DIM", 32, "MODEL.SEM_SEG_HEAD.NUM_CLASSES", 3,
]  # fmt: skip
ARCHITECTURES = {
    "keypoints": ["MODEL.PARENT_ARCHITECTURE", "GeneralizedRCNN", "MODEL.KEYPOINT_ON", True,
                  "MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS", 4, "TEST.KEYPOINT_OKS_SIGMAS", [0.1] * 4,
                  "MODEL.ROI_KEYPOINT_HEAD.MIN_KEYPOINTS_PER_IMAGE", 0],
    "box_proposals": ["MODEL.PARENT_ARCHITECTURE", "ProposalNetwork"],
    "sem_seg": ["MODEL.PARENT_ARCHITECTURE", "SemanticSegmentor"],
    "panoptic": ["MODEL.PARENT_ARCHITECTURE", "PanopticFPN", "MODEL.MASK_ON", True],
}  # fmt: skip
RESULTS = {"keypoints": {"bbox", "keypoints"}, "panoptic": {"bbox", "segm", "sem_seg"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two sets of three images with boxes, masks, four keypoints and label images."""
    root = tmp_path_factory.mktemp("own data")
    for number, name in enumerate(("synthetic", "real")):
        content = make()
        for item in content["categories"]:
            item |= {"keypoints": KEYPOINTS, "skeleton": [[1, 2], [1, 3]]}
        for item in content["annotations"]:
            x, y, width, height = item["bbox"]
            item["keypoints"] = [x + 2, y + 2, 2, x + width - 2, y + 2, 2, x + 9, y + height - 2, 1, 0, 0, 0]
        (root / name / "labels").mkdir(parents=True)
        for image in content["images"]:
            picture(image["id"] + 7 * number, size=(96, 64)).save(root / name / image["file_name"])
            labels = np.repeat([0, 1, 2, 255], 16)[:, None].repeat(96, axis=1).astype(np.uint8)
            Image.fromarray(labels).save(root / name / "labels" / image["file_name"])
        (root / name / "own.json").write_text(json.dumps(content))
    return root


def config(folder, output, *overrides):
    sets = ("synthetic", "real")
    own = [[name, str(folder / name / "own.json"), str(folder / name)] for name in sets]
    labels = [[name, str(folder / name / "labels"), "things, road, sky"] for name in sets]
    data = [
        "DATASETS.COCO",
        own,
        "DATASETS.SEM_SEG",
        labels,
        "DATASETS.TRAIN",
        ("synthetic",),
        "DATASETS.TEST",
        ("real",),
    ]
    cfg = read_config(PROJECT / "gcisg_r50_fpn.yaml", [*TINY, *SMALL, *data, "OUTPUT_DIR", str(output), *overrides])
    setup_datasets(cfg)
    return cfg


@pytest.mark.remedy("predictions are boxes, but {} gives {}; `gcisg eval` takes it")
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_trains_with_a_method_and_is_evaluated_by_what_it_predicts(kind, folder, tmp_path):
    cfg = config(folder, tmp_path, *ARCHITECTURES[kind])
    train(cfg)
    last = {key: value for line in (tmp_path / "metrics.json").open() for key, value in json.loads(line).items()}
    assert math.isfinite(last["loss_ci_stage4"])
    tasks = RESULTS.get(kind, {kind})
    assert {key.split("/")[1] for key in last if key.startswith("real/")} == tasks
    results = {task: {"AP": 1.0, "mIoU": 1.0, "AR@100": 1.0} for task in tasks}
    assert all(task in headline(results) for task in tasks)
    name = {"box_proposals": "AR@100", "sem_seg": "mIoU"}.get(kind)
    if name:  # by the command for one checkpoint, too
        (tmp_path / "own.yaml").write_text(cfg.dump())
        checkpoint = str(tmp_path / "model_final.pth")
        with pytest.raises(ValueError, match="predictions are boxes, but .*; `gcisg eval` takes it"):
            Predictor(cfg, checkpoint, "cpu", 0.0).predict([np.zeros((64, 96, 3), np.uint8)])
        found = evaluate(str(tmp_path / "own.yaml"), checkpoint, True, str(tmp_path / "again"))
        assert found[name] == pytest.approx(last[f"real/{kind}/{name}"])


def test_keypoints_are_known_by_their_names_and_mirrored_in_pairs(folder, tmp_path):
    cfg = config(folder, tmp_path, *ARCHITECTURES["keypoints"])
    metadata = MetadataCatalog.get("synthetic")
    assert metadata.keypoint_names == KEYPOINTS
    assert metadata.keypoint_flip_map == [("left_ear", "right_ear")]
    assert [*build_mapper(cfg, True).keypoint_hflip_indices] == [0, 2, 1, 3]


@pytest.mark.remedy("panopticapi is not installed: pip install git")
@pytest.mark.parametrize(
    ("given", "installed", "said"),
    [
        (False, True, "it has no panoptic labels (DATASETS.PANOPTIC)"),
        (True, False, "without panoptic quality: panopticapi is not installed"),
        (True, True, ""),
    ],
)
def test_panoptic_quality_needs_its_truth_and_a_package(given, installed, said, folder, tmp_path, caplog, monkeypatch):
    package = types.ModuleType("panopticapi")
    package.__spec__ = importlib.machinery.ModuleSpec("panopticapi", None)
    monkeypatch.setitem(sys.modules, "panopticapi", package if installed else None)
    categories = [{"id": 7, "name": "sky", "isthing": 0}, {"id": 5, "name": "road", "isthing": 0}]
    categories.append({"id": 1, "name": "cup", "isthing": 1})
    content = {"images": [{"id": 1}], "annotations": [], "categories": categories}
    (tmp_path / "truth.json").write_text(json.dumps(content))
    truth = [["real", str(tmp_path / "truth.json"), str(tmp_path)]] if given else []
    cfg = config(folder, tmp_path, *ARCHITECTURES["panoptic"], "DATASETS.PANOPTIC", truth)
    with framework_log(caplog):
        evaluators = build_evaluator(cfg, "real")
    assert said in caplog.text
    kinds = [type(evaluator).__name__ for evaluator in evaluators._evaluators]
    assert kinds == ["BoxEvaluator", "SemSegEvaluator"] + ["COCOPanopticEvaluator"] * (not said)
    if given:
        assert MetadataCatalog.get("real").stuff_dataset_id_to_contiguous_id == {5: 1, 7: 2}


@pytest.mark.parametrize(
    ("kind", "overrides", "message"),
    [
        ("keypoints", ["TEST.KEYPOINT_OKS_SIGMAS", []], "TEST.KEYPOINT_OKS_SIGMAS must be 4 numbers, one per keypoint"),
        ("keypoints", ["MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS", 5, "TEST.KEYPOINT_OKS_SIGMAS", [0.1] * 5],
         "MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS is 5, but real has 4: nose, left_ear"),
        ("sem_seg", ["MODEL.SEM_SEG_HEAD.NUM_CLASSES", 9], "SEM_SEG_HEAD.NUM_CLASSES is 9, but real has 3: things"),
        ("sem_seg", ["DATASETS.SEM_SEG", []], "DATASETS.TEST must be data with label images .*DATASETS.SEM_SEG"),
        ("panoptic", ["DATASETS.PANOPTIC", [["synthetic", "a"]]], r"DATASETS.PANOPTIC has .*\[name, panoptic JSON"),
        ("sem_seg", ["DATASETS.SEM_SEG", [["other", "a", "b"]]], r"the entry .*\['synthetic', 'real'\]"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_data_is_named(kind, overrides, message, folder, tmp_path):
    with pytest.raises(ValueError, match=message):
        build_evaluator(config(folder, tmp_path, *ARCHITECTURES[kind], *overrides), "real")


@pytest.mark.remedy("Use the same names in both", "Name the folder in SEM_SEG")
def test_names_and_folder_of_label_images(folder, tmp_path):
    def truth(*names):
        content = {"categories": [{"id": 5 + k, "name": name, "isthing": 0} for k, name in enumerate(names)]}
        content |= {"images": [{"id": 1}], "annotations": []}
        (tmp_path / "truth.json").write_text(json.dumps(content))
        panoptic = ["DATASETS.PANOPTIC", [["real", str(tmp_path / "truth.json"), str(tmp_path)]]]
        return config(folder, tmp_path, *ARCHITECTURES["panoptic"], *panoptic)

    with pytest.raises(DataError, match="`categories` lack sky with isthing 0.* Use the same names in both"):
        truth("Sky", "road")
    truth("sky", "road")
    elsewhere = [["synthetic", str(tmp_path), "things, road, sky"]]
    config(folder, tmp_path, *ARCHITECTURES["sem_seg"], "DATASETS.SEM_SEG", elsewhere, "DATASETS.TEST", ())
    with pytest.raises(DataError, match="1.png: the label image of .* does not exist. Name the folder in SEM_SEG"):
        DatasetCatalog.get("synthetic")
    config(folder, tmp_path, *ARCHITECTURES["sem_seg"])
    assert len(DatasetCatalog.get("synthetic")) == 3

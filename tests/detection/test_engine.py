"""Resume after a kill, checkpoints, evaluation against pycocotools, jitter and configs of the detection project."""

import contextlib
import io
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("detectron2")
import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

# isort: split
from detectron2.data import MetadataCatalog, get_detection_dataset_dicts
from detectron2.structures import Boxes, Instances
from detectron2.utils.logger import setup_logger
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from gcisg_core.integrations.detectron2.checkpoints import SafeCheckpointer
from gcisg_core.integrations.detectron2.resume import build_train_loader, seeded
from gcisg_core.integrations.detectron2.weights import STATISTICS, check_pixel_statistics, torchvision_to_detectron2
from gcisg_core.problems import DataError
from gcisg_core.safe_load import read_checkpoint
from gcisg_det.config import read_config
from gcisg_det.engine import CarEvaluator, Trainer, end_earlier_logs
from gcisg_det.mapper import build_mapper
from gcisg_suite.tasks import read_config as read_any_config
from tests.detection.scenes import (
    PROJECT,
    RETINA,
    SCENES,
    framework_log,
    make_cityscapes,
    make_sim10k,
    tiny_config,
    train,
)

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path):
    make_sim10k(tmp_path)
    make_cityscapes(tmp_path, SCENES)
    return tmp_path


def final(output):
    return torch.load(output / "model_final.pth", weights_only=True)


def assert_equal_checkpoints(first, second):
    assert first["model"].keys() == second["model"].keys()
    assert all(torch.equal(first["model"][key], second["model"][key]) for key in first["model"])
    momentum = [state["trainer"]["_trainer"]["optimizer"]["state"] for state in (first, second)]
    assert len(momentum[0]) > 10
    assert all(torch.equal(momentum[0][i]["momentum_buffer"], momentum[1][i]["momentum_buffer"]) for i in momentum[0])
    assert first["trainer"]["hooks"] == second["trainer"]["hooks"]


def test_killed_run_resumes_bit_equal_with_other_workers(root):
    train(tiny_config(root, root / "whole", config="gcisg_r50_fpn"))
    # Our `tests` before any other of that name; the framework under test as this process found it.
    path = [str(REPOSITORY), str(PROJECT), *filter(None, sys.path)]
    command = [sys.executable, REPOSITORY / "tests/detection/train_once.py", root, root / "killed", "3"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]
    assert not (root / "killed/model_final.pth").exists()
    assert (root / "killed/last_checkpoint").read_text() == "model_0000001.pth"
    train(tiny_config(root, root / "killed", "DATALOADER.NUM_WORKERS", 2, config="gcisg_r50_fpn"), resume=True)
    # Target, reference and queue are among them.
    assert_equal_checkpoints(final(root / "whole"), final(root / "killed"))
    lines = [json.loads(line) for line in (root / "killed/metrics.json").read_text().splitlines()]
    assert "cityscapes_val_car_coco/bbox/AP50" in lines[-1]


def test_resume_keeps_loss_normalizer_and_drawn_seed(root):
    cfg = tiny_config(root, root / "run", *RETINA, "SOLVER.MAX_ITER", 4, "SOLVER.STEPS", (3,), "SEED", -1)
    train(cfg)
    whole = final(root / "run")
    (root / "run/last_checkpoint").write_text("model_0000001.pth")
    train(cfg, resume=True)
    assert_equal_checkpoints(whole, final(root / "run"))
    state = whole["trainer"]["hooks"]["ExactResume"]
    assert state["seed"] >= 0
    assert state["loss_normalizer"] != 100


def test_run_stopped_before_its_final_checkpoint_ends_complete(root):
    """Between the last periodic checkpoint and the final one, both of the last step."""
    cfg = tiny_config(root, root / "run", "SOLVER.MAX_ITER", 2, "SOLVER.STEPS", (1,), "SOLVER.CHECKPOINT_PERIOD", 2)
    train(cfg)
    whole, files = final(root / "run"), {path.relative_to(root) for path in (root / "run").rglob("*")}
    (root / "run/model_final.pth").unlink()
    shutil.rmtree(root / "run/inference")
    (root / "run/last_checkpoint").write_text("model_0000001.pth")
    train(cfg, resume=True)
    assert_equal_checkpoints(whole, final(root / "run"))
    assert final(root / "run")["iteration"] == whole["iteration"] == 1
    assert (root / "run/last_checkpoint").read_text() == "model_final.pth"
    assert {path.relative_to(root) for path in (root / "run").rglob("*")} >= {f for f in files if "event" not in f.name}


def signature(batches, count):
    return [[(item["file_name"], item["image"].sum().item()) for item in next(batches)] for _ in range(count)]


@pytest.mark.parametrize("grouping", [False, True])
def test_loader_position_does_not_depend_on_workers_or_start(root, grouping):
    crop = ["INPUT.CROP.ENABLED", True, "INPUT.CROP.SIZE", [0.7, 0.7]]
    cfg = tiny_config(root, root / "out", "DATALOADER.ASPECT_RATIO_GROUPING", grouping, *crop)
    records = get_detection_dataset_dicts(list(cfg.DATASETS.TRAIN))

    def batches(start, workers):
        loader = build_train_loader(cfg, build_mapper(cfg, True))
        if grouping:  # two portrait images, so that a bucket is half full at times
            loader.sizes = [(2, 1) if i % 3 else (1, 2) for i in range(len(records))]
        loader.seed, loader.start, loader.num_workers = 5, start, workers
        return iter(loader)

    whole = signature(batches(0, 0), 9)
    assert signature(batches(4, 0), 5) == whole[4:]
    assert signature(batches(4, 2), 5) == whole[4:]
    assert len({name for batch in whole for name, _ in batch}) == 6
    sums = [total for batch in whole for _, total in batch]
    assert len(set(sums)) == len(sums)  # every visit of an image is augmented anew


def test_a_bad_image_is_replaced_where_told(root, caplog):
    cfg = tiny_config(root, root / "out", "INPUT.ON_BAD_SAMPLE", "skip")
    records = get_detection_dataset_dicts(list(cfg.DATASETS.TRAIN))
    bad = records[0]["file_name"]
    Path(bad).write_bytes(b"")

    def names(workers):
        loader = build_train_loader(cfg, build_mapper(cfg, True))
        loader.seed, loader.num_workers = 5, workers
        return signature(iter(loader), 6)

    found = names(0)
    assert found == names(2)
    assert bad not in {name for batch in found for name, _ in batch}
    assert f"Skipped: {bad}: not a readable image" in caplog.text
    with pytest.raises(DataError, match=r"not a readable image"):
        build_mapper(cfg, False)(records[0])
    with pytest.raises(ValueError, match=r"INPUT.ON_BAD_SAMPLE must be 'error' or 'skip', got 'pass'"):
        tiny_config(root, root / "out", "INPUT.ON_BAD_SAMPLE", "pass")


def test_seeded_restores_the_generators():
    torch.manual_seed(0)
    np.random.seed(0)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(0)
    np.random.seed(0)
    with seeded(1, 2):
        inside = torch.rand(1).item(), np.random.rand()
    assert (torch.rand(1), np.random.rand()) == expected
    with seeded(1, 2):
        assert (torch.rand(1).item(), np.random.rand()) == inside


def test_wrong_class_count_and_batch_size_are_refused(root):
    with pytest.raises(ValueError, match=r"MODEL.ROI_HEADS.NUM_CLASSES is 80, but sim10k_trainval_car has 1: car"):
        Trainer.build_train_loader(tiny_config(root, root / "out", "MODEL.ROI_HEADS.NUM_CLASSES", 80))
    with pytest.raises(ValueError, match=r"SOLVER.IMS_PER_BATCH is 0"):
        Trainer.build_train_loader(tiny_config(root, root / "out", "SOLVER.IMS_PER_BATCH", 0))


def predictions(records):
    """Two fixed boxes an image: a shifted truth (or a corner) and a false alarm."""
    rng = np.random.default_rng(3)
    for record in records:
        truth = [annotation["bbox"] for annotation in record["annotations"]][:1] or [(0, 0, 9, 9)]
        box = np.asarray(truth[0], dtype=float) + rng.uniform(-2, 2, 4)
        instances = Instances((record["height"], record["width"]))
        instances.pred_boxes = Boxes(torch.tensor(np.stack([box, [60, 5, 90, 25]]), dtype=torch.float32))
        instances.scores = torch.tensor(rng.uniform(0.2, 1, 2))
        instances.pred_classes = torch.tensor([0, 0])
        yield record, instances


@pytest.mark.parametrize("convention", ["coco", "da_faster"])
def test_evaluator_equals_pycocotools(root, convention, caplog):
    tiny_config(root, root / "out")
    name = f"cityscapes_val_car_{convention}"
    records = get_detection_dataset_dicts([name], filter_empty=False)
    evaluator = CarEvaluator(name, str(root / "out"))
    evaluator.reset()
    truth = {"images": [], "annotations": [], "categories": [{"id": 0, "name": "car"}]}
    found = []
    for record, instances in predictions(records):
        evaluator.process([record], [{"instances": instances}])
        key = {"image_id": record["image_id"], "category_id": 0}
        truth["images"].append({"id": record["image_id"], "width": record["width"], "height": record["height"]})
        for box, score in zip(instances.pred_boxes.tensor.tolist(), instances.scores.tolist(), strict=True):
            found.append({**key, "bbox": [*box[:2], box[2] - box[0], box[3] - box[1]], "score": score})
        for annotation in record["annotations"]:
            x1, y1, x2, y2 = annotation["bbox"]
            size = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
            number = len(truth["annotations"]) + 1
            truth["annotations"].append({**key, **size, "id": number, "iscrowd": annotation["iscrowd"]})
    with framework_log(caplog):
        results = evaluator.evaluate()
    with contextlib.redirect_stdout(io.StringIO()):
        api = COCO()
        api.dataset = {**truth, "info": {}}
        api.createIndex()
        official = COCOeval(api, api.loadRes(found), "bbox")
        official.evaluate()
        official.accumulate()
        official.summarize()
    ours = [results["bbox"][key] for key in ("AP", "AP50", "AP75")]
    assert ours == pytest.approx(100 * official.stats[:3], abs=1e-9)
    assert 0 < ours[0] < ours[1] < 100
    assert f"{name}, box convention {convention}: AP {ours[0]:.2f}, AP50 {ours[1]:.2f}" in caplog.text
    written = json.loads((root / "out/results.json").read_text())
    assert (written["convention"], written["results"]["bbox"]["AP"]) == (convention, ours[0])
    converted = json.loads((root / f"out/{name}_coco_format.json").read_text())
    assert len(converted["images"]) == 3
    crowds = [annotation["iscrowd"] for annotation in converted["annotations"]]
    assert crowds == ([0, 0, 1, 1, 0] if convention == "coco" else [0, 0, 0, 0])


def test_ground_truth_is_converted_anew_when_data_or_folder_changed(root):
    tiny_config(root, root / "out")
    CarEvaluator("cityscapes_val_car_coco", str(root / "first"))
    file = next((root / "cityscapes/gtFine").glob("val/*/*_000000_*.json"))
    file.write_text(file.read_text().replace('"car"', '"road"'))
    for folder in ("first", "second"):
        CarEvaluator("cityscapes_val_car_coco", str(root / folder))
        converted = json.loads((root / folder / "cityscapes_val_car_coco_coco_format.json").read_text())
        assert len(converted["annotations"]) == 3
    assert str(root / "second") in MetadataCatalog.get("cityscapes_val_car_coco").json_file


class Payload:
    def __reduce__(self):
        return (os.system, ("touch stolen",))


class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2))


def test_pickles_of_arrays_are_read_and_all_others_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arrays = {"model": {"weight": np.arange(2.0), "n": np.float32(1), "b": b"\xff"}, "__author__": "x"}
    for protocol in (2, 3, 4, 5):
        Path("good.pkl").write_bytes(pickle.dumps(arrays, protocol))
        assert read_checkpoint("good.pkl")["model"]["weight"].tolist() == [0, 1]
    bomb = b"c_codecs\nencode\n(Vx\nVzip_codec\ntR."
    damaged = Path("good.pkl").read_bytes()[:50]
    for content, reason in [(pickle.dumps(Payload()), "system"), (bomb, "zip_codec"), (damaged, "truncated|end")]:
        Path("bad.pkl").write_bytes(content)
        with pytest.raises(DataError, match=rf"bad.pkl: (is refused|cannot be read).*({reason}|ran out)"):
            SafeCheckpointer(Layer()).load("bad.pkl")
    torch.save({"model": Payload()}, "bad.pth")
    with pytest.raises(DataError, match=r"bad.pth: is refused: it asks for .*system"):
        SafeCheckpointer(Layer()).load("bad.pth")
    assert not Path("stolen").exists()


def test_checkpoint_is_whole_or_absent(tmp_path, monkeypatch):
    model, checkpointer = Layer(), SafeCheckpointer(Layer(), str(tmp_path))
    checkpointer.model = model
    checkpointer.save("model_0000001")
    assert {file.name for file in tmp_path.iterdir()} == {"model_0000001.pth", "last_checkpoint"}
    content = (tmp_path / "model_0000001.pth").read_bytes()

    def fail(data, stream):
        stream.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match=r"no space"):
        checkpointer.save("model_0000001")
    assert (tmp_path / "model_0000001.pth").read_bytes() == content
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000001.pth"


def test_missing_truncated_and_foreign_weights_are_named(tmp_path):
    checkpointer = SafeCheckpointer(Layer(), str(tmp_path))
    with pytest.raises(DataError, match=r"absent.pkl: the weights cannot be had .*MODEL.WEIGHTS"):
        checkpointer.load(str(tmp_path / "absent.pkl"))
    torch.save({"model": {"other": torch.zeros(3)}}, tmp_path / "other.pth")
    with pytest.raises(DataError, match=r"none of its 1 entries fits a parameter of Layer"):
        SafeCheckpointer(Layer()).load(str(tmp_path / "other.pth"))
    (tmp_path / "cut.pth").write_bytes((tmp_path / "other.pth").read_bytes()[:300])
    with pytest.raises(DataError, match=r"cut.pth: cannot be read as weights, it is damaged"):
        SafeCheckpointer(Layer()).load(str(tmp_path / "cut.pth"))


def with_statistics(kind):
    return [item for pair in STATISTICS[kind].items() for item in pair]


@pytest.mark.parametrize(("author", "kind"), [("Caffe2", "MSRA"), ("torchvision", "torchvision")])
def test_pixel_statistics_of_known_weights_are_checked(author, kind):
    right = read_config(PROJECT / "baseline_r101_fpn.yaml", with_statistics(kind))
    check_pixel_statistics(right, "weights/R-101.pkl", author)
    for key, value in with_statistics_pairs({"MSRA": "torchvision", "torchvision": "MSRA"}[kind]):
        wrong = read_config(PROJECT / "baseline_r101_fpn.yaml", [*with_statistics(kind), key, value])
        with pytest.raises(ValueError, match=rf"holds {kind} weights, but {key} is .*The config needs: INPUT.FORMAT"):
            check_pixel_statistics(wrong, "weights/R-101.pkl", author)


def with_statistics_pairs(kind):
    return list(STATISTICS[kind].items())


def test_shipped_configs_fit_the_weights_they_name():
    for name, depth in (("baseline_r101_fpn", 101), ("baseline_r50_fpn", 50)):
        cfg = read_config(PROJECT / f"{name}.yaml")
        check_pixel_statistics(cfg, cfg.MODEL.WEIGHTS, "Caffe2")
        assert cfg.MODEL.WEIGHTS.endswith(f"MSRA/R-{depth}.pkl")
        assert (depth, 30 * 10_000) == (cfg.MODEL.RESNETS.DEPTH, cfg.SOLVER.MAX_ITER * cfg.SOLVER.IMS_PER_BATCH)


def test_torchvision_weights_give_torchvisions_features(root):
    import torchvision

    torch.manual_seed(0)
    network = torchvision.models.resnet50(weights=None).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1)
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
    content = torchvision_to_detectron2({key: value.clone() for key, value in network.state_dict().items()})
    (root / "R-50.pkl").write_bytes(pickle.dumps(content))
    size = ["STEM_OUT_CHANNELS", 64, "RES2_OUT_CHANNELS", 256, "WIDTH_PER_GROUP", 64]
    size = [f"MODEL.RESNETS.{item}" if isinstance(item, str) else item for item in size]
    cfg = tiny_config(root, root / "out", *size, *with_statistics("torchvision"))
    model = Trainer.build_model(cfg).eval()
    SafeCheckpointer(model, cfg=cfg).load(str(root / "R-50.pkl"))
    image = torch.randint(0, 256, (3, 64, 96)).float()
    normalised = model.preprocess_image([{"image": image}]).tensor
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    theirs = ((image / 255 - mean[:, None, None]) / std[:, None, None])[None]
    assert torch.allclose(normalised, theirs, atol=1e-5)
    with torch.no_grad():
        ours = model.backbone.bottom_up(normalised)["res5"]
        stages = (network.conv1, network.bn1, network.relu, network.maxpool)
        stages += (network.layer1, network.layer2, network.layer3, network.layer4)
        for stage in stages:
            theirs = stage(theirs)
    assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-4 * theirs.abs().max().item())


def test_unknown_key_is_refused_with_the_nearest(tmp_path):
    file = tmp_path / "typo.yaml"
    file.write_text("SOLVER:\n  BASE_RL: 0.1\n")
    with pytest.raises(ValueError, match=r"unknown config key SOLVER.BASE_RL; the nearest valid key is SOLVER.BASE_LR"):
        read_config(file)
    with pytest.raises(ValueError, match=r"INPUT.COLOR_JITER; the nearest valid key is INPUT.COLOR_JITTER"):
        read_config(PROJECT / "baseline_r50_fpn.yaml", ["INPUT.COLOR_JITER", "[0, 0, 0, 0]"])
    with pytest.raises(ValueError, match=r"odd length"):
        read_config(PROJECT / "baseline_r50_fpn.yaml", ["SEED"])
    with pytest.raises(FileNotFoundError, match=r"absent.yaml"):
        read_config(tmp_path / "absent.yaml")


def test_second_run_of_a_process_logs_each_line_once(tmp_path, capsys):
    for run in ("first", "second"):
        end_earlier_logs()
        log = setup_logger(str(tmp_path / run))
        log.info("a line of the %s run", run)
    end_earlier_logs()
    assert capsys.readouterr().out.count("a line of the second run") == 1
    assert "second" not in (tmp_path / "first/log.txt").read_text()


@pytest.mark.parametrize("reader", [read_config, partial(read_any_config, overrides=[])])  # of analyze and select
def test_a_config_runs_no_code(tmp_path, reader):
    tag = f"!!python/object/apply:os.system ['touch {tmp_path / 'ran'}']"
    (tmp_path / "evil.yaml").write_text(f"SEED: 1\nMODEL:\n  WEIGHTS: {tag}\n")
    (tmp_path / "child.yaml").write_text("_BASE_: evil.yaml\nSEED: 2\n")
    for name in ("evil.yaml", "child.yaml"):
        message = r"evil.yaml, line 3: is refused: the tag !!python/object/apply:os.system makes an object of Python"
        with pytest.raises(DataError, match=message):
            reader(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_a_config_that_does_not_parse_is_named_with_its_line(tmp_path):
    (tmp_path / "broken.yaml").write_text("SEED: 1\nMODEL:\n\tWEIGHTS: x\n")
    with pytest.raises(DataError, match=r"broken.yaml, line 3: is no YAML \(found character"):
        read_config(tmp_path / "broken.yaml")

"""Exports: the plain framework loads them, without this package, and says the same to the last bit."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gcisg_core.export import file_hash, verify_hash, write_export
from gcisg_core.problems import DataError
from gcisg_suite import export as exporter
from tests.command import gcisg
from tests.official import save_official

ROOT = Path(__file__).parents[1]
CLASSIFIER = str(ROOT / "projects/classification/gcisg_r101_visda17.py")
COMPAT = ROOT / "gcisg_core/integrations/detectron2/compat.py"
BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("gcisg"):
            raise ImportError(f"{name} must not be needed")
sys.meta_path.insert(0, Blocked())
import torch
torch.manual_seed(0)
images = torch.rand(2, 3, 64, 96)
"""
SEGMENTATION = [
    "model.backbone.depth=18", "model.backbone.init_cfg=None", "model.regularizer.queue_length=32",
    "model.decode_head.in_channels=512", "model.decode_head.channels=8", "model.auxiliary_head.in_channels=256",
    "model.auxiliary_head.channels=8",
]  # fmt: skip
RUN = """
_base_ = "{base}"
pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="Resize", scale=(144, 96), keep_ratio=True),
    dict(type="LoadLabelIds"),
    dict(type="PackSegInputs", meta_keys=("img_path", "ori_shape", "img_shape", "domain")),
]
test_dataloader = dict(dataset=dict(pipeline=pipeline))
model = dict(type="SynToReal", parent="EncoderDecoder")
model.update(test_cfg=dict(mode="slide", crop_size=(64, 64), stride=(48, 48)))
"""
CLASSIFICATION = ["model.backbone=resnet18", "model.weights=None", "model.regularizer.queue_length=32"]


def images():
    torch.manual_seed(0)
    return torch.rand(2, 3, 64, 96)


def disturb(model):
    """Running statistics that are not those of a new network."""
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(getattr(module, "running_var", None), torch.Tensor):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def words(tmp_path, config, checkpoint, overrides, *arguments):
    command = ["--config", config, "--checkpoint", checkpoint, "--out", tmp_path / "release", *arguments]
    return [*map(str, command), "--", *map(str, overrides)]


def export(*arguments):
    ended = gcisg("export", *words(*arguments))
    assert ended.code == 0, ended.err
    return Path(ended.out.splitlines()[-1])


def plain(tmp_path, code, before=""):
    """What code computes as `result` where this package cannot be imported."""
    script = f"{before}{BLOCKED}{code}\ntorch.save(result, {str(tmp_path / 'result.pth')!r})"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return torch.load(tmp_path / "result.pth", weights_only=True)


@pytest.fixture
def classifier(tmp_path):
    """A model, and the checkpoint of it."""
    from mmengine.registry import MODELS

    from gcisg_core.integrations.mmengine import load_config

    config = load_config(CLASSIFIER, CLASSIFICATION)
    model = disturb(MODELS.build(config.model))
    save_official({"state_dict": model.state_dict(), "meta": {"seed": 7}}, tmp_path / "iter_1.pth")
    return model, tmp_path / "iter_1.pth"


def test_torchvision_loads_a_classifier(tmp_path, classifier):
    model, checkpoint = classifier
    given = words(tmp_path, CLASSIFIER, checkpoint, CLASSIFICATION, "--metrics", "acc=61.5")
    done = subprocess.run([sys.executable, "tools/export.py", *given], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    path = Path(done.stdout.splitlines()[-1])
    code = f"""
import importlib.util
spec = importlib.util.spec_from_file_location("network", {str(path.with_suffix(".py"))!r})
network = importlib.util.module_from_spec(spec)
spec.loader.exec_module(network)
with torch.no_grad():
    result = network.load({str(path)!r})(images)
"""
    with torch.no_grad():
        assert torch.equal(plain(tmp_path, code), model(images()))
    meta = json.loads(path.with_suffix(".json").read_text())
    assert meta["metrics"] == {"acc": 61.5}
    assert (meta["seed"], len(meta["classes"]), meta["arch"]) == (7, 12, "resnet18")
    assert {"torch", "gcisg"} <= meta["versions"].keys()


def test_safetensors_hold_the_same(tmp_path, classifier):
    from safetensors import safe_open

    model, checkpoint = classifier
    path = export(tmp_path, CLASSIFIER, checkpoint, CLASSIFICATION, "--format", "safetensors")
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["meta"])["arch"] == "resnet18"
        assert torch.equal(file.get_tensor("layer4.1.conv2.weight"), model.backbone.layer4[1].conv2.weight)
        assert torch.equal(file.get_tensor("fc.2.bias"), model.head[2].bias)
        assert not [name for name in file.keys() if "regularizer" in name]  # noqa: SIM118 - no mapping


def test_the_name_tells_an_altered_file(tmp_path, classifier):
    path = export(tmp_path, CLASSIFIER, classifier[1], CLASSIFICATION)
    assert path.stem.endswith(f"-{file_hash(path)}")
    verify_hash(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="altered or incomplete"):
        verify_hash(path)


def test_mmseg_loads_a_segmentor(tmp_path):
    from mmcv.transforms import Compose
    from mmengine.registry import init_default_scope
    from mmseg.registry import MODELS
    from torchvision.transforms.functional import to_pil_image

    from gcisg_core.integrations.mmengine import load_config

    file, picture = tmp_path / "segmentor.py", tmp_path / "picture.jpg"
    file.write_text(RUN.format(base=ROOT / "projects/segmentation/gcisg_r50_deeplabv3_gtav2cityscapes.py"))
    config = load_config(str(file), SEGMENTATION)
    init_default_scope("mmseg")
    model = disturb(MODELS.build(config.model))
    save_official({"state_dict": model.state_dict()}, tmp_path / "iter_1.pth")
    to_pil_image(images()[0]).save(picture)
    path = export(tmp_path, file, tmp_path / "iter_1.pth", SEGMENTATION)
    code = f"""
from mmseg.apis import inference_model, init_model
model = init_model({str(path.with_suffix(".py"))!r}, {str(path)!r}, device="cpu")
with torch.no_grad():
    scores = model(images, mode="tensor")
found = inference_model(model, {str(picture)!r}).seg_logits.data
result = dict(scores=scores, found=found, classes=list(model.dataset_meta["classes"]))
"""
    result = plain(tmp_path, code)
    steps = [step for step in config.test_dataloader.dataset.pipeline if step.type != "LoadLabelIds"]
    item = Compose(steps)({"img_path": str(picture)})
    with torch.no_grad():
        assert torch.equal(result["scores"], model(images(), mode="tensor"))
        ours = model.test_step({"inputs": [item["inputs"]], "data_samples": [item["data_samples"]]})[0]
    assert item["inputs"].shape == (3, 96, 144)  # the run's own steps
    assert torch.equal(result["found"], ours.seg_logits.data)
    assert result["found"].shape == (19, 64, 96)
    assert (len(result["classes"]), result["classes"][13]) == (19, "car")


def test_detectron2_loads_a_detector(tmp_path):
    pytest.importorskip("detectron2")
    import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

    # isort: split
    from detectron2.modeling import build_model

    from gcisg_det.config import read_config
    from tests.detection.scenes import TINY

    overrides = [*map(str, TINY), "REGULARIZER.QUEUE_LENGTH", "32", "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0"]
    file = str(ROOT / "projects/detection/gcisg_r50_fpn.yaml")
    model = build_model(read_config(ROOT / file, overrides)).eval()
    with torch.no_grad():
        for weight in model.backbone.parameters():
            weight.mul_(0.7)  # without a training the frozen normalisation lets the features overflow
    torch.save({"model": model.state_dict(), "iteration": 3}, tmp_path / "model_final.pth")
    path = export(tmp_path, file, tmp_path / "model_final.pth", overrides)
    # The package index has Detectron2 0.5 only, which current libraries break: its repair is not part of the model.
    repair = f"import runpy\nrunpy.run_path({str(COMPAT)!r})\n"
    code = f"""
import os
os.chdir({str(path.parent)!r})
from detectron2.config import get_cfg
from detectron2.engine import DefaultPredictor
cfg = get_cfg()
cfg.merge_from_file({str(path.with_suffix(".yaml"))!r})
cfg.MODEL.DEVICE = "cpu"
predictor = DefaultPredictor(cfg)
with torch.no_grad():
    found = predictor.model([dict(image=(images[0] * 255).round(), height=64, width=96)])[0]["instances"]
result = dict(boxes=found.pred_boxes.tensor, scores=found.scores)
"""
    result = plain(tmp_path, code, repair)
    with torch.no_grad():
        found = model([{"image": (images()[0] * 255).round(), "height": 64, "width": 96}])[0]["instances"]
    assert len(found) > 0
    assert torch.equal(result["boxes"], found.pred_boxes.tensor)
    assert torch.equal(result["scores"], found.scores)


class TestComputation:
    """pt2 and onnx hold the model itself; the tool compares them with it before they get their name."""

    @pytest.mark.parametrize("kind", ["pt2", "onnx"])
    def test_a_classifier_runs_without_its_code(self, tmp_path, classifier, kind):
        model, checkpoint = classifier
        overrides = [*CLASSIFICATION, "test_dataloader.dataset.pipeline.size=64"]
        path = in_process(tmp_path, CLASSIFIER, checkpoint, overrides, kind)
        images = torch.rand(3, 3, 64, 64)
        with torch.no_grad():
            expected = model(images)
        torch.testing.assert_close(run_graph(path, images), expected, rtol=1e-4, atol=1e-4)
        assert path.stem.endswith(f"-{file_hash(path)}")
        assert json.loads(path.with_suffix(".json").read_text())["size"] == 64

    @pytest.mark.parametrize("kind", ["pt2", "onnx"])
    def test_a_segmentor_runs_without_its_code(self, tmp_path, kind):
        from mmengine.registry import init_default_scope
        from mmseg.registry import MODELS

        from gcisg_core.integrations.mmengine import load_config

        file = str(ROOT / "projects/segmentation/gcisg_r50_deeplabv3_gtav2cityscapes.py")
        overrides = [*SEGMENTATION, "model.data_preprocessor.size=(64,96)"]
        init_default_scope("mmseg")
        model = disturb(MODELS.build(load_config(file, overrides).model))
        torch.save({"state_dict": model.state_dict()}, tmp_path / "iter_1.pth")
        path = in_process(tmp_path, file, tmp_path / "iter_1.pth", overrides, kind)
        with torch.no_grad():
            expected = model.encode_decode(images(), [{"img_shape": (64, 96)}] * 2)
        found = run_graph(path, images())
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        assert found.shape == (2, 19, 64, 96)

    def test_a_wrong_graph_gets_no_name(self, tmp_path, monkeypatch):
        network = torch.nn.Conv2d(3, 2, 1)
        release = exporter.Export({}, "", "", ".py", {}, network, (8, 8))
        load = torch.export.load
        monkeypatch.setattr(torch.export, "load", lambda file: _Doubled(load(file)))
        with pytest.raises(RuntimeError, match="differs from the original by"):
            write_export(release, tmp_path / "release", "net", "pt2", exporter.save_program)
        assert not list((tmp_path / "release").iterdir())

    def test_a_file_gets_its_name_when_all_that_belongs_to_it_is_there(self, tmp_path, monkeypatch):
        named, replace = [], Path.replace
        monkeypatch.setattr(Path, "replace", lambda self, goal: named.append(Path(goal)) or replace(self, goal))
        path = write_export(exporter.Export({}, "model", "", ".yaml", {}), tmp_path, "net")
        assert [goal.name for goal in named[1:]] == [path.with_suffix(s).name for s in (".yaml", ".json", ".pth")]
        assert sorted(tmp_path.iterdir()) == sorted(named[1:])

    def test_a_detector_is_refused_with_the_reason(self, tmp_path):
        release = exporter.Export({}, "model", "", ".yaml", {})
        with pytest.raises(ValueError, match=r"return Instances, so they are not a function of a tensor.*Export pth"):
            exporter.save_onnx(release, tmp_path / "net.onnx")


def in_process(tmp_path, config, checkpoint, overrides, kind):
    release = exporter.read(str(ROOT / config), overrides, str(checkpoint))
    return write_export(release, tmp_path / "release", "net", kind, exporter.WRITERS[kind])


class _Doubled:
    def __init__(self, program):
        self.program = program

    def module(self):
        network = self.program.module()
        return lambda images: 2 * network(images)


def run_graph(path, images):
    if path.suffix == ".pt2":
        with torch.no_grad():
            return torch.export.load(path).module()(images)
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes())
    return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])

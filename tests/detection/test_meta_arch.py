"""One training step of each architecture: losses, target, and errors that say what there is."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("detectron2")
import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

# isort: split
from detectron2.engine import SimpleTrainer
from detectron2.modeling import META_ARCH_REGISTRY, build_model
from detectron2.solver import build_optimizer
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage
from torch import nn

from gcisg_core.integrations.detectron2 import RegularizerHook
from gcisg_det.config import read_config
from gcisg_det.engine import train_in_bfloat16
from gcisg_det.meta_arch import SynToRealMixin
from tests.detection.scenes import PROJECT, RETINA, TINY
from tests.fake_cuda import finish_step, no_waiting, on_fake_cuda

SMALL = ["REGULARIZER.QUEUE_LENGTH", 16, "REGULARIZER.EMBEDDING_DIM", 8]
C4 = [
    "MODEL.BACKBONE.NAME", "build_resnet_backbone", "MODEL.RESNETS.OUT_FEATURES", ["res4"],
    "MODEL.RPN.IN_FEATURES", ["res4"], "MODEL.ANCHOR_GENERATOR.SIZES", [[32, 64]],
    "MODEL.ROI_HEADS.NAME", "Res5ROIHeads", "MODEL.ROI_HEADS.IN_FEATURES", ["res4"],
]  # fmt: skip
STAGE3 = ["REGULARIZER.STAGES_GUIDANCE", [3], "REGULARIZER.STAGES_CI", [3]]
MASK = ["MODEL.MASK_ON", True, "MODEL.ROI_MASK_HEAD.NAME", "MaskRCNNConvUpsampleHead",
        "MODEL.ROI_MASK_HEAD.NUM_CONV", 1]  # fmt: skip
ARCHITECTURES = {"faster_rcnn_fpn": [], "mask_rcnn_fpn": MASK, "retinanet": RETINA, "faster_rcnn_c4": [*C4, *STAGE3]}


def build(*overrides, method="gcisg"):
    torch.manual_seed(0)
    small = SMALL if method != "none" else []
    cfg = read_config(
        PROJECT / f"{'baseline' if method == 'none' else method}_r50_fpn.yaml", [*TINY, *small, *overrides]
    )
    return build_model(cfg).train(), cfg


def batch(sizes=((64, 96), (96, 64))):
    torch.manual_seed(1)
    items = []
    for height, width in sizes:
        instances = Instances((height, width))
        instances.gt_boxes = Boxes(torch.tensor([[5.0, 5.0, 40.0, 40.0]]))
        instances.gt_classes = torch.tensor([0])
        instances.gt_masks = BitMasks(torch.ones(1, height, width, dtype=torch.bool))
        image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
        items.append({"image": image, "instances": instances, "height": height, "width": width})
    return items


def step(model, items=None):
    """The losses and the metrics of one training forward pass with fixed draws."""
    items = batch() if items is None else items
    torch.manual_seed(2)
    with EventStorage():
        return model(items), getattr(model, "regularizer_metrics", {})


def count_calls(module):
    calls = []
    module.register_forward_hook(lambda *_: calls.append(module))
    return calls


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_step_adds_the_methods_losses_and_runs_the_heads_once(name):
    model, cfg = build(*ARCHITECTURES[name])
    stages = {"3"} if name == "faster_rcnn_c4" else {"3", "4"}
    heads = model.head if name == "retinanet" else model.roi_heads
    top, bottom, reference = model.backbone, model.regularizer.student, model.regularizer.reference
    calls = {part: count_calls(part) for part in (heads, top, reference)}
    bottoms = []
    bottom.stem.register_forward_hook(lambda *_: bottoms.append(1))  # the second pass ends at the deepest stage
    losses, metrics = step(model)
    assert {key[-1] for key in losses if key.startswith("loss_ci")} == stages
    assert {key[-1] for key in losses if key.startswith("loss_guidance")} == stages
    assert ("loss_mask" in losses) == (name == "mask_rcnn_fpn")
    assert len(calls[heads]) == len(calls[reference]) == 1
    assert len(bottoms) == 2
    if top is not bottom:
        assert len(calls[top]) == 1
    # Everything in the dictionary is summed by the framework, so nothing but losses may be there.
    assert all(key.startswith("loss_") and value.ndim == 0 and value.requires_grad for key, value in losses.items())
    assert {key for key in metrics if key.startswith("ci_match")} == {f"ci_match_stage{stage}" for stage in stages}
    before = copy.deepcopy(model.state_dict())
    optimizer = build_optimizer(cfg, model)
    sum(losses.values()).backward()
    optimizer.step()
    assert all(math.isfinite(value) for value in losses.values())
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert any("res4" in key for key in changed)
    assert "regularizer.projectors.stage3.0.weight" in changed
    assert not any(key.startswith(("regularizer.momentum_encoder", "regularizer.reference")) for key in changed)
    frozen = {id(p) for part in (model.regularizer.momentum_encoder, reference) for p in part.parameters()}
    assert frozen
    assert not frozen & {id(p) for group in optimizer.param_groups for p in group["params"]}


def test_task_losses_are_those_of_the_plain_detector():
    ours, cfg = build("INPUT.COLOR_JITTER", [0.0, 0.0, 0.0, 0.0])
    cfg.MODEL.META_ARCHITECTURE = "GeneralizedRCNN"
    plain = build_model(cfg).train()
    plain.load_state_dict(ours.state_dict(), strict=False)
    losses, _ = step(ours)
    expected, _ = step(plain)
    assert expected
    assert all(torch.equal(losses[name], expected[name]) for name in expected)


def test_a_step_stays_on_the_gpu(monkeypatch):
    """The detector's own parts are left out: the framework's read numbers of the device."""

    def forward(self, items):
        sizes = [item["image"].shape[-2:] for item in items]
        padded = [F.pad(i["image"].float(), (0, 96 - w, 0, 96 - h)) for i, (h, w) in zip(items, sizes, strict=True)]
        return {"loss_task": self.backbone(torch.stack(padded))["p5"].mean()}

    model, _ = build("INPUT.COLOR_JITTER", [0.0] * 4)
    monkeypatch.setattr(META_ARCH_REGISTRY.get("GeneralizedRCNN"), "forward", forward)
    step(model)  # what the first one does
    with on_fake_cuda(model) as move:
        items = [{**item, "image": move(item["image"])} for item in batch()]
        with no_waiting():
            losses = model(items)
            finish_step(model, model.regularizer)
    assert {value.device.type for value in (*losses.values(), *model.regularizer_metrics.values())} == {"cuda"}
    assert "loss_ci_stage4" in losses


@pytest.mark.parametrize("order", ["before_step", "after_step"])
@pytest.mark.parametrize("clip", [False, True])
def test_target_moves_once_a_step_of_the_optimiser(clip, order):
    method = ["REGULARIZER.DECAY", 0.9, "REGULARIZER.MOMENTUM_UPDATE", order]
    model, cfg = build(*method, "SOLVER.CLIP_GRADIENTS.ENABLED", clip, "SOLVER.BASE_LR", 1e-6)
    trainer = SimpleTrainer(model, [batch()] * 3, build_optimizer(cfg, model))
    trainer.register_hooks([RegularizerHook(cfg)])
    name, weights = "res4.0.conv1.weight", []
    expected = model.regularizer.student.get_parameter(name).detach().clone()
    with EventStorage() as trainer.storage:
        trainer.iter = 0
        trainer.before_train()
        for i in range(3):
            if i == 2:  # as a gradient scaler does after an overflow
                trainer.optimizer.step = lambda: None
            trainer.before_step()
            before = model.regularizer.student.get_parameter(name).detach().clone()
            trainer.run_step()
            trainer.after_step()
            after = model.regularizer.student.get_parameter(name).detach()
            assert torch.equal(before, after) == (i == 2)
            followed = before if order == "before_step" else after
            expected = expected if i == 2 else 0.9 * expected + 0.1 * followed
            weights.append(model.regularizer.momentum_encoder.average.module.get_parameter(name).clone())
            assert torch.allclose(weights[-1], expected, atol=1e-7)
    assert not torch.equal(weights[0], weights[1])
    assert torch.equal(weights[1], weights[2])


def test_bfloat16_on_cpu_trains_finite_and_evaluates_in_full_precision():
    model, _ = build()
    before = model.eval()(batch())[0]["instances"]
    train_in_bfloat16(model.train())
    dtypes = []
    model.regularizer.student.res4.register_forward_hook(lambda module, inputs, output: dtypes.append(output.dtype))
    losses, _ = step(model)
    sum(losses.values()).backward()
    assert all(math.isfinite(value) for value in losses.values())
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    after = model.eval()(batch())[0]["instances"]
    assert dtypes == [torch.bfloat16, torch.bfloat16, torch.float32]
    assert torch.equal(before.pred_boxes.tensor, after.pred_boxes.tensor)


class PatchDetector(nn.Module):
    """A detector as a user may write it: no FPN, no `preprocess_image`, a backbone of no known form."""

    def __init__(self, cfg):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.ReLU(), nn.Conv2d(4, 6, 2, 2), nn.ReLU())

    def forward(self, batched_inputs):
        images = torch.stack([item["image"].float() / 255 for item in batched_inputs])
        return {"loss_own": self.backbone(images).mean()}


@pytest.fixture
def registered():
    META_ARCH_REGISTRY._do_register("PatchDetector", PatchDetector)
    yield
    del META_ARCH_REGISTRY._obj_map["PatchDetector"]


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("places", [[], ["REGULARIZER.STAGE_LOCATIONS", {3: "1", 4: "3"}]], ids=["found", "named"])
def test_own_detector_has_the_methods_losses(places):
    model, _ = build("MODEL.PARENT_ARCHITECTURE", "PatchDetector", *places)
    assert model.regularizer.taps[0].locations == {3: "1", 4: "3"}
    losses, _ = step(model, batch([(64, 64), (64, 64)]))
    assert set(losses) == {"loss_own", *(f"loss_{t}_stage{s}" for t in ("ci", "guidance") for s in (3, 4))}


def test_missing_parts_are_named():
    with pytest.raises(ValueError, match=r"ResNet has no stage 4; it has \[0, 1, 2, 3\]"):
        build(*C4)
    with pytest.raises(ValueError, match=r"PARENT_ARCHITECTURE 'RetinaNt'. Did you mean 'RetinaNet'"):
        build("MODEL.PARENT_ARCHITECTURE", "RetinaNt")
    with pytest.raises(ValueError, match=r"INPUT.FORMAT must be BGR or RGB, got 'L'"):
        build("INPUT.FORMAT", "L")

    class Headless(SynToRealMixin, nn.Module):
        pass

    with pytest.raises(ValueError, match=r"backbone must be a module of Module"):
        Headless()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("LAMDA_CI", 1.0, "REGULARIZER .*unknown setting 'lamda_ci'. Did you mean 'lambda_ci'"),
        ("METHOD", "gcsg", "unknown method 'gcsg'. Did you mean 'gcisg'"),
        ("TAU", -1.0, "tau_momentum must be above 0"),
        ("POOLING", "self_atention", "Did you mean 'self_attention'"),
    ],
)
def test_wrong_settings_are_refused_when_the_config_is_read(key, value, message):
    with pytest.raises(ValueError, match=message):
        read_config(PROJECT / "gcisg_r50_fpn.yaml", [f"REGULARIZER.{key}", value])


def test_settings_without_the_meta_architecture_are_refused():
    for overrides in ([], ["INPUT.COLOR_JITTER", [0.0] * 4]):
        with pytest.raises(ValueError, match=r"MODEL.META_ARCHITECTURE must be SynToRealDetector .*got 'RetinaNet'"):
            read_config(PROJECT / "gcisg_r50_fpn.yaml", ["MODEL.META_ARCHITECTURE", "RetinaNet", *overrides])
    read_config(PROJECT / "baseline_r50_fpn.yaml", ["MODEL.META_ARCHITECTURE", "RetinaNet", *overrides])


@pytest.mark.parametrize("depth", [50, 101])
@pytest.mark.parametrize("method", ["baseline", "gcisg", "csg"])
def test_shipped_configs_differ_in_the_method_alone(method, depth):
    cfg = read_config(PROJECT / f"{method}_r{depth}_fpn.yaml")
    base = read_config(PROJECT / f"baseline_r{depth}_fpn.yaml")
    assert {"baseline": "none"}.get(method, method) == cfg.REGULARIZER.METHOD
    assert depth == cfg.MODEL.RESNETS.DEPTH
    base.REGULARIZER = cfg.REGULARIZER
    assert cfg == base

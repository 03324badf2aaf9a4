"""One step of a method beside segmentors of mmseg that the code was not written for."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from mmengine.config import Config
from torch.utils.hooks import RemovableHandle

from gcisg_seg.segmentors import SynToRealMixin
from tests.segmentation.segmentors import GCISG, PREPROCESSOR, SEGMENTORS, batch, build, sgd

LOSSES = {f"loss_{term}_stage{stage}" for term in ("ci", "guidance") for stage in (3, 4)}
METRICS = {f"{name}_stage{stage}" for name in ("ci_match", "queue_concentration") for stage in (3, 4)}


def count_calls(model, *names: str) -> tuple[Counter, list[RemovableHandle]]:
    calls: Counter = Counter()
    handles = [
        model.get_submodule(name).register_forward_pre_hook(lambda *_, name=name: calls.update([name]))
        for name in names
    ]
    return calls, handles


@pytest.mark.parametrize("name", SEGMENTORS)
def test_one_step_trains_student_and_projectors(name):
    model = build(name)
    method = model.regularizer
    trained = [next(net.parameters()) for net in (model.backbone, model.decode_head, method.projectors)]
    kept = [
        next(net.parameters())
        for net in (method.momentum_encoder, method.momentum_encoder.projectors, method.reference)
    ]
    before = [weight.clone() for weight in trained]
    method.init_from_student()
    initial = [weight.clone() for weight in kept]
    queue = method.queues["stage3"]
    support = queue.features.clone()
    log = model.train_step(batch(), sgd(model))
    assert set(log) >= LOSSES | METRICS
    assert all(value.isfinite() for value in log.values())
    total = sum(value for key, value in log.items() if "loss" in key and key != "loss")
    torch.testing.assert_close(log["loss"], total)
    assert not any(torch.equal(new, old) for new, old in zip(trained, before, strict=True))
    assert all(torch.equal(new, old) for new, old in zip(kept, initial, strict=True))
    assert queue.pointer == 2 * 2 * 4  # views, images, cells
    torch.testing.assert_close(queue.features[16:], support[16:])
    assert not torch.equal(queue.features[:16], support[:16])


@pytest.mark.parametrize("name", ["pspnet", "upernet_swin"])
def test_heads_run_once_and_the_second_view_meets_the_backbone_alone(name):
    model = build(name)
    heads = ("decode_head.conv_seg", "auxiliary_head.conv_seg")
    target, reference = "regularizer.momentum_encoder.average.module", "regularizer.reference.encoder"
    calls, _ = count_calls(model, *heads, "backbone", target, reference)
    model.train_step(batch(), sgd(model))
    assert calls == {heads[0]: 1, heads[1]: 1, "backbone": 2, target: 2, reference: 1}


def test_without_a_method_nothing_runs_twice_and_nothing_is_stored():
    model = build("pspnet", {"method": "none"})
    calls, _ = count_calls(model, "decode_head.conv_seg", "backbone")
    log = model.train_step(batch(), sgd(model))
    assert calls == {"decode_head.conv_seg": 1, "backbone": 1}
    assert not any("stage" in key for key in log)
    assert [key for key in model.state_dict() if key.startswith("regularizer.")] == ["regularizer.captured"]


def test_the_task_loss_is_the_segmentors_own():
    from mmseg.models import EncoderDecoder

    model = build("segformer").eval()  # no dropout, no batch statistics
    data = model.data_preprocessor(batch(), True)
    ours = model.loss(**data)
    theirs = EncoderDecoder.loss(model, data["inputs"][0], data["data_samples"])
    assert set(ours) - LOSSES - METRICS == set(theirs)
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value)


def test_mmsegs_own_preprocessor_serves_where_one_view_is_enough():
    plain = {"type": "SegDataPreProcessor", "size": (64, 64)}
    guided = build("pspnet", {**GCISG, "lambda_ci": 0.0}, data_preprocessor=plain)
    assert "loss_guidance_stage3" in guided.train_step(batch(), sgd(guided))
    with pytest.raises(ValueError, match="needs 2 views of each image, got 1"):
        build("pspnet", data_preprocessor=plain).train_step(batch(), sgd(guided))


@pytest.mark.parametrize(
    ("stated", "regularizer", "drawn"),
    [
        (None, GCISG, 2),
        (None, {**GCISG, "lambda_ci": 0.0}, 1),
        (None, None, 1),
        (2, None, 2),
        (0, None, 0),
        (3, GCISG, 3),
    ],
)
def test_the_preprocessor_draws_what_the_method_needs(stated, regularizer, drawn):
    model = build("pspnet", regularizer, data_preprocessor={**PREPROCESSOR, "views": stated})
    inputs = model.data_preprocessor(batch(), True)["inputs"]
    assert (0 if isinstance(inputs, torch.Tensor) else len(inputs)) == drawn
    assert "decode.loss_ce" in model.train_step(batch(), sgd(model))


@pytest.mark.parametrize("stated", [0, 1])
def test_a_preprocessor_that_draws_too_few_views_is_refused_when_built(stated):
    with pytest.raises(ValueError, match=f"data_preprocessor.views is {stated}, but the method 'gcisg' .* needs 2"):
        build("pspnet", data_preprocessor={**PREPROCESSOR, "views": stated})


def test_evaluation_knows_no_views():
    model = build("pspnet").eval()
    with torch.no_grad():
        first, _ = model.test_step(batch())
    assert first.pred_sem_seg.data.shape == (1, 64, 64)


@pytest.mark.parametrize("name", ["segformer", "upernet_swin"])
def test_attention_pooling_is_finite_below_zero(name):
    model = build(name)
    views = model.data_preprocessor(batch(), True)["inputs"]
    features = model.regularizer.taps[0].run(model.backbone, views[0])
    assert any((maps < 0).any() for maps in features.values())
    log = model.train_step(batch(), sgd(model))
    for stage in (3, 4):
        assert 0 <= log[f"loss_guidance_stage{stage}"] <= 4


def test_stages_of_an_unknown_backbone_are_named_in_the_config(tmp_path):
    """HRNet's outputs are one list: stages 3 and 4 are said to be its positions 2 and 3."""
    path = tmp_path / "config.py"
    path.write_text(f"regularizer = dict(**{ {**GCISG, 'stage_locations': {3: 2, 4: 3}} })\n")
    config = Config.fromfile(path)
    assert Config.fromstring(config.pretty_text, ".py").to_dict() == config.to_dict()
    one = {"num_modules": 1, "num_branches": 1, "block": "BOTTLENECK", "num_blocks": (1,), "num_channels": (4,)}
    stages = {
        f"stage{n}": {**one, "num_branches": n, "block": "BASIC", "num_blocks": (1,) * n, "num_channels": (4,) * n}
        for n in (2, 3, 4)
    }
    decode = {**SEGMENTORS["pspnet"]["decode_head"], "in_channels": 4}
    hrnet = {"type": "HRNet", "extra": {"stage1": one, **stages}}
    model = build("pspnet", config.regularizer, backbone=hrnet, decode_head=decode, auxiliary_head=None)
    assert set(model.train_step(batch(), sgd(model))) >= LOSSES


def test_csg_runs_beside_a_segmentor():
    model = build("pspnet", {"method": "csg", "queue_length": 64, "embedding_dim": 16, "patches": (2, 2)})
    calls, _ = count_calls(model, "backbone", "regularizer.reference.encoder", "decode_head.conv_seg")
    log = model.train_step(batch(), sgd(model))
    assert calls == {"backbone": 2, "regularizer.reference.encoder": 1, "decode_head.conv_seg": 1}
    assert log["loss_csg_stage3"] > 0
    assert model.regularizer.queues["stage4"].pointer == 8


@pytest.mark.parametrize("name", ["pspnet", "segformer"])
def test_bfloat16_on_the_cpu_is_finite(name):
    from gcisg_core.integrations.mmengine import BFloat16OptimWrapper

    model = build(name)
    optimizer = BFloat16OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01))
    for seed in range(3):
        log = model.train_step(batch(seed=seed), optimizer)
        model.regularizer.after_optimizer_step()
        assert all(value.isfinite() for value in log.values())
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert log["loss_ci_stage3"].dtype == torch.float32


@pytest.mark.gpu
@pytest.mark.parametrize("name", SEGMENTORS)
def test_float16_on_the_gpu_is_finite(name):
    from mmengine.optim import AmpOptimWrapper

    model = build(name).cuda()
    optimizer = AmpOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.01))
    for seed in range(3):
        log = model.train_step(batch(seed=seed), optimizer)
        model.regularizer.after_optimizer_step()
        assert all(value.isfinite() for value in log.values())


def test_a_segmentor_of_any_class_whose_backbone_sees_the_images_at_another_scale():
    from mmseg.models.segmentors import EncoderDecoder
    from mmseg.registry import MODELS

    class HalfSize(EncoderDecoder):
        """Its parent is one of mmseg's, its way to the backbone is its own."""

        def extract_feat(self, inputs):
            return super().extract_feat(torch.nn.functional.avg_pool2d(inputs, 2))

    MODELS._register_module(HalfSize, "HalfSize", force=True)
    try:
        model = build("pspnet", type="SynToReal", parent="HalfSize")
        assert type(model).__mro__[2] is HalfSize
        seen = []
        model.regularizer.observer = lambda views, features: seen.extend(tuple(view.shape) for view in views)
        log = model.train_step(batch(), sgd(model))
        assert log.keys() >= LOSSES
        assert seen == [(2, 3, 32, 32)] * 2
        with pytest.raises(ValueError, match="unknown segmentor .model.parent. 'HalfSizes'. Did you mean 'HalfSize'"):
            build("pspnet", type="SynToReal", parent="HalfSizes")
    finally:
        del MODELS._module_dict["HalfSize"]


def test_a_segmentor_without_a_backbone_is_named():
    from mmseg.models.segmentors import BaseSegmentor

    class Headless(SynToRealMixin, BaseSegmentor):
        _forward = encode_decode = extract_feat = predict = None

    with pytest.raises(ValueError, match="backbone must be a module of BaseSegmentor, or image_encoder, got None"):
        Headless()

"""The recipes after CSG and ASG: the values of their authors' code, and which parameters are trained at which rate."""

from pathlib import Path

import pytest
import torch
from mmengine.runner import Runner

from gcisg_core.integrations.mmengine import load_config

from .conftest import TINY

PROJECT = Path(__file__).parents[2] / "projects" / "classification"
SCHEDULE = {"type": "WarmupPolyLR", "end": 30 * 4762, "warmup": 100, "power": 0.9}


def recipe(method):
    return load_config(str(PROJECT / f"{method}_r101_visda17.py"), [])


@pytest.mark.parametrize(
    ("method", "views", "crop", "augmentation", "schedule"),
    [
        ("csg", 2, "random", {"num_ops": 1, "magnitude": 6.0}, SCHEDULE),
        ("asg", 1, "center", {"num_ops": 0, "magnitude": 6.0}, {**SCHEDULE, "hold_after": 0.8}),
        ("oracle", 1, "center", {"num_ops": 0, "magnitude": 6.0}, {**SCHEDULE, "hold_after": 0.8}),
    ],
)
def test_the_values_are_those_of_the_authors_code(method, views, crop, augmentation, schedule):
    config = recipe(method)
    pipeline = config.train_dataloader.dataset.dataset.pipeline
    assert (pipeline.views, pipeline.crop, pipeline.randaugment) == (views, crop, augmentation)
    assert config.param_scheduler == [schedule]
    assert config.train_cfg.max_iters == 30 * 4762
    assert config.train_dataloader.batch_size == 32
    assert config.optim_wrapper.optimizer == {"type": "SGD", "lr": 1e-4, "momentum": 0.9, "weight_decay": 5e-4}
    assert (config.model.norm_eval, config.model.flip_average) == (True, True)
    assert config.model.regularizer.method == method
    assert (config.model.backbone, config.model.hidden, config.model.num_classes) == ("resnet101", 512, 12)


def test_csg_trains_the_backbone_at_a_tenth_and_keeps_its_statistics(mini):
    config = load_config(str(PROJECT / "csg_mini.py"), [])
    paper = recipe("csg")
    config.merge_from_dict({key: paper[key] for key in ("optim_wrapper", "param_scheduler")})
    config.optim_wrapper.clip_grad = None
    config.optim_wrapper.optimizer.lr = 0.1  # else weights near 1 do not change in float32
    config.merge_from_dict({"model.norm_eval": True, "model.flip_average": True, "work_dir": str(mini / "run")})
    for override in TINY[1:]:
        key, _, value = override.partition("=")
        config.merge_from_dict({key: ["bird", "boat", "bus"] if "classes" in key else int(value)})
    config.model.num_classes = 3
    runner = Runner.from_cfg(config)
    runner.model.init_weights()
    before = {name: value.detach().clone() for name, value in runner.model.state_dict().items()}
    runner.train()
    changed = {name for name, value in runner.model.state_dict().items() if not torch.equal(before[name], value)}
    names = {id(parameter): name for name, parameter in runner.model.named_parameters()}
    groups = runner.optim_wrapper.optimizer.param_groups
    found = {names[id(p)]: group["initial_lr"] for group in groups for p in group["params"] if p.requires_grad}
    parts = {"backbone": 0.01, "head": 0.1, "regularizer.projectors": 0.1}
    assert found == pytest.approx(
        {name: next(rate for part, rate in parts.items() if name.startswith(part)) for name in found}
    )
    assert set(found) <= changed  # the affine weights of BatchNorm too
    assert not {name for name in changed if name.startswith("backbone") and "running" in name}

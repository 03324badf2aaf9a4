"""Configs and checkpoints of before the names changed are read under today's, with a warning that says the new name."""

import warnings

import pytest
import torch
from mmengine.registry import DATASETS

from gcisg_cls.classifier import SynToRealClassifier
from gcisg_cls.datasets import ClassFolderDataset, VisDA17Dataset
from gcisg_core.integrations.mmengine import check_state, load_config
from gcisg_core.old_names import SETTINGS, TENSORS
from gcisg_core.regularizers import METHODS, Regularizer, build_regularizer, read_method
from gcisg_det.config import read_config
from gcisg_suite.tasks import TASKS
from tests.core.students import make_student

OLD = {"tau_target": 0.05, "target_update": "before_step", "grid": [2, 2], "in_turn": True}
SMALL = {"method": "gcisg", "queue_length": 8, "embedding_dim": 4}


@pytest.mark.remedy("the config key {} is called {} now; use the new name")
def test_settings():
    with pytest.warns(FutureWarning) as told:
        _, old = read_method({"method": "gcisg", **OLD})
    assert old == read_method({"method": "gcisg", **{SETTINGS[name]: value for name, value in OLD.items()}})[1]
    said = {str(warning.message) for warning in told}
    assert said == {f"the config key {old} is called {new} now; use the new name" for old, new in SETTINGS.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_method({"method": "gcisg", **{SETTINGS[name]: value for name, value in OLD.items()}})
    with pytest.raises(ValueError, match="unknown setting 'grid'"):
        read_method({"method": "feature_l2", "grid": [2, 2]})


def test_every_tensor_of_a_method():
    method = build_regularizer(make_student(), SMALL)
    old = {}
    for name, value in method.state_dict().items():
        for before, after in TENSORS.items():
            name = before + name.removeprefix(after) if name.startswith(after) else name
        old[name] = value + 1 if value.is_floating_point() else value
    assert len(old) == len(method.state_dict())
    assert old.keys() != method.state_dict().keys()
    # As a part of a model, and with its own prefix.
    torch.nn.ModuleDict({"regularizer": method}).load_state_dict({f"regularizer.{name}": old[name] for name in old})
    for name, value in method.state_dict().items():
        torch.testing.assert_close(value, old.get(name, old.get(name.replace("momentum_encoder.", "target."))))


@pytest.mark.remedy("{}.{} is called {} now; rename it")
def test_methods_to_override_are_refused_by_name():
    with pytest.raises(TypeError, match="Own.update_target is called after_optimizer_step now"):
        type("Own", (Regularizer,), {"update_target": lambda self: None})
    type("Own", (Regularizer,), {"after_optimizer_step": lambda self: None})
    assert set(METHODS) >= {"gcisg", "csg"}


OVERRIDES = ["model.changes.ibn=a", "model.least_match=0.5", "model.regularizer.tau_target=0.05"]


def test_an_mmengine_config(tmp_path):
    base = TASKS["classification"].folder / "gcisg_mini.py"
    (tmp_path / "old.py").write_text(
        f"_base_ = '{base}'\n"
        "model = dict(changes=dict(ibn='a'), least_match=0.5, regularizer=dict(tau_target=0.05))\n"
        "train_dataloader = dict(dataset=dict(dataset=dict(type='VisDA17Dataset')))\n"
    )
    with pytest.warns(FutureWarning, match="least_match is called min_match_ratio"):
        file = load_config(str(tmp_path / "old.py"), [])
    with pytest.warns(FutureWarning, match=r"model\.changes\.ibn is called model.backbone_plugins.ibn"):
        given = load_config(str(base), OVERRIDES)
    assert file.model.to_dict() == given.model.to_dict()
    assert (given.model.backbone_plugins, given.model.min_match_ratio) == ({"ibn": "a"}, 0.5)
    assert given.model.regularizer.tau_momentum == 0.05
    assert DATASETS.get(file.train_dataloader.dataset.dataset.type) is ClassFolderDataset is VisDA17Dataset


def test_arguments_of_a_model():
    with pytest.warns(FutureWarning, match="changes is called backbone_plugins"):
        model = SynToRealClassifier("resnet50", 3, changes={"ibn": "a"}, least_match=0.5)
    assert model.min_match_ratio == 0.5
    assert "InstanceBatchNorm" in str(model.backbone)


def test_a_detectron2_config(tmp_path):
    base = TASKS["detection"].folder / "gcisg_mini.yaml"
    (tmp_path / "old.yaml").write_text(
        f'_BASE_: "{base}"\nMODEL: {{CHANGES: {{IBN: a}}, LEAST_MATCH: 0.5}}\nREGULARIZER: {{GRID: [2, 2]}}\n'
    )
    with pytest.warns(FutureWarning, match="MODEL.CHANGES is called MODEL.BACKBONE_PLUGINS"):
        file = read_config(tmp_path / "old.yaml")
    overrides = ["MODEL.CHANGES.IBN", "a", "MODEL.LEAST_MATCH", "0.5", "REGULARIZER.GRID", "[2, 2]"]
    with pytest.warns(FutureWarning, match="MODEL.LEAST_MATCH is called MODEL.MIN_MATCH_RATIO"):
        assert read_config(base, overrides) == file
    assert (dict(file.MODEL.BACKBONE_PLUGINS), file.MODEL.MIN_MATCH_RATIO) == ({"IBN": "a"}, 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        assert not read_config(base).MODEL.keys() & {"CHANGES", "LEAST_MATCH"}
    with pytest.raises(ValueError, match="the nearest valid key is MODEL.BACKBONE"):
        read_config(base, ["MODEL.CHANGE", "a"])


def test_a_checkpoint_to_resume_from():
    model = SynToRealClassifier("resnet50", 3, regularizer=SMALL)
    new = model.state_dict()
    old = {name.replace("regularizer.momentum_encoder.", "regularizer.target."): value for name, value in new.items()}
    check_state(model, old, "an old file")
    with pytest.raises(ValueError, match="an old file does not fit"):
        check_state(model, {name: old[name] for name in [*old][:-1]}, "an old file")

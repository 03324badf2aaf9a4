"""Every method trains the miniature's detector for some steps."""

import math

import pytest
import torch

pytest.importorskip("detectron2")
import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

# isort: split
from detectron2.engine import SimpleTrainer
from detectron2.modeling import build_model
from detectron2.solver import build_optimizer
from detectron2.utils.events import EventStorage

from gcisg_core.integrations.detectron2 import RegularizerHook, regularizer_values
from gcisg_core.mixstyle import MixStyle
from gcisg_core.regularizers import METHODS
from gcisg_det.config import read_config
from tests.detection.scenes import PROJECT
from tests.detection.test_meta_arch import batch
from tests.methods import settings_of, write_styles

STEPS = 4  # past the short schedules of tests.methods
CHANNELS = 192


def train(overrides):
    """The trained model and its last losses."""
    torch.manual_seed(0)
    cfg = read_config(PROJECT / "baseline_mini.yaml", ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", *overrides])
    model = build_model(cfg).train()
    trainer = SimpleTrainer(model, [batch([(96, 128), (96, 96)])] * STEPS, build_optimizer(cfg, model))
    trainer.register_hooks([RegularizerHook(cfg)])
    start = model.regularizer.student.layer3[0].conv1.weight.detach().clone()
    with EventStorage() as trainer.storage:
        trainer.iter = 0
        trainer.before_train()
        for _ in range(STEPS):
            trainer.before_step()
            trainer.run_step()
            trainer.after_step()
        losses = {k: v for k, (v, _) in trainer.storage.latest().items() if k.startswith("loss_")}
    return model, losses, not torch.equal(start, model.regularizer.student.layer3[0].conv1.weight)


def flat(settings):
    return [item for name, value in settings.items() for item in (f"REGULARIZER.{name.upper()}", value)]


@pytest.mark.parametrize("method", METHODS)
def test_steps_move_what_the_method_trains_and_its_losses_are_finite(method, tmp_path):
    model, losses, moved = train(flat(settings_of(method, tmp_path, CHANNELS)))
    task = {"loss_cls", "loss_box_reg", "loss_rpn_cls", "loss_rpn_loc"}
    assert task <= losses.keys()
    assert (losses.keys() > task) == (method not in ("none", "oracle"))
    assert all(math.isfinite(value) for value in losses.values())
    assert moved == (method != "oracle")
    assert type(model.regularizer) is METHODS[method]


def test_changes_styles_and_spectra_are_added_by_the_config(tmp_path):
    styles = write_styles(tmp_path / "styles")
    views = ["INPUT.STYLES", str(styles), "INPUT.STYLE_KIND", "fourier", "INPUT.PASTA", [3.0, 2.0, 0.25]]
    changes = ["MODEL.BACKBONE_PLUGINS.IBN", "b", "MODEL.BACKBONE_PLUGINS.MIXSTYLE.P", 1.0]
    model, losses, moved = train([*flat(settings_of("drpc", tmp_path)), *views, *changes])
    assert moved
    assert losses.keys() >= {"loss_drpc_across_stage3", "loss_drpc_within_stage4"}
    assert model.backbone.bottom_up.layer2[-1].IN.weight.shape == (48,)
    assert any(isinstance(hook, MixStyle) for hook in model.backbone.bottom_up.layer1._forward_hooks.values())
    assert model.view.styles.kind == "fourier"
    assert model.view.pasta.alpha == 3.0


def test_the_other_view_has_a_transform_of_its_own(tmp_path):
    styles = [
        "REGULARIZER.OTHER_VIEW.STYLES.FOLDER",
        str(write_styles(tmp_path / "styles")),
        "INPUT.PASTA",
        [3, 2, 0.25],
    ]
    model, losses, moved = train([*flat(settings_of("gcisg", tmp_path)), *styles])
    assert moved
    assert losses.keys() >= {"loss_ci_stage3", "loss_guidance_stage4"}
    assert (model.view.styles, model.other.change.pasta) == (None, None)
    assert len(model.other.change.styles.files) == 3
    file = tmp_path / "own.yaml"
    file.write_text(
        f"_BASE_: {PROJECT}/csg_mini.yaml\nREGULARIZER: {{OTHER_VIEW: {{HUE: 0.1, PASTA: {{ALPHA: 1.0}}}}}}\n"
    )
    assert regularizer_values(read_config(file))["other_view"] == {"hue": 0.1, "pasta": {"alpha": 1.0}}


def test_wrong_values_are_refused_when_the_config_is_read():
    def read(*overrides):
        return read_config(PROJECT / "baseline_mini.yaml", overrides)

    with pytest.raises(ValueError, match="INPUT.PASTA must be 3 numbers"):
        read("INPUT.PASTA", [3.0])
    with pytest.raises(ValueError, match="MODEL.META_ARCHITECTURE must be SynToRealDetector .*MODEL.BACKBONE_PLUGINS"):
        read("MODEL.META_ARCHITECTURE", "RetinaNet", "MODEL.BACKBONE_PLUGINS.IBN", "a")
    with pytest.raises(ValueError, match="unknown argument of other_view 'blurr'. Did you mean 'blur'"):
        read("REGULARIZER.METHOD", "csg", "REGULARIZER.OTHER_VIEW.BLURR", 0.1)
    with pytest.raises(ValueError, match="unknown backbone plugin 'inb'"):
        build_model(read("MODEL.DEVICE", "cpu", "MODEL.BACKBONE_PLUGINS.INB", "a"))

"""The README's way to add the method to an existing config, on configs that mmseg ships."""

from __future__ import annotations

import re
from pathlib import Path

import mmseg
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from tests.segmentation.segmentors import batch, sgd

README = Path(__file__).parents[2] / "projects" / "segmentation" / "README.md"
CONFIGS = Path(mmseg.__file__).parent / ".mim" / "configs"
SMALL_RESNET = {"depth": 18, "stem_channels": 8, "base_channels": 8}
SHRUNK = {
    "pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024.py": {
        "model.backbone": SMALL_RESNET,
        "model.decode_head": {"in_channels": 64, "channels": 8},
        "model.auxiliary_head": {"in_channels": 32, "channels": 8},
    },
    "segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py": {"model.backbone.init_cfg": None},
}


@pytest.mark.parametrize("name", SHRUNK)
def test_the_documented_lines_add_the_method_to_a_config_of_mmseg(name, tmp_path):
    (snippet,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)
    path = tmp_path / "mine.py"
    path.write_text(snippet.replace("your_config.py", str(CONFIGS / name)))
    config = Config.fromfile(path)
    config.merge_from_dict({**SHRUNK[name], "model.pretrained": None, "model.data_preprocessor.size": (256, 256)})
    config.model.pop("pretrained")
    init_default_scope("mmseg")
    model = MODELS.build(config.model)
    model.train()
    log = model.train_step(batch([(256, 256)] * 2), sgd(model))
    assert {"loss_ci_stage3", "loss_ci_stage4", "loss_guidance_stage3", "loss_guidance_stage4"} <= set(log)
    assert all(value.isfinite() for value in log.values())
    assert config.custom_hooks == [{"type": "RegularizerHook"}]


def test_every_documented_setting_exists():
    from gcisg_core.regularizers import METHODS

    known = {name for method in METHODS.values() for name in method.settings_class.__dataclass_fields__}
    rows = re.findall(r"^\| (`.*?`(?:, `.*?`)*) \|", README.read_text().split("setting of `regularizer`")[1], re.M)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named - known == {"method", "preset"}
    assert {"lambda_guidance", "lambda_ci", "patches", "stage_locations", "lambda_csg"} <= named

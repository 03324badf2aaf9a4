"""The documents' lines over somebody's config: what their lists replace, and configs that import their classes."""

import sys

import pytest
from mmengine.config import Config
from mmengine.registry import HOOKS, MODELS

from gcisg_core.integrations.mmengine import load_config
from gcisg_core.integrations.mmengine.bases import lost_hooks
from tests.documents import blocks
from tests.segmentation.segmentors import batch, sgd

EMA, EMPTY = "dict(type='EMAHook', momentum=0.1)", "{'type': 'mmengine.EmptyCacheHook'}"
ADAPTED = """
_base_ = "theirs.py"
custom_imports = dict(imports=["gcisg_seg.registry"])
custom_hooks = [dict(type="RegularizerHook")]
model = dict(type="SynToRealEncoderDecoder")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two bases below the config, of which the lower imports a module of the folder."""
    (tmp_path / "my_parts_of_bases.py").write_text("")
    (tmp_path / "lowest.py").write_text(
        f"custom_imports = {{'imports': 'my_parts_of_bases', 'allow_failed_imports': False}}\ncustom_hooks = [{EMPTY}]"
    )
    (tmp_path / "theirs.py").write_text(f"_base_ = ['lowest.py']\ncustom_hooks = [{EMA}, {EMPTY}]\nmodel = dict(a=1)")
    (tmp_path / "adapted.py").write_text(ADAPTED)
    (tmp_path / "heir.py").write_text('_base_ = "adapted.py"\nmodel = dict(a=2)')
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("my_parts_of_bases", None)


@pytest.mark.parametrize("name", ["adapted.py", "heir.py"])
def test_what_the_bases_import_is_imported_too(folder, name):
    config = load_config(str(folder / name), [])
    assert config.custom_imports == {
        "imports": ["my_parts_of_bases", "gcisg_seg.registry"],
        "allow_failed_imports": False,
    }
    assert "my_parts_of_bases" in sys.modules


@pytest.mark.remedy("will not run: repeat it to keep it")
def test_a_hook_that_is_lost_is_named(folder):
    lines = {name: lost_hooks(Config.fromfile(folder / name), folder / name) for name in ("adapted.py", "heir.py")}
    said = f"custom_hooks replaces that of {folder / 'theirs.py'}, so its EMAHook, EmptyCacheHook will not run"
    assert [line.partition(": ")[2].partition(":")[0] for line in lines["adapted.py"]] == [said]
    assert lines["heir.py"] == [line.replace("adapted.py", "heir.py") for line in lines["adapted.py"]]
    repeated = ADAPTED.replace('Hook")]', f'Hook"), {EMA}, {EMPTY}]')
    (folder / "adapted.py").write_text(repeated)
    assert lost_hooks(Config.fromfile(folder / "adapted.py"), folder / "adapted.py") == []
    assert lost_hooks(Config.fromfile(folder / "theirs.py"), folder / "theirs.py") == []


NEW_STYLE = """
from mmengine.hooks import EmptyCacheHook
from mmseg.models.backbones import ResNet
from mmseg.models.data_preprocessor import SegDataPreProcessor
from mmseg.models.decode_heads import FCNHead
from mmseg.models.segmentors import EncoderDecoder
from torch.nn import BatchNorm2d

norm_cfg = dict(type=BatchNorm2d)
head = dict(type=FCNHead, in_channels=64, channels=4, num_classes=2, in_index=3, num_convs=1, norm_cfg=norm_cfg)
backbone = dict(type=ResNet, depth=18, base_channels=8, stem_channels=8, norm_cfg=norm_cfg)
data_preprocessor = dict(type=SegDataPreProcessor, mean=[1.0, 2.0, 3.0], std=[1.0, 1.0, 1.0], size=(256, 256))
model = dict(type=EncoderDecoder, data_preprocessor=data_preprocessor, backbone=backbone, decode_head=head)
default_scope = "mmseg"
"""


def test_a_config_that_imports_its_classes(tmp_path):
    (adapted,) = (block.text for block in blocks("docs/your_model.md") if "new_style.py" in block.text)
    (tmp_path / "your_config.py").write_text(NEW_STYLE)
    (tmp_path / "new_style.py").write_text(adapted)
    config = load_config(str(tmp_path / "new_style.py"), ["model.decode_head.num_classes=5"])
    assert HOOKS.build(config.custom_hooks[0]).priority == "VERY_HIGH"
    model = MODELS.build(config.model)
    assert [kind.__name__ for kind in type(model).__mro__[1:3]] == ["SynToRealMixin", "EncoderDecoder"]
    assert model.data_preprocessor.mean.flatten().tolist() == [1, 2, 3]
    assert "loss_ci_stage4" in model.train_step(batch([(256, 256)]), sgd(model))


def test_a_base_of_mmseg_by_its_name_is_found_in_either_stack(tmp_path):
    (tmp_path / "own.py").write_text('_base_ = "mmseg::_base_/models/fcn_r50-d8.py"')
    assert load_config(str(tmp_path / "own.py"), []).model.decode_head.type == "FCNHead"

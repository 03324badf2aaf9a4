"""torchvision's DeepLabV3 head inside MMSegmentation."""

import inspect
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.models import SegDataPreProcessor
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torchvision.models.segmentation.deeplabv3 import DeepLabHead

from gcisg_core.integrations.mmengine import load_config
from gcisg_seg import heads  # noqa: F401 - registers it
from gcisg_seg.export import export
from tests.segmentation.segmentors import CLASSES, batch

CSG = Path(__file__).parents[2] / "projects/segmentation/csg_r50_deeplabv3_gtav2cityscapes.py"


def build(**kwargs):
    loss = {"type": "CrossEntropyLoss", "avg_non_ignore": True}
    values = {"in_channels": 16, "in_index": 1, "num_classes": CLASSES, "align_corners": True, "loss_decode": loss}
    return MODELS.build({"type": "TorchvisionDeepLabHead", **values, **kwargs})


def test_scores_are_those_of_torchvision():
    head, theirs = build(dilations=(2, 3, 4)), DeepLabHead(16, CLASSES, (2, 3, 4))
    ours = {key.replace("features.", "").replace("conv_seg", "4"): value for key, value in head.state_dict().items()}
    theirs.load_state_dict(ours, strict=True)
    maps = torch.rand(2, 16, 12, 12)
    torch.testing.assert_close(head.eval()([torch.zeros(1), maps]), theirs.eval()(maps), rtol=0, atol=0)


def test_the_loss_is_the_mean_over_labelled_pixels_of_the_enlarged_scores():
    head = build(dilations=(2, 3, 4)).eval()
    maps, samples = torch.rand(2, 16, 12, 12), batch(((48, 48), (48, 48)))["data_samples"]
    labels = torch.cat([sample.gt_sem_seg.data for sample in samples])
    labels[:, :5] = 255
    scores = resize(head([torch.zeros(1), maps]), (48, 48), mode="bilinear", align_corners=True)
    expected = torch.nn.functional.cross_entropy(scores, labels.long(), ignore_index=255)
    for sample, label in zip(samples, labels, strict=True):
        sample.gt_sem_seg.data = label[None]
    torch.testing.assert_close(head.loss([torch.zeros(1), maps], samples, {})["loss_ce"], expected)


def test_an_exported_config_imports_the_head_and_keeps_nothing_else_of_ours(tmp_path):
    small = {"depth": 18, "stem_channels": 8, "base_channels": 8, "init_cfg": None}
    overrides = [f"model.backbone.{key}={value}" for key, value in small.items()]
    config = load_config(str(CSG), [*overrides, "model.decode_head.in_channels=64", "model.regularizer.queue_length=8"])
    init_default_scope("mmseg")
    torch.save({"state_dict": MODELS.build(config.model).state_dict()}, tmp_path / "iter_1.pth")
    exported = export(config, str(tmp_path / "iter_1.pth"))
    (tmp_path / "plain.py").write_text(exported.config)
    plain = Config.fromfile(tmp_path / "plain.py")
    assert plain.custom_imports["imports"] == ["gcisg_seg.heads"]
    assert plain.model.type == "EncoderDecoder"
    assert set(plain.model.data_preprocessor) <= set(inspect.signature(SegDataPreProcessor).parameters) | {"type"}
    MODELS.build(plain.model).load_state_dict(exported.state, strict=True)

"""Frameworks convert a model's normalisation after the method is built: its copies stay copies of the student."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torchvision.models import resnet18
from torchvision.ops import FrozenBatchNorm2d

import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

# isort: split
from detectron2.config import get_cfg
from detectron2.layers import ShapeSpec
from detectron2.modeling.backbone import build_resnet_backbone
from detectron2.utils import comm

from gcisg_core.backbone_plugins import apply_backbone_plugins
from gcisg_core.regularizers import build_regularizer
from tests.processes import on_two_ranks

SYNCHRONISE = nn.SyncBatchNorm.convert_sync_batchnorm
GCISG = {"method": "gcisg", "queue_length": 8, "stages_guidance": [1, 3, 4]}


def mmseg_resnet(norm, kind="ResNetV1c"):
    init_default_scope("mmseg")
    from mmseg.registry import MODELS

    return MODELS.build({"type": kind, "depth": 18, "stem_channels": 8, "base_channels": 8, "norm_cfg": {"type": norm}})


def mmseg_transformer():
    init_default_scope("mmseg")
    from mmseg.registry import MODELS

    return MODELS.build({"type": "MixVisionTransformer", "embed_dims": 8, "num_layers": [1] * 4, "num_heads": [1] * 4})


def detectron2_resnet(norm):
    cfg = get_cfg()
    cfg.MODEL.RESNETS.merge_from_list(["DEPTH", 18, "RES2_OUT_CHANNELS", 64, "NORM", norm])
    cfg.MODEL.RESNETS.OUT_FEATURES = ["res4", "res5"]
    return build_resnet_backbone(cfg, ShapeSpec(channels=3))


def torchvision_resnet(norm=None):
    return resnet18(norm_layer=norm, num_classes=1)


def groups(channels):
    return nn.GroupNorm(2, channels)


class Task(nn.Module):
    """A backbone with the method; its weights arrive after the copies are made, as pretrained ones do."""

    def __init__(self, backbone, changes=None):
        super().__init__()
        self.backbone = backbone
        apply_backbone_plugins(backbone, changes)
        self.regularizer = build_regularizer(backbone, GCISG)
        generator = torch.Generator().manual_seed(0)
        for name, tensor in backbone.state_dict().items():
            if tensor.is_floating_point() and not name.endswith("instance_share"):  # which says what network it is
                tensor.mul_(0.5 + torch.rand(tensor.shape, generator=generator))

    def forward(self, views):
        return self.regularizer.step(views, lambda: {"loss_task": self._task(views[0])})[0]

    def _task(self, images):
        output = self.backbone(images)
        output = [*output.values()] if isinstance(output, dict) else output
        return output[-1].square().mean()


CASES = {
    "BN": (torchvision_resnet, None, None),
    "BN to SyncBN": (torchvision_resnet, None, SYNCHRONISE),
    "SyncBN to mmengine's": (lambda: mmseg_resnet("SyncBN"), None, revert_sync_batchnorm),
    "SyncBN of a plain stem": (lambda: mmseg_resnet("SyncBN", "ResNet"), None, revert_sync_batchnorm),
    "mmengine's to SyncBN": (lambda: revert_sync_batchnorm(mmseg_resnet("SyncBN")), None, SYNCHRONISE),
    "GN": (lambda: torchvision_resnet(groups), None, SYNCHRONISE),
    "LN": (mmseg_transformer, None, revert_sync_batchnorm),
    "FrozenBN": (lambda: torchvision_resnet(FrozenBatchNorm2d), None, SYNCHRONISE),
    "FrozenBN of Detectron2": (lambda: detectron2_resnet("FrozenBN"), None, None),
    "SyncBN of Detectron2": (lambda: detectron2_resnet("SyncBN"), None, revert_sync_batchnorm),
    "naive SyncBN": (lambda: detectron2_resnet("naiveSyncBN"), None, None),
    "IBN a and MixStyle": (torchvision_resnet, {"ibn": "a", "mixstyle": {"p": 1.0}}, SYNCHRONISE),
    "IBN a of mmseg": (lambda: mmseg_resnet("SyncBN", "ResNet"), {"ibn": "a"}, revert_sync_batchnorm),
    "IBN b": (torchvision_resnet, {"ibn": "b"}, SYNCHRONISE),
    "IBN b of Detectron2": (lambda: detectron2_resnet("FrozenBN"), {"ibn": "b"}, None),
}


@pytest.mark.parametrize("case", CASES)
def test_copies_are_exact_after_a_conversion(case):
    make, changes, convert = CASES[case]
    torch.manual_seed(0)
    task = Task(make(), changes)
    names = task.state_dict().keys()
    task = convert(task) if convert else task
    assert task.state_dict().keys() == names  # a checkpoint of either form loads into the other
    student, images = copy.deepcopy(task.backbone), torch.rand(2, 3, 64, 64)
    student.eval()
    expected = task.regularizer.taps[0].run(student, images)
    task.train()
    task.regularizer.init_from_student()
    for stage, features in task.regularizer.reference(images).items():
        torch.testing.assert_close(features, expected[stage], rtol=1e-4, atol=1e-4)
    target = task.regularizer.momentum_encoder.average.module.state_dict()
    for name, value in student.state_dict().items():
        assert torch.equal(target[name], value), name
    losses = task([images, torch.rand_like(images)])
    sum(losses.values()).backward()
    torch.optim.SGD([p for p in task.parameters() if p.requires_grad], lr=0.1).step()
    task.regularizer.after_optimizer_step()
    decay = task.regularizer.settings.decay
    before = dict(student.named_parameters())
    target = dict(task.regularizer.momentum_encoder.average.module.named_parameters())
    for name, parameter in task.backbone.named_parameters():
        torch.testing.assert_close(target[name], decay * before[name] + (1 - decay) * parameter, msg=name)


@pytest.mark.remedy(
    "Change it before, or convert the whole model with the method in it",
    "Change the backbone before, or convert the whole model with the method in it",
)
def test_a_backbone_that_was_changed_alone_is_refused():
    task = Task(resnet18(num_classes=1))
    task.backbone.bn1 = nn.GroupNorm(2, 64, affine=False)
    views = [torch.rand(2, 3, 64, 64) for _ in range(2)]
    with pytest.raises(ValueError, match=r"backbone ResNet was changed after .*: conv1.bias .*convert the whole"):
        task(views)
    task.regularizer.captured.fill_(True)  # as in a run that resumes
    with pytest.raises(ValueError, match=r"parameters of ResNet were changed after .*, at bn1.weight"):
        task.regularizer.after_optimizer_step()
    before = resnet18(num_classes=1)
    before.bn1 = nn.GroupNorm(2, 64, affine=False)
    for good in (Task(before), nn.SyncBatchNorm.convert_sync_batchnorm(Task(resnet18(num_classes=1)))):
        if good.backbone is before:
            good(views)
        good.regularizer.captured.fill_(True)
        good.regularizer.after_optimizer_step()


def run_rank(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    comm._LOCAL_PROCESS_GROUP = dist.group.WORLD
    torch.manual_seed(rank)  # the wrapper hands out rank 0's weights
    task = Task(detectron2_resnet("naiveSyncBN"))
    model = DistributedDataParallel(task).train()
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    task.backbone.eval()
    expected = task.regularizer.taps[0].run(task.backbone, images)
    task.backbone.train()
    optimizer = torch.optim.SGD([p for p in task.parameters() if p.requires_grad], lr=0.1)
    for step in range(2):
        torch.manual_seed(10 * step + rank)
        losses = model([torch.rand(2, 3, 64, 64) for _ in range(2)])
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        task.regularizer.after_optimizer_step()
    for stage, features in task.regularizer.reference(images).items():
        torch.testing.assert_close(features, expected[stage], rtol=1e-4, atol=1e-4)
    torch.save(task.regularizer.state_dict(), Path(folder) / f"{rank}.pth")
    dist.destroy_process_group()


def test_copies_are_exact_and_the_same_on_two_ranks(tmp_path):
    """Detectron2's layer is the only one that synchronises statistics of CPUs."""
    on_two_ranks(run_rank, str(tmp_path))
    first, second = (torch.load(tmp_path / f"{rank}.pth") for rank in (0, 1))
    for name, value in first.items():
        assert torch.equal(value, second[name]), name

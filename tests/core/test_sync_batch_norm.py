"""mmengine converts BatchNorm to SyncBatchNorm after the model and its method are built."""

from __future__ import annotations

import torch
from torch import nn
from torchvision.models import resnet18

from gcisg_core.regularizers import build_regularizer


class Task(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = resnet18(num_classes=1)
        self.regularizer = build_regularizer(self.backbone, {"method": "gcisg", "queue_length": 8})


def test_pretrained_weights_are_captured_after_the_conversion():
    model = Task()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        model.backbone.layer3[0].bn1.running_mean.add_(1.0)  # pretrained weights arrive after the copies are made
        converted = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        converted.regularizer.capture_pretrained()
        converted.backbone.eval()
        expected = converted.regularizer.taps[0].run(converted.backbone, images)
    features = converted.regularizer.reference(images)
    torch.testing.assert_close(features[4], expected[4], rtol=1e-4, atol=1e-5)

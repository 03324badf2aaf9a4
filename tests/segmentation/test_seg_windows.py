"""The windows of the analysis are those in which mmseg predicts."""

from __future__ import annotations

import pytest
import torch

from gcisg_core.feature_tap import make_tap
from gcisg_seg.windows import run_windows, windows
from tests.segmentation.segmentors import build

SIZES = ((64, 96), (65, 97), (40, 40), (30, 100), (48, 48), (49, 30))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("test_cfg", [{"mode": "whole"}, {"mode": "slide", "crop_size": (40, 40), "stride": (24, 30)}])
def test_the_backbone_gets_these_parts_of_an_image(size, test_cfg):
    model = build("deeplabv3plus", {"method": "none"}, test_cfg=test_cfg).eval()
    images = torch.rand(1, 3, *size)
    seen = []
    model.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model.inference(images, [{"img_shape": size, "ori_shape": size}])
    expected = [images[..., rows, columns] for rows, columns in windows(test_cfg, size)]
    assert len(seen) == len(expected)
    assert all(map(torch.equal, seen, expected))


def test_means_are_over_all_windows():
    model = build("deeplabv3plus", {"method": "none"}).eval()
    tap, images = make_tap(model.backbone, [4]), torch.rand(1, 3, 64, 96)
    parts = windows({"mode": "slide", "crop_size": (64, 64), "stride": (32, 32)}, (64, 96))
    with torch.no_grad():
        found = run_windows(tap, model.backbone, images, parts)[4].mean(dim=(2, 3))
        each = [tap.run(model.backbone, images[..., x : x + 64])[4].mean(dim=(2, 3)) for x in (0, 32)]
    torch.testing.assert_close(found, (each[0] + each[1]) / 2)

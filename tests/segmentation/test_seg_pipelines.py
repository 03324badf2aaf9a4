"""The steps that an export and a prediction take from a run: its own loader, and nothing that asks for labels."""

import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmseg.registry import TRANSFORMS

import gcisg_seg.registry  # noqa: F401
from gcisg_seg.pipelines import LOADER, decoded, evaluation_steps

RESIZE, PACK = {"type": "Resize", "scale": (32, 32)}, {"type": "PackSegInputs"}
GREY = {"type": "LoadImageFromFile", "color_type": "grayscale", "to_float32": True}


@pytest.fixture
def own_steps():
    class LoadBands(BaseTransform):
        def transform(self, results):
            return results

    class TransposeLabels(BaseTransform):
        def transform(self, results):
            results["gt_seg_map"] = results["gt_seg_map"].T
            return results

    class OnlyOfBands(TransposeLabels):
        def transform(self, results):
            if results["img"].shape[2] != 5:
                raise ValueError("5 bands are expected")
            return super().transform(results)

    kinds = (LoadBands, TransposeLabels, OnlyOfBands)
    for kind in kinds:
        TRANSFORMS._register_module(kind, force=True)
    yield
    for kind in kinds:
        del TRANSFORMS._module_dict[kind.__name__]


def steps_of(*steps):
    return evaluation_steps(Config({"test_dataloader": {"dataset": {"pipeline": list(steps)}}}))


@pytest.mark.parametrize(
    ("loader", "expected"),
    [
        ({"type": "LoadCheckedImage"}, LOADER),
        ({"type": "LoadImageFromFile", "to_float32": True}, {**LOADER, "to_float32": True}),
        ({"type": "LoadBands"}, {"type": "LoadBands"}),
        (GREY, GREY),
        ({"type": "mmcv.LoadImageFromFile"}, {"type": "mmcv.LoadImageFromFile"}),
    ],
)
def test_the_loader_is_the_runs_own_unless_it_is_ours(own_steps, loader, expected):
    labels = {"type": "LoadAnnotations"}
    assert steps_of(loader, RESIZE, labels, {**PACK, "meta_keys": ("img_path",)}) == [expected, RESIZE, PACK]


def test_a_step_that_asks_for_labels_is_left_out(own_steps):
    transpose = {"type": "TransposeLabels"}
    assert steps_of({"type": "LoadBands"}, RESIZE, transpose, PACK) == [{"type": "LoadBands"}, RESIZE, PACK]
    unknown = {"type": "OnlyOfBands"}  # what cannot be tried stays
    assert steps_of({"type": "LoadBands"}, unknown, transpose, PACK)[1:] == [unknown, transpose, PACK]


def test_decoded_images_are_as_the_loader_gives_them():
    image = TRANSFORMS.build(decoded(GREY))({"img": np.ones((4, 4), np.uint8)})["img"]
    assert image.dtype == np.float32
    assert TRANSFORMS.build(PACK)({"img": image, "img_path": ""})["inputs"].dtype == torch.float32

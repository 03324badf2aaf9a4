"""The official OpenMMLab packages and OneDL's, told apart by what is installed."""

import itertools
import re
import sys
from importlib.machinery import PathFinder

import pytest
import torch

from gcisg_core.integrations import openmmlab
from gcisg_core.problems import MissingPackageError
from gcisg_suite import doctor
from gcisg_suite.cli import main
from tests.families_list import segmentor

OFFICIAL = {"mmengine": "0.10.7", "mmcv-lite": "2.1.0", "mmsegmentation": "1.2.2"}
ONEDL = {"onedl-mmengine": "0.10.12", "onedl-mmcv": "2.3.6", "onedl-mmsegmentation": "1.4.2"}
MODULES = ("mmengine", "mmcv", "mmseg", "mmdet", "mmpretrain")
OURS = [
    *["-r requirements/frameworks.txt"] * 3,
    *[f"--no-deps -r requirements/{name}.txt" for name in ("mmdet", "mmpretrain")],
]


def theirs(mmcv):
    needed = f"'{mmcv}>=2.0,<2.2'"
    both = [f"'{name}' {needed}" for name in ("mmsegmentation>=1.2", "mmdet>=3.1", "mmpretrain>=1.2")]
    return ["'mmengine>=0.10'", needed, *both]


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """Makes an environment in which only these distributions are installed."""

    def make(versions):
        for name, version in versions.items():
            folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
            folder.mkdir()
            (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        monkeypatch.setattr(sys, "path", [str(tmp_path)])

    return make


def extension():
    return openmmlab._Finder().find_spec("mmcv._ext")


@pytest.mark.parametrize("stack", [OFFICIAL, ONEDL])
def test_an_mmcv_without_operators_says_which_one_is_missing(stack, environment):
    environment(stack)
    module = extension().loader.create_module(extension())
    assert hasattr(module, "nms")  # mmcv checks each before it continues
    with pytest.raises(MissingPackageError, match=r"`nms` is not installed"):
        module.nms(1, iou_threshold=0.5)
    assert not hasattr(module, "__wrapped__")
    assert openmmlab._Finder().find_spec("mmcv.missing") is None


def test_deformable_attention_on_a_gpu_is_that_of_the_cpu():
    """mmcv's function for the GPU, which calls the extension, and its function for the CPU: outputs and gradients."""
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    module = openmmlab.MissingOperators("mmcv._ext")
    shapes, generator = torch.tensor([[4, 6], [2, 3]]), torch.Generator().manual_seed(0)
    value, locations, weights = (
        torch.rand(size, generator=generator, requires_grad=True)
        for size in ((2, 30, 2, 4), (2, 5, 2, 2, 3, 2), (2, 5, 2, 2, 3))
    )
    expected = multi_scale_deformable_attn_pytorch(value, shapes, locations, weights)
    upstream = torch.rand(expected.shape, generator=generator)
    gradients = torch.autograd.grad(expected, (value, locations, weights), upstream)
    inputs = [tensor.detach() for tensor in (value, shapes, shapes, locations, weights)]
    torch.testing.assert_close(module.ms_deform_attn_forward(*inputs, im2col_step=64), expected.detach())
    found = [torch.zeros_like(tensor) for tensor in (value, locations, weights)]
    with torch.no_grad():  # as a backward is called
        module.ms_deform_attn_backward(*inputs, upstream, *found, im2col_step=64)
    torch.testing.assert_close(found, list(gradients))


@pytest.mark.parametrize("weight", [None, torch.tensor([1.0, 2.0, 0.5])])
def test_focal_loss_on_a_gpu_is_that_of_the_cpu(weight):
    """mmcv's function for the GPU, which calls the extension, and mmseg's for the CPU: values and gradients."""
    from mmcv.ops import sigmoid_focal_loss
    from mmseg.models.losses.focal_loss import py_sigmoid_focal_loss

    logits = torch.randn(7, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    target = torch.tensor([0, 1, 2, 0, 1, 2, 0 if weight is not None else 3])  # 3 is the background
    each = None if weight is None else weight[target][:, None]
    labels = torch.nn.functional.one_hot(target, 4)[:, :3].float()
    expected = py_sigmoid_focal_loss(logits, labels, labels, each, gamma=1.5, alpha=0.3, reduction="mean") * 3
    found = sigmoid_focal_loss(logits, target, 1.5, 0.3, weight, "mean")
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(loss, logits) for loss in (found, expected)))


@pytest.mark.parametrize("kind", ["collect", "distribute"])
def test_psanets_masks_are_those_of_a_loop_over_all_positions(kind):
    """mmcv's function, which calls the extension: values, and the gradient of a sum with weights."""
    from mmcv.ops import PSAMask

    rows, columns, height, width = 3, 5, 3, 4  # the mask is wider than the map
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(2, rows * columns, height, width, generator=generator, requires_grad=True)
    expected = torch.zeros(2, height * width, height, width)
    for h, w, i, j in itertools.product(range(height), range(width), range(height), range(width)):
        row, column = i - h + rows // 2, j - w + columns // 2
        if 0 <= row < rows and 0 <= column < columns:
            goal = (i * width + j, h, w) if kind == "collect" else (h * width + w, i, j)
            expected[(slice(None), *goal)] = masks[:, row * columns + column, h, w]
    found = PSAMask(kind, (rows, columns))(masks)
    torch.testing.assert_close(found, expected)
    weights = torch.rand(found.shape, generator=generator)
    torch.testing.assert_close(*(torch.autograd.grad((out * weights).sum(), masks) for out in (found, expected)))


@pytest.mark.remedy("which is not installed: pip install {} (docs/install.md)")
def test_parts_of_mmdetection_ask_for_it_where_it_is_absent(tmp_path, monkeypatch):
    monkeypatch.setattr(openmmlab, "find_spec", lambda name: None)
    config = tmp_path / "mine.py"
    config.write_text(segmentor("mask2former_r50", tmp_path / "data"))
    said = f"^error: the model has parts of mmdetection .* pip install {re.escape(openmmlab.requirements('mmdet'))} "
    with pytest.raises(SystemExit, match=said):
        main(["train", "--config", str(config), "--output", str(tmp_path / "run")])


@pytest.mark.remedy("pip install {} (docs/install.md)")
def test_a_module_of_openmmlab_that_is_absent_is_named_with_its_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mmpretrain", None)
    (tmp_path / "mine.py").write_text("custom_imports = dict(imports=['mmpretrain.models'])")
    said = f"mine.py: custom_imports .*mmpretrain.*: .*pip install {re.escape(openmmlab.requirements('mmpretrain'))} "
    with pytest.raises(SystemExit, match=said):
        main(["train", "--config", str(tmp_path / "mine.py"), "--output", str(tmp_path / "run")])


def test_an_extension_that_exists_is_found_first():
    finders = [finder if isinstance(finder, type) else type(finder) for finder in sys.meta_path]
    assert finders.index(PathFinder) < finders.index(openmmlab._Finder)


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ({}, OURS),
        (ONEDL, OURS),
        (OFFICIAL, theirs("mmcv-lite")),
        ({"mmcv": "2.2.0"}, theirs("mmcv")),
    ],
)
def test_what_is_missing_is_installed_in_the_stack_that_is_there(versions, expected, environment):
    environment(versions)
    assert [openmmlab.requirements(module) for module in MODULES] == expected


@pytest.mark.parametrize(
    ("versions", "found"),
    [
        ({}, "none"),
        (OFFICIAL, "official (mmengine 0.10.7, mmcv-lite 2.1.0, mmsegmentation 1.2.2)"),
        (ONEDL, "OneDL's (onedl-mmengine 0.10.12, onedl-mmcv 2.3.6, onedl-mmsegmentation 1.4.2)"),
    ],
)
def test_the_doctor_names_the_stack(versions, found, environment):
    environment(versions)
    assert doctor.openmmlab_stack() == ("all", "OpenMMLab stack", found, "")


def test_the_doctor_warns_of_two_stacks_in_one_environment(environment):
    environment({"mmengine": "0.10.7", **ONEDL})
    check = doctor.openmmlab_stack()
    assert check.found == f"official (mmengine 0.10.7); OneDL's ({', '.join(map(' '.join, ONEDL.items()))})"
    assert f"pip uninstall mmengine {' '.join(ONEDL)}, then install one stack" in check.fix

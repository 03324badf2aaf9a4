"""The official OpenMMLab packages and OneDL's, told apart by what is installed."""

import sys
from importlib.machinery import PathFinder

import pytest

from gcisg_core.integrations import openmmlab
from gcisg_suite import doctor

OFFICIAL = {"mmengine": "0.10.7", "mmcv-lite": "2.1.0", "mmsegmentation": "1.2.2"}
ONEDL = {"onedl-mmengine": "0.10.12", "onedl-mmcv": "2.3.6", "onedl-mmsegmentation": "1.4.2"}
MODULES = ("mmengine", "mmcv", "mmseg")


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


def test_official_mmcv_without_operators_says_which_one_is_missing(environment):
    environment(OFFICIAL)
    module = extension().loader.create_module(extension())
    assert hasattr(module, "nms")  # mmcv checks each before it goes on
    with pytest.raises(ImportError, match=r"`nms` is not installed"):
        module.nms(1, iou_threshold=0.5)
    assert not hasattr(module, "__wrapped__")
    assert openmmlab._Finder().find_spec("mmcv.missing") is None


def test_onedl_does_without_and_an_extension_that_exists_is_found_first(environment):
    environment(ONEDL)
    assert extension() is None
    finders = [finder if isinstance(finder, type) else type(finder) for finder in sys.meta_path]
    assert finders.index(PathFinder) < finders.index(openmmlab._Finder)


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ({}, ["-r requirements/frameworks.txt"] * 3),
        (ONEDL, ["-r requirements/frameworks.txt"] * 3),
        (OFFICIAL, ["'mmengine>=0.10'", "'mmcv-lite>=2.0,<2.2'", "'mmsegmentation>=1.2' 'mmcv-lite>=2.0,<2.2'"]),
        ({"mmcv": "2.2.0"}, ["'mmengine>=0.10'", "'mmcv>=2.0,<2.2'", "'mmsegmentation>=1.2' 'mmcv>=2.0,<2.2'"]),
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
    assert f"pip uninstall mmengine {' '.join(ONEDL)}, then install one stack" in check.mend

"""The pages of docs/methods: complete, their generated parts up to date, their configs those of the method."""

import dataclasses
import inspect
import re

import pytest
import yaml
from torchvision.models import resnet18

import gcisg_det  # noqa: F401 - repairs Detectron2 0.5 before it is imported

# isort: split
from gcisg_cls.self_training import SelfTrainingDataset, SelfTrainingHook
from gcisg_core.backbone_plugins import BACKBONE_PLUGINS, apply_backbone_plugins
from gcisg_core.regularizers import METHODS, build_regularizer, read_method
from gcisg_core.views import PhotometricView
from gcisg_det.config import read_config, regularizer_values
from gcisg_suite import generated
from gcisg_suite.method_pictures import draw, pictures
from tests.documents import ROOT, blocks, commands
from tests.kept_runs import write_sweep
from tests.methods import settings_of

FOLDER = ROOT / "docs/methods"
PAGES = sorted(path.stem for path in FOLDER.glob("*.md"))
DOCUMENTS = generated.documents()


def test_every_method_and_plugin_has_a_page_that_the_navigation_lists():
    assert {*METHODS, *BACKBONE_PLUGINS, "guidance", "causal_invariance", "pasta", "cbst"} == set(PAGES)
    navigation = (ROOT / "mkdocs.yml").read_text()
    assert all(f"methods/{name}.md" in navigation for name in PAGES)


@pytest.mark.parametrize("document", DOCUMENTS, ids=[path.stem for path in DOCUMENTS])
def test_generated_parts_are_up_to_date(document):
    text = document.read_text()
    assert generated.filled(text) == text, "python tools/results_write.py"


def test_pictures_are_up_to_date_and_shown():
    for name, picture in pictures().items():
        assert (FOLDER / f"{name}.svg").read_text() == draw(picture), "python tools/results_write.py"
        assert f"]({name}.svg)" in (FOLDER / f"{name}.md").read_text()
    assert {path.stem for path in FOLDER.glob("*.svg")} == pictures().keys()


@pytest.mark.parametrize("name", METHODS)
def test_every_setting_is_there_with_its_default(name):
    """Read from the page, as a reader does; what a method inherits is on its parent's page."""
    rows = re.findall(r"^\| `(\w+)` +\| `([^`]+)` +\|", (FOLDER / f"{name}.md").read_text(), re.M)
    inherited = {
        field.name for field in dataclasses.fields(METHODS["gcisg" if name == "guided" else "none"].settings_class)
    }
    shown = {key: yaml.safe_load(value.replace("None", "null")) for key, value in rows}
    for field in dataclasses.fields(METHODS[name].settings_class):
        if field.name in shown or field.name not in inherited:
            default = field.default
            assert shown[field.name] == (list(default) if isinstance(default, tuple) else default)


def test_the_page_of_self_training_has_the_defaults_of_its_hook_and_data_set():
    text = (FOLDER / "cbst.md").read_text()
    shown = {key: yaml.safe_load(value) for key, value in re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", text, re.M)}
    given = [inspect.signature(part).parameters.values() for part in (SelfTrainingHook, SelfTrainingDataset)]
    assert shown == {item.name: item.default for part in given for item in part if item.default is not item.empty}
    (python,) = (block.text for block in blocks("docs/methods/cbst.md") if block.language == "python")
    scope: dict = {}
    exec(python, scope)
    hook = {key: value for key, value in scope["custom_hooks"][1].items() if key != "type"}
    assert {"mix_source": True, **hook} == shown


@pytest.mark.parametrize("name", sorted({*PAGES} - {"cbst"}))  # in classification only
def test_the_configs_of_a_page_are_those_of_its_method(name, tmp_path):
    (python,), (text,) = ([block.text for block in blocks(f"docs/methods/{name}.md") if block.language == language]
                          for language in ("python", "yaml"))  # fmt: skip
    scope: dict = {}
    exec(python, scope)
    (tmp_path / "config.yaml").write_text(text)
    detection = read_config(str(tmp_path / "config.yaml"), ["MODEL.META_ARCHITECTURE", "SynToRealDetector"])
    if name == "pasta":
        changed = PhotometricView(**scope["photometric"]).pasta
        assert [changed.alpha, changed.k, changed.beta] == detection.INPUT.PASTA
    elif name in BACKBONE_PLUGINS:
        apply_backbone_plugins(resnet18(), scope["model"]["backbone_plugins"])
        assert name.upper() in yaml.safe_load(text)["MODEL"]["BACKBONE_PLUGINS"]
    else:
        method, settings = read_method(scope["model"]["regularizer"])
        assert (method, settings) == read_method(regularizer_values(detection))
        assert method is METHODS.get(name, METHODS["gcisg"])


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("none", "oracle", "weight_l2", "si")])
def test_a_picture_shows_the_stages_and_the_networks_that_the_method_has(name, tmp_path):
    built = build_regularizer(resnet18(), settings_of(name, tmp_path, channels=512))
    picture = pictures()[name]
    read = {stage for tap in built.taps if tap is not None for stage in tap.locations}
    assert {stage for link in picture.links for stage in link.stages} == read
    rows = " ".join(network.name for network in picture.networks)
    assert ("frozen" in rows) == (getattr(built, "reference", None) is not None)
    assert ("momentum encoder" in rows) == (getattr(built, "momentum_encoder", None) is not None)


TERMS = r"match rate|Acc_IN|CKA|[Vv]anilla|\boracle\b|momentum encoder"
# Those that are written by a program say it themselves, and in extend.md it stands in code.
EXPLAINED = {ROOT / f"docs/{name}.md" for name in ("glossary", "results", "recipes", "miniature", "extend")}


def test_what_uses_a_term_links_the_glossary():
    pages = {ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *ROOT.glob("projects/*/README.md")} - EXPLAINED
    without = [page for page in pages if re.search(TERMS, page.read_text()) and "glossary.md" not in page.read_text()]
    assert not without
    glossary = (ROOT / "docs/glossary.md").read_text()
    assert all(f"**{term}" in glossary or f", {term}**" in glossary
               for term in ("vanilla", "oracle", "CI", "guidance", "match rate", "Acc_IN", "CKA"))  # fmt: skip


def test_the_commands_of_the_pages_are_run_for_another_page():
    shown = {command for name in PAGES for command in commands(f"docs/methods/{name}.md")}
    others = {*commands("docs/your_model.md"), *commands("projects/classification/README.md")}
    assert "pip install 'gcisg[guides]'" in shown <= others


def test_gains_are_those_of_the_sweep_of_methods_paired_by_seed(tmp_path):
    values = {"vanilla": [50, 60, 70], "guidance per patch": [51, 62, 73], "CSG": [0, 0]}
    write_sweep(tmp_path, "classification", "methods", values)
    write_sweep(tmp_path, "classification", "a", {"vanilla": [0] * 4, "guidance per patch": [9] * 4})
    write_sweep(tmp_path, "segmentation", "methods", {"vanilla": [5, 5], "guidance per patch": [4, 6.1]})
    write_sweep(tmp_path, "detection", "methods", {"vanilla": [5], "CSG": [6]})
    assert generated.gain("guidance", "per", "patch", root=tmp_path).splitlines() == [
        "- Classification: +2.00 [-0.48, +4.48] points of accuracy over vanilla (mean and 95 % interval of 3 seeds): "
        "no clear difference.",
        "- Segmentation: +0.05 [-13.29, +13.39] points of mIoU over vanilla (mean and 95 % interval of 2 seeds): "
        "no clear difference.",
        "- Detection: not run.",
    ]
    with pytest.raises(ValueError, match="unknown variant of .*methods.yaml 'csg'"):
        generated.gain("csg", root=tmp_path)
    (tmp_path / "docs/methods").mkdir(parents=True)
    page = tmp_path / "docs/methods/guidance.md"
    page.write_text("<!-- generated: gain guidance per patch -->\nold\n<!-- end -->\n")
    (tmp_path / "docs/methods/csg.md").write_text("<!-- generated: gain CSG -->\nold\n<!-- end -->\n")
    table = re.sub(" +", " ", generated.gains(root=tmp_path))
    assert "| [guidance](methods/guidance.md) | +2.00 [-0.48, +4.48] | +0.05 [-13.29, +13.39] |" in table
    assert "| [csg](methods/csg.md) | -55.00 [-118.53, +8.53], 2 seeds |" in table
    generated.write(tmp_path)
    assert "old" not in page.read_text()
    assert (
        "+1.00 points of AP over vanilla (one seed, so no interval)" in (tmp_path / "docs/methods/csg.md").read_text()
    )


def test_a_part_of_an_unknown_kind_is_named():
    with pytest.raises(ValueError, match="Did you mean 'gain'"):
        generated.filled("<!-- generated: gian gcisg -->\n<!-- end -->")

"""docs/recipes.md: each setting of a full-size recipe has an origin, and figures stand beside their recipes only."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from gcisg_core.problems import DataError
from gcisg_suite.zoo import recipes

ROOT = Path(__file__).parents[2]
ZOO = ROOT / "zoo"

SOURCE = re.compile(
    r"(GCISG|CSG), (\d|Table|Eq)|(GCISG|CSG|ASG|RobustNet|IBN-Net)'s code\b"
    r"|default of (MMSegmentation|Detectron2|torchvision)|ours: \S"
)
CSG = "classification/csg_r101_visda17"


@pytest.fixture(scope="module")
def found():
    return recipes.read(ROOT)


@pytest.fixture
def own(tmp_path):
    """A function that changes a copy of docs/recipes.yml, in a copy of what is read; the copy's root."""
    for name in ("docs/recipes.yml", "zoo/rows.yml"):
        (tmp_path / name).parent.mkdir()
        shutil.copy(ROOT / name, tmp_path / name)

    def change(old, new):
        path = tmp_path / "docs" / "recipes.yml"
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1
        path.write_text(text.replace(old, new), encoding="utf-8")
        return tmp_path

    return change


def test_every_full_size_row_has_a_recipe_with_a_source_for_each_setting(found):
    tasks = yaml.safe_load((ZOO / "rows.yml").read_text())["tasks"]
    names = [f"{task}/{Path(row['config']).stem}" for task, about in tasks.items() for row in about["rows"]]
    assert list(found) == [name for name in names if not name.endswith("_mini")]
    for recipe in found.values():
        assert len(recipe.rows) >= 20
        for setting, (value, origin) in recipe.rows.items():
            assert value, (recipe.name, setting)
            assert SOURCE.match(origin), (recipe.name, setting, origin)


def test_values_are_those_of_the_configs(found):
    csg = found[CSG].rows
    assert csg["Learning rate"][0] == "0.0001"
    assert csg["Learning rate by module"][0] == "backbone (lr_mult=0.1)"
    assert csg["`queue_length`"][0] == "65536"  # a default of the settings, which no config repeats
    assert csg["Schedule"][0] == "WarmupPolyLR(end=142860, warmup=100, power=0.9)"
    assert found["detection/baseline_r101_fpn"].rows["Batch"][0] == "4"
    assert found["detection/baseline_r101_fpn"].rows["BatchNorm"][0] == "FrozenBN"  # Detectron2's default


def test_values_do_not_depend_on_where_the_data_are(monkeypatch):
    monkeypatch.setenv("GCISG_DATA", "/elsewhere")
    for config in ("segmentation/drpc_r50_deeplabv3_gtav2cityscapes.py", "detection/baseline_r101_fpn.yaml"):
        assert "/elsewhere" not in str(recipes.resolved(f"projects/{config}"))


def test_a_papers_figure_and_schedule_belong_to_the_recipe_of_the_row(found):
    tasks = yaml.safe_load((ZOO / "rows.yml").read_text())["tasks"]
    for task, row in ((task, row) for task, about in tasks.items() for row in about["rows"]):
        recipe = found.get(f"{task}/{Path(row['config']).stem}")
        if recipe:
            assert "paper" not in row or recipe.follows
            assert row["schedule"].endswith(f"batch {recipe.rows['Batch'][0]}"), recipe.name
            iterations = re.match(r"([\d,]+) iterations", row["schedule"])
            length = recipe.rows["Length"][0].rpartition("=")[2]
            assert not iterations or iterations[1].replace(",", "") == length, recipe.name


def test_a_figure_beside_a_recipe_of_ours_is_refused(own):
    root = own(f"  {CSG}:\n    follows: CSG\n", f"  {CSG}:\n")
    with pytest.raises(
        DataError, match=rf"{CSG} has a paper's figure, \[64.05\], but recipes.yml calls the recipe ours"
    ):
        recipes.read(root)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('      "`lambda_csg`": "CSG, 4.1"\n', "", rf"{CSG}: `lambda_csg` \(0.1\) has no origin"),
        (
            '"`lambda_csg`": "CSG, 4.1"\n',
            '"`lambda_csg`": "CSG, 4.1"\n      "`lambda`": "CSG"\n',
            "`lambda` is not a setting",
        ),
        ("  detection/csg_r50_fpn:\n", "  detection/csg:\n", "detection/csg_r50_fpn has no entry"),
        ("    like: detection/csg_r101_fpn\n", "    like: detection/csg_r11_fpn\n", "Did you mean 'detection/csg_r101"),
        ("recipes:\n", "recipes:\n  detection/none: {about: none}\n", "detection/none: no such row of rows.yml"),
    ],
)
def test_what_has_no_origin_or_no_setting_is_named(own, old, new, fault):
    with pytest.raises(ValueError, match=fault):
        recipes.read(own(old, new))


def test_a_new_key_of_a_config_needs_a_setting(monkeypatch):
    resolved = recipes.resolved

    def with_more(config):
        node = resolved(config)
        node.get("optim_wrapper", {})["clip_grad"] = {"max_norm": 2.0}
        return node

    monkeypatch.setattr(recipes, "resolved", with_more)
    with pytest.raises(DataError, match="optim_wrapper.clip_grad.max_norm is in no setting"):
        recipes.read(ROOT)


# What the message says to do, the file, and what becomes what in it; back again, the message was followed.
ENTRIES = [
    ("Correct the entry: give each setting an origin", "docs/recipes.yml",
        "    like: detection/csg_r101_fpn\n    origins: {Network:",
        "    like: detection/csg_r101_fpn\n    origins: {none: ours, Network:"),
    ("Remove the entry", "docs/recipes.yml", "recipes:\n", "recipes:\n  detection/none: {about: none}\n"),
    ("Add it: each full-size row of rows.yml has one", "zoo/rows.yml", "csg_r101_visda17", "csg_r102_visda17"),
]  # fmt: skip


@pytest.mark.remedy(*ENTRIES)
@pytest.mark.remedy("Remove the figure: it belongs to another recipe")
def test_what_the_message_says_of_an_entry_is_done(own, found, tmp_path, monkeypatch):
    resolved = {recipe.config: recipes.resolved(recipe.config) for recipe in found.values()}
    monkeypatch.setattr(recipes, "resolved", resolved.get)
    own("recipes:\n", "recipes:\n")
    for words, file, right, wrong in ENTRIES:
        text = (tmp_path / file).read_text(encoding="utf-8")
        assert right in text
        (tmp_path / file).write_text(text.replace(right, wrong, 1), encoding="utf-8")
        with pytest.raises(DataError, match=re.escape(words)):
            recipes.read(tmp_path)
        (tmp_path / file).write_text(text, encoding="utf-8")
        assert recipes.read(tmp_path) == found
    rows = yaml.safe_load((tmp_path / "zoo/rows.yml").read_text(encoding="utf-8"))
    entries = yaml.safe_load((tmp_path / "docs/recipes.yml").read_text(encoding="utf-8"))["recipes"]
    row = next(
        row for task, about in rows["tasks"].items() for row in about["rows"]
        if "paper" not in row and not entries.get(f"{task}/{Path(row['config']).stem}", {"follows": 1}).get("follows")
    )  # fmt: skip
    row["paper"] = {"mIoU %": 1}
    (tmp_path / "zoo/rows.yml").write_text(yaml.safe_dump(rows, sort_keys=False), encoding="utf-8")
    with pytest.raises(DataError, match="Remove the figure: it belongs to another recipe"):
        recipes.read(tmp_path)
    del row["paper"]
    (tmp_path / "zoo/rows.yml").write_text(yaml.safe_dump(rows, sort_keys=False), encoding="utf-8")
    assert recipes.read(tmp_path) == found

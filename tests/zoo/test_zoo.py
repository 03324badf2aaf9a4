"""The model zoo: its files say the same, are whole, load strictly, and are refused when they were altered."""

import itertools
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from mmengine.config import Config
from PIL import Image

from gcisg_core.export import file_hash
from gcisg_suite.cli import main
from gcisg_suite.sweep.run import read_runs
from gcisg_suite.zoo import write as zoo_write
from gcisg_suite.zoo import zoo

ROOT = Path(__file__).parents[2]
ZOO = ROOT / "zoo"
MODELS = zoo.read_models(ZOO)
SHIPPED = {name: model for name, model in MODELS.items() if "Checkpoint" in model}
NAME = "classification/gcisg_mini"
# Parts of configs, the reference network's, and those for data of your own.
OTHERS = ("Base-", "reference_", "own_data")


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A copy of the zoo that a test may change, and no data."""
    shutil.copytree(ZOO, tmp_path / "zoo")
    monkeypatch.setattr(zoo, "zoo_folder", lambda: tmp_path / "zoo")
    monkeypatch.setenv("GCISG_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(ROOT)
    return tmp_path / "zoo"


def command(words):
    """`gcisg zoo ...` in this process; returns the status, and lets a message through."""
    try:
        main(["zoo", *words])
    except SystemExit as stop:
        if isinstance(stop.code, str):
            raise
        return stop.code
    return 0


def test_table_and_metafile_are_what_the_tool_writes():
    for path, text in zoo_write.contents(ZOO).items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is out of date: python tools/zoo_write.py"


def test_every_config_has_a_row():
    configs = {
        str(path.relative_to(ROOT))
        for task in ("classification", "segmentation", "detection")
        for path in (ROOT / "projects" / task).iterdir()
        if path.suffix in (".py", ".yaml") and not path.name.startswith(OTHERS)
    }
    assert {model["Config"] for model in MODELS.values()} == configs, "add a row to zoo/rows.yml"


def test_metafile_has_the_form_of_the_model_index():
    content = yaml.safe_load((ZOO / "metafile.yml").read_text())
    (imported,) = yaml.safe_load((ROOT / "model-index.yml").read_text())["Import"]
    assert ROOT / imported == ZOO / "metafile.yml"
    collections = {collection["Name"] for collection in content["Collections"]}
    for model in content["Models"]:
        assert model["In Collection"] in collections
        for result in model.get("Results", ()):
            assert {"Task", "Dataset", "Metrics"} <= result.keys()
            assert all(isinstance(value, float) for value in result["Metrics"].values())


def test_a_row_is_measured_by_us_or_says_that_it_is_not():
    lines = [line for line in (ROOT / "MODEL_ZOO.md").read_text().splitlines() if "](projects/" in line]
    assert len(lines) == len(MODELS)
    for line in lines:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        unmeasured = "not evaluated" if "_mini]" in cells[0] else "not trained by us"
        measured = re.match(r"[\d.]+ ± [\d.]+", cells[2]) and re.fullmatch(r"\d+", cells[7])
        assert measured or (cells[2], cells[7]) == (unmeasured, "-")


def test_rows_with_a_file_come_first():
    for section in (ROOT / "MODEL_ZOO.md").read_text().split("\n## ")[1:]:
        files = ["MB](zoo/" in line for line in section.splitlines() if "](projects/" in line]
        assert True in files
        assert files == sorted(files, reverse=True)


@pytest.mark.parametrize("name", [name for name in MODELS if name.endswith("_mini")])
def test_figures_are_those_of_the_sweep(name):
    task, _, config = name.partition("/")
    about = yaml.safe_load((ZOO / "rows.yml").read_text())["tasks"][task]
    (row,) = (row for row in about["rows"] if Path(row["config"]).stem == config)
    runs = read_runs(ROOT / row.get("sweep", about["sweep"]))
    found = [run["test"] for run in runs if run["config"] == config and not run["overrides"]]
    results = MODELS[name].get("Results", [])
    assert len(results) == bool(found)
    for (key, metric), result in itertools.product(about["metrics"].items(), results):
        values = [run[key] for run in found]
        assert result["Metrics"][metric["head"]] == pytest.approx(np.mean(values), abs=0.0051)
        assert result["Standard Deviations"][metric["head"]] == pytest.approx(np.std(values, ddof=1), abs=0.0051)


def test_a_model_of_one_run_has_no_deviation(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo_write, "read_runs", lambda path: [run for run in read_runs(path) if run["seed"] == 0])
    page, metafile = (zoo_write.contents(ZOO)[path] for path in (ROOT / "MODEL_ZOO.md", ZOO / "metafile.yml"))
    assert "±" not in re.search(r"^.*\[gcisg_mini\].*$", page, re.M)[0]
    (model,) = (model for model in yaml.safe_load(metafile)["Models"] if model["Name"] == NAME)
    assert model["Metadata"]["Seeds"] == 1
    assert model["Results"][0].keys() == {"Task", "Dataset", "Metrics"}


def test_files_of_all_tasks_are_shipped_in_little_more_than_two_megabytes():
    assert {name.partition("/")[0] for name in SHIPPED} == {"classification", "segmentation", "detection"}
    assert sum(path.stat().st_size for path in ZOO.iterdir()) <= 2.1e6
    files = {name for model in SHIPPED.values() for name in (model["Checkpoint"]["File"], model["Checkpoint"]["Log"])}
    assert {path.name for path in ZOO.iterdir()} == files | {"rows.yml", "metafile.yml", "checkpoints.json"}
    for model in SHIPPED.values():
        assert '"/' not in (ZOO / model["Checkpoint"]["Log"]).read_text(), "an absolute path"


def test_each_file_is_whole_and_loads_strictly(own, capsys):
    assert command(["verify"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in SHIPPED:
        assert [line.startswith(f"{name}: hash and strict load are correct; not evaluated") for line in lines].count(
            True
        ) == 1


@pytest.mark.remedy("Restore it from the repository, or fetch it: {}")
def test_an_altered_an_absent_and_another_models_file_are_named(own, capsys):
    path = own / SHIPPED[NAME]["Checkpoint"]["File"]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert command(["verify", NAME]) == 1
    assert f"{path}: its SHA-256 is {zoo.sha256(path)}, expected" in capsys.readouterr().out
    path.unlink()
    assert command(["verify", NAME]) == 1
    said = capsys.readouterr().out
    assert "no such file" in said
    (remedy,) = re.findall(r"or fetch it: .*? zoo (.*)", said)
    assert command(shlex.split(remedy.replace("URL", shlex.quote(str(ZOO))))) == 0
    capsys.readouterr()
    assert command(["verify", NAME]) == 0
    assert "not evaluated: " in capsys.readouterr().out
    config, file = MODELS["segmentation/gcisg_mini"]["Config"], ZOO / SHIPPED[NAME]["Checkpoint"]["File"]
    with pytest.raises(ValueError, match="does not fit this config's model"):
        zoo.load_and_evaluate(config, str(file), with_metrics=False)


@pytest.fixture
def images(own):
    """Ten classes of noise as the miniature's test split."""
    classes = Config.fromfile(ROOT / MODELS[NAME]["Config"]).classes
    folder = own.parent / "data/mini/classification"
    rng = np.random.default_rng(0)
    for name in classes:
        (folder / "test" / name).mkdir(parents=True)
        for number in range(3):
            pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
            Image.fromarray(pixels).save(folder / "test" / name / f"{number}.png")
    return folder


def test_metrics_are_measured_again_where_data_are(own, images, capsys):
    assert command(["verify", NAME]) == 1
    found = re.search(r"WRONG: .*accuracy/mean_class is ([\d.]+), expected", capsys.readouterr().out)
    model = {**SHIPPED[NAME], "Checkpoint": {**SHIPPED[NAME]["Checkpoint"]}}
    model["Checkpoint"]["Metrics"] = {"accuracy/mean_class": float(found[1])}
    assert zoo.verify(own, model) == f"hash, strict load and metrics are correct: accuracy/mean_class {found[1]}"


@pytest.mark.remedy("--pack needs the files --checkpoint and --log")
def test_packing_asks_for_its_files(own, images, monkeypatch, capsys):
    monkeypatch.setattr("gcisg_suite.places.zoo_folder", lambda: own)
    monkeypatch.setattr(zoo_write, "contents", lambda folder: {})
    pack, shipped = ["write", "--pack", NAME], SHIPPED[NAME]["Checkpoint"]
    assert command(pack) == 2
    assert "--pack needs the files --checkpoint and --log" in capsys.readouterr().err
    assert command([*pack, "--checkpoint", str(ZOO / shipped["File"]), "--log", str(ZOO / shipped["Log"])]) == 0
    assert len([*own.glob("classification_gcisg_mini-*.pth")]) == 1


@pytest.mark.remedy("Check the address, or give another --base-url", "Fetch it from elsewhere")
def test_download_compares_before_it_gives_the_name(own, tmp_path, capsys):
    file = SHIPPED[NAME]["Checkpoint"]["File"]
    for base in (str(ZOO), ZOO.as_uri()):
        out = tmp_path / f"out{len(base)}"
        command(["download", NAME, "--out", str(out), "--base-url", base])
        told = capsys.readouterr()
        assert told.out.strip() == str(out / file)
        assert told.err.startswith(f"downloading {ZOO.as_uri()}/{file}: a few seconds\n")
        assert zoo.sha256(out / file) == zoo.sha256(ZOO / file)
    (own / file).write_bytes((own / file).read_bytes()[:-9])
    with pytest.raises(SystemExit, match="is not the file that the metafile lists .* Fetch it from elsewhere"):
        command(["download", NAME, "--out", str(tmp_path / "bad"), "--base-url", str(own)])
    assert list((tmp_path / "bad").iterdir()) == []
    with pytest.raises(SystemExit, match=r"cannot be fetched .*give another --base-url"):
        command(["download", NAME, "--out", str(tmp_path / "bad"), "--base-url", str(tmp_path / "nowhere")])
    command(["download", NAME, "--out", str(tmp_path / "bad"), "--base-url", str(ZOO)])


@pytest.mark.remedy("It is in the repository, zoo/{}; or give --base-url, or train it: {}")
def test_what_has_no_file_or_no_address_says_so_with_the_command(own, tmp_path):
    with pytest.raises(SystemExit, match=r"is not published at any address yet.*give --base-url") as said:
        command(["download", NAME, "--out", str(tmp_path)])
    (file,) = re.findall(r"It is in the repository, (zoo/classification_gcisg_mini-\S+);", str(said.value.code))
    assert (ROOT / file).is_file()
    command(["download", NAME, "--out", str(tmp_path), "--base-url", str(ZOO)])
    (words,) = re.findall(r"or train it: \S.*?(train --config .*)", str(said.value.code))
    with pytest.raises(SystemExit, match="no such folder. Make the miniature"):  # whose remedy has its own test
        main([*shlex.split(words), "--output", str(tmp_path / "run")])
    with pytest.raises(SystemExit, match=r"has no checkpoint\. Train it: .*gcisg\S* train --config"):
        command(["download", "detection/gcisg_r101_fpn", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="Did you mean 'detection/gcisg_r50_fpn'"):
        command(["show", "detection/gcisg_r5_fpn"])


def test_list_and_show(own, capsys):
    command(["list"])
    listed = capsys.readouterr().out
    assert all(name in listed for name in MODELS)
    command(["show", "segmentation/gcisg_r50_deeplabv3_gtav2cityscapes"])
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["Paper's Figures"] == {"mIoU %": 39.01, "Source": "GCISG, Table 6"}
    assert "Results" not in shown


def test_packing_keeps_the_task_model_alone_and_names_it_by_its_hash(tmp_path):
    torch.manual_seed(0)
    state = {"a.weight": torch.randn(64, 32), "a.bias": torch.randn(64), "bn.weight": torch.rand(64),
             "regularizer.queue": torch.randn(64, 64)}  # fmt: skip
    torch.save({"state_dict": state, "optimizer": {}}, tmp_path / "iter_1.pth")
    path = zoo_write.pack(tmp_path / "iter_1.pth", tmp_path / "model", {"seed": 3})
    assert path.name == f"model-{file_hash(path)}.pth"
    loaded = torch.load(path, weights_only=True)
    assert loaded["meta"] == {"seed": 3}
    assert loaded["state_dict"].keys() == {"a.weight", "a.bias", "bn.weight"}
    assert torch.equal(loaded["state_dict"]["a.bias"], state["a.bias"])
    layer = torch.nn.Linear(32, 64)
    layer.load_state_dict({"weight": loaded["state_dict"]["a.weight"], "bias": state["a.bias"]})
    torch.testing.assert_close(layer.weight.detach(), state["a.weight"], rtol=1 / 16, atol=2**-10)
    assert zoo_write.pack(tmp_path / "iter_1.pth", tmp_path / "model", {"seed": 3}) == path
    assert path.stat().st_size < (tmp_path / "iter_1.pth").stat().st_size / 3

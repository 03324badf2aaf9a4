"""The command `gcisg`: what it imports, its flags, and the ways to it."""

import ast
import inspect
import json
import re
import subprocess
import sys
import warnings
from argparse import Namespace
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from gcisg_core.metrics import ENERGY_FORMS
from gcisg_suite import cli
from gcisg_suite.commands import analyze, export, predict, train
from gcisg_suite.export import WRITERS
from tests.command import gcisg

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "torchvision", "mmengine", "mmseg", "detectron2", "sklearn", "scipy", "matplotlib", "cv2", "numpy")
# A usage error of each subcommand -> what is said.
WRONG = {
    "train": (["--config", "no.py"], "--config no.py: no such file"),
    "eval": (["--config", "README.md", "--checkpoint", "x"], "expected one of the suffixes .py, .yaml"),
    "predict": (["--config", "no.py", "--checkpoint", "x", "--output", "o", "x.png"], "no.py: no such file"),
    "export": (["--confg", "no.py"], "Did you mean --config?"),
    "analyze": (["--config", "no.py", "--checkpoint", "x", "--output", "o"], "no.py: no such file"),
    "replay": (["no.pth"], "no.pth: no such file"),
    "select": (["tests", "--by", "luck"], "--by luck: expected one of source, match_rate"),
    "report": (["tests", "docs", "--names", "one"], "--names: expected 2 names"),
    "audit": (["--dataset", "gta", "--root", "."], "Did you mean 'gtav'?"),
    "new-project": (["--task", "detect"], "Did you mean 'detection'?"),
    "sweep": (["--sweep", "no.yaml"], "--sweep no.yaml: no such file"),
    "zoo": (["shw"], 'Unknown command "shw"'),
    "prepare": (["--tasks", "x"], "unknown task 'x'"),
    "demo": (["--tasks", "x"], "unknown task 'x'"),
    "doctor": (["--x"], "Unknown option"),
    "bench": (["gpu", "--minutes", "0"], "--minutes 0: expected a number above 0"),
}
IN_A_FRESH_PROCESS = """
import contextlib, io, json, sys
from gcisg_suite.cli import main
said = {}
for words in json.load(sys.stdin):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            main(words)
            code = 0
        except SystemExit as stop:
            code = stop.code
    said[" ".join(words)] = [code, out.getvalue()]
print(json.dumps([said, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


MISSPELT = {
    "projects/segmentation/gcisg_gta.py": r"no such file. Did you mean projects/segmentation/gcisg_r\d+_.*gtav2city",
    "projects/detection/gcisg_r50_fp.yaml": "no such file. Did you mean projects/detection/gcisg_r50_fpn.yaml?",
    "projects/clasification/gcisg_mini.py": "no such file. Did you mean projects/classification/gcisg_mini.py?",
    "projects/segmentation/gcisg_min": "expected one of .* Did you mean projects/segmentation/gcisg_mini.py?",
    "my own/segmentr.py": r"no such file. Did you mean my own/segmentor.py\?",
    "my one/segmentor.py": r"no such file. Did you mean my own/segmentor.py\?",
    "segmentation/csg_mini.py": r"no such file. Did you mean projects/segmentation/csg_mini.py\?",
    "missing folder/gcisg.py": "no such file\n",
    "gcisg.py": "no such file\n",
    "nothing/like/it.py": "no such file\n",
}


@pytest.mark.parametrize("name", MISSPELT)
def test_a_misspelt_config_is_answered_with_the_one_that_is_meant(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my own").mkdir()
    Path("my own/segmentor.py").touch()
    ended = gcisg("train", "--config", name)
    assert ended.code == 2
    assert re.match(f"error: --config {name}: {MISSPELT[name]}", ended.err)


OUTPUTS = {
    "predict": ["--config", "mine.py", "--checkpoint", "mine.py", "mine.py"],
    "export": ["--config", "mine.py", "--checkpoint", "mine.py"],
    "analyze": ["--config", "mine.py", "--checkpoint", "mine.py"],
    "new-project": ["--task", "classification", "--synthetic", ".", "--real", "."],
    "zoo": ["download", "classification/gcisg_mini", "--base-url", str(ROOT / "zoo")],
}


@pytest.mark.remedy("{} {}: {} is a file; name a folder")
@pytest.mark.parametrize("name", OUTPUTS)
def test_a_file_in_the_place_of_the_output_is_named_before_anything_is_done(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("model = dict(type='SynToRealClassifier')")
    for output in ("mine.py", "mine.py/below"):
        ended = gcisg(name, *OUTPUTS[name], "--output", output)
        assert (ended.code, ended.err) == (2, f"error: --output {output}: mine.py is a file; name a folder\n")
    if name == "zoo":  # the remedy
        assert gcisg(name, *OUTPUTS[name], "--output", "below").code == 0


def test_help_and_usage_errors_import_nothing_heavy():
    helps = [["--help"], *([name, "--help"] for name in cli.COMMANDS), ["zoo", "write", "--help"]]
    wrong = [[name, *words] for name, (words, _) in WRONG.items()]
    done = subprocess.run(
        [sys.executable, "-c", IN_A_FRESH_PROCESS],
        input=json.dumps([*helps, *wrong]), capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    said, modules = json.loads(done.stdout)
    assert {*WRONG} == {*cli.COMMANDS}
    for words in helps:
        code, text = said[" ".join(words)]
        assert code == 0
        assert text.startswith("Usage: gcisg")
    for name, (words, message) in WRONG.items():
        code, text = said[" ".join([name, *words])]
        assert code == 2, text
        assert text.startswith("error: ")
        assert message in text
    assert not {*HEAVY} & {*modules}


@pytest.mark.parametrize("words", [[name] for name in cli.COMMANDS] + [["zoo", name] for name in ("show", "write")])
def test_help_fills_the_terminal_and_shows_every_word(words, monkeypatch):
    """Markdown would take `<name>` for a tag, and drop it."""
    monkeypatch.setenv("COLUMNS", "80")
    shown = gcisg(*words, "--help").out
    assert max(map(len, shown.splitlines())) <= 80
    monkeypatch.setattr(cli.app, "help_format", "plaintext")
    written = gcisg(*words, "--help").out
    assert letters(shown) == letters(written)


def letters(text):
    """Without frames, spaces and marks of code."""
    return re.sub(r"[\s`│╭╰╮╯─]", "", text)


def functions():
    """Subcommand -> its function."""
    for name in cli.COMMANDS:
        if name != "zoo":
            yield name, cli.app[name].default_command


def test_flags_are_called_alike_and_overrides_are_positional():
    for name, function in functions():
        parameters = inspect.signature(function).parameters
        flags = {flag for flag, each in parameters.items() if each.kind is inspect.Parameter.KEYWORD_ONLY}
        assert not flags & {"out", "work_dir", "checkpoints", "overrides", "out_dir"}, name
        assert all(parameters[flag].annotation == "Device" for flag in flags & {"device"}), name
        if "config" in flags and name not in ("predict", "sweep"):
            assert parameters["overrides"].kind is inspect.Parameter.VAR_POSITIONAL, name


def test_choices_are_those_of_what_runs():
    assert get_args(get_type_hints(export.export)["format"]) == (*WRITERS,)
    assert get_args(get_type_hints(analyze.analyze)["energy"]) == (*ENERGY_FORMS,)


def test_flags_of_earlier_versions_work():
    assert cli.current(["export", "--out", "x", "--out=y"]) == ["export", "--output", "x", "--output=y"]
    assert cli.current(["predict", "a.png", "--overrides", "x=1"]) == ["predict", "a.png", "x=1"]
    assert cli.current(["train", "--work-dir", "w", "--", "--out"]) == ["train", "--output", "w", "--", "--out"]
    assert cli.current(["analyze", "--replay", "a b.pth"]) == ["replay", "a b.pth"]
    assert cli.current(["analyze", "--replay=a.pth"]) == ["replay", "a.pth"]


def test_arguments_come_as_they_are_given(monkeypatch):
    given = []
    monkeypatch.setattr(train, "run", given.append)
    config = str(ROOT / "projects/classification/gcisg_mini.py")
    cli.main(["train", "--config", config, "a=-1", "--seed", "3", "--amp", "b=[1, 2]", "--num-gpus", "2"])
    assert isinstance(given[0], Namespace)
    assert given[0].overrides == ["a=-1", "b=[1, 2]"]
    assert (given[0].num_gpus, given[0].seed, given[0].amp) == (2, 3, True)


def test_eval_is_train_with_eval_only(monkeypatch):
    given = []
    monkeypatch.setattr(train, "run", given.append)
    rest = ["--config", str(ROOT / "projects/classification/gcisg_mini.py"), "--checkpoint", "x.pth", "--output", "o"]
    cli.main(["eval", *rest, "--amp", "--num-gpus", "2", "a=1"])
    cli.main(["train", "--eval-only", *rest, "--amp", "--num-gpus", "2", "a=1"])
    assert given[0] == given[1]
    assert given[0].eval_only


def test_of_a_repeated_flag_the_last_counts(monkeypatch):
    """So a script can add to a command line that it was given."""
    given = []
    monkeypatch.setattr(train, "run", given.append)
    config = str(ROOT / "projects/classification/gcisg_mini.py")
    cli.main(["train", "--config", "no.py", "--seed", "1", "--config", config, "--seed=2", "--work-dir", "a"])
    assert (given[0].config, given[0].seed, given[0].work_dir) == (config, 2, "a")


def test_paths_are_told_from_overrides(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x=1.png").touch()
    assert predict.split(["x=1.png", "model.a=2", "no.png"], "a.py") == (["x=1.png", "no.png"], ["model.a=2"])
    words = ["photos", "INPUT.MIN_SIZE_TEST", "96", "SEED", "3"]
    assert predict.split(words, "a.yaml") == (["photos"], words[1:])


def test_version(capsys):
    cli.main(["--version"])
    assert capsys.readouterr().out.strip() == cli.version()


def test_every_script_is_a_short_way_to_a_subcommand():
    called = set()
    for script in (ROOT / "tools").glob("*.py"):
        text = script.read_text()
        assert len(text.splitlines()) <= 30, script.name
        called |= {
            node.args[0].elts[0].value
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "main"
        }
    assert called == {*cli.COMMANDS} - {"eval", "bench"}


def test_names_of_earlier_versions_are_the_same_modules():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        import gcisg_analysis.mmengine_hook as old
        import gcisg_audit.coco  # noqa: F401
        from gcisg_miniature.network import MiniResNet as OldNetwork
    from gcisg_suite.miniature.network import MiniResNet
    from gcisg_suite.selection import mmengine_hook

    assert old is mmengine_hook
    assert OldNetwork is MiniResNet
    assert [str(warning.message) for warning in caught if "gcisg_suite now" in str(warning.message)] == [
        f"the package gcisg_{name} is part of gcisg_suite now" for name in ("analysis", "audit", "miniature")
    ]


def test_every_earlier_name_leads_somewhere():
    import gcisg_analysis  # noqa: F401
    import gcisg_audit  # noqa: F401
    import gcisg_miniature  # noqa: F401
    from gcisg_suite.aliases import _Renamed

    for finder in sys.meta_path:
        if isinstance(finder, _Renamed):
            for name in finder.names.values():
                assert (ROOT / f"{name.replace('.', '/')}.py").is_file(), name


@pytest.mark.parametrize("name", ["train", "select", "new-project"])
def test_an_alias_is_its_subcommand(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [f"/usr/bin/gcisg-{name}", "--help"])
    cli.alias()
    assert capsys.readouterr().out.startswith(f"Usage: gcisg {name} ")

"""Config and grid files that do not parse, or hold something else: one line that names the file, and its line."""

from pathlib import Path

import pytest

from gcisg_suite.cli import main

MINI = Path(__file__).parents[2] / "projects/classification/gcisg_mini.py"
DATA = f"""_base_ = '{MINI}'
train_dataloader = dict(dataset=dict(dataset=dict(type='Nope', _delete_=True)))
model = dict(weights=None)
"""
PROGRAMS = {
    "open": ("model = dict(\nx = [1,\n", "open.py, line 2: cannot be executed (SyntaxError: '[' was never"),
    "name": ("a = 1\nmodel = undefined\n", "name.py, line 2: cannot be executed (NameError: name 'undefined'"),
    "heir": ("_base_ = 'name.py'\n", "name.py, line 2: cannot be executed (NameError"),
    "orphan": ("_base_ = 'none.py'\n", "orphan.py: cannot be executed (FileNotFoundError"),
    "ring": ("_base_ = 'ring.py'\n", "ring.py: cannot be executed (RecursionError: maximum recursion depth"),
    "latin": (b"x = '\xe9'", "latin.py: cannot be executed (UnicodeDecodeError: 'utf-8' codec"),
    "empty": ("", "empty.py: model is None, expected a dictionary of its settings"),
    "number": ("model = 3\n", "number.py: model is 3, expected a dictionary of its settings"),
    "imports": ("custom_imports = dict(imports=['nowhere'])\n", "imports.py: custom_imports {'imports': ['nowhere']}"),
    "class": (f"_base_ = '{MINI}'\nmodel = dict(type='Nope')\n", "class.py: Nope is not in the mmengine::model"),
    "data": (DATA, "data.py: Nope is not in the mmengine::dataset registry. Correct the name, or list the module"),
}  # fmt: skip
NODES = {
    "tab": ("a:\n  b: 1\n\tc: 2\n", "tab.yaml, line 3: is not valid YAML (found character"),
    "heir": ("_BASE_: tab.yaml\n", "tab.yaml, line 3: is not valid YAML (found character"),
    "orphan": ("_BASE_: none.yaml\n", "orphan.yaml: _BASE_ 'none.yaml' does not exist. Name a config file"),
    "ring": ("_BASE_: ring.yaml\n", "ring.yaml: _BASE_ 'ring.yaml' leads back to itself"),
    "list": ("- 1\n", "list.yaml: it is [1], expected keys and values"),
    "empty": ("", "empty.yaml: it is None, expected keys and values"),
    "node": ("MODEL: {RPN: 3}\n", "node.yaml: MODEL.RPN is 3, expected keys and values"),
    "number": ("1: 2\n", "number.yaml: it is {1: 2}, expected keys and values"),
    "type": ("SOLVER: {MAX_ITER: [1]}\n", "type.yaml: SOLVER.MAX_ITER is [1], expected a whole number, such as 40000"),
}
GRIDS = {
    "tab": NODES["tab"],
    "list": ("- 1\n", "list.yaml: it is [1], expected keys and values"),
    "task": ("task: [1]\n", "task.yaml: task is [1], expected one of classification"),
    "names": ("variants: [a]\n", "names.yaml: variants is ['a'], expected names and what each runs"),
    "none": ("variants: {a: }\n", "none.yaml: variants.a is None, expected config and overrides"),
    "config": ("variants: {a: {overrides: {}}}\n", "config.yaml: variants.a.config is None, expected the name of a"),
    "values": ("grid: {a: 3}\nvariants: {a: {config: gcisg_mini}}\n", "values.yaml: grid.a is 3, expected a list"),
}


def check(folder, files, name, suffix, *command):
    for file, (text, _) in files.items():
        (folder / f"{file}{suffix}").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SystemExit) as stopped:
        main([*command, str(folder / f"{name}{suffix}")])
    said = str(stopped.value.code)
    assert said.startswith("error: ")
    assert files[name][1] in said.replace(f"{folder}/", "")
    assert "\n" not in said


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_config_of_mmengine_names_file_and_line(tmp_path, name):
    check(tmp_path, PROGRAMS, name, ".py", "train", "--output", str(tmp_path / "run"), "--config")


@pytest.mark.parametrize("name", NODES)
def test_a_config_of_detectron2_names_file_and_line(tmp_path, name):
    check(tmp_path, NODES, name, ".yaml", "train", "--output", str(tmp_path / "run"), "--config")


@pytest.mark.parametrize("name", GRIDS)
def test_a_grid_names_file_and_line(tmp_path, name):
    check(tmp_path, GRIDS, name, ".yaml", "sweep", "--dry-run", "--sweep")

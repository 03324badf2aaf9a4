"""Flags that messages and docstrings name exist."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Of git, pip, and the programs that write the miniature.
OTHERS = {"abbrev", "always", "dirty", "exclude", "no-deps", "eval-scenes", "train-scenes", "reference-seed"}
# Of Chromium.
OTHERS |= {"headless", "no-sandbox", "disable-gpu", "hide-scrollbars", "virtual-time-budget", "blink-settings"}
OTHERS |= {"screenshot", "window-size"}
OTHERS |= {"ink", "soft", "line", "box", "trained", "green", "blue", "red"}  # colours of the methods' pictures
ALIASES = {"help", "out", "replay"}  # `gcisg_suite.cli` takes them


def texts(*folders):
    for folder in folders:
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield file, node.value


def flags():
    """The parameters of all commands, and what they call otherwise."""
    for file in (ROOT / "gcisg_suite/commands").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.arg):
                yield node.arg.replace("_", "-")
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                yield node.target.id.replace("_", "-")
            elif isinstance(node, ast.Constant) and re.fullmatch(r"--[a-z-]+", str(node.value)):
                yield node.value.removeprefix("--")


def test_each_flag_that_a_message_names_is_one_of_a_command():
    known = {*flags(), *OTHERS, *ALIASES}
    named = [
        (flag, file)
        for file, text in texts("gcisg_core", "gcisg_suite", "projects")
        for flag in re.findall(r"(?<![\w-])--([a-z][a-z-]+)", text)
    ]
    assert len(named) > 100
    assert not [(flag, str(file)) for flag, file in named if flag not in known]

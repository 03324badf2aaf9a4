"""Flags that messages and docstrings name exist, and what a message tells people to do was done by a test.

Such a test provokes the message, does what it says and sees that it helps. It bears `pytest.mark.remedy` with words of
the message; `{}` stands for a value.
"""

import ast
import functools
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("gcisg_core", "gcisg_suite", "projects", "tools")
# Of git, pip, and the programs that write the miniature.
OTHERS = {"abbrev", "always", "dirty", "exclude", "no-deps", "eval-scenes", "train-scenes", "reference-seed"}
# Of Chromium.
OTHERS |= {"headless", "no-sandbox", "disable-gpu", "hide-scrollbars", "virtual-time-budget", "blink-settings"}
OTHERS |= {"screenshot", "window-size"}
OTHERS |= {"ink", "soft", "line", "box", "trained", "green", "blue", "red"}  # colours of the methods' pictures
ALIASES = {"help", "out", "replay"}  # `gcisg_suite.cli` takes them
# What a remedy names (a flag, a command, a package, a key, a field), and what it asks for. "Restore it" names nothing.
NAMES = r"--[a-z]|\bgcisg [a-z]|\bpython (tools|-m)|\bpip (un)?install|[a-z]=[^=]|\b[A-Z]{3,}\.[A-Z]|[a-z]_[a-z]"
VERBS = (
    r"(?i)(^|[.;:,(] |\band |\bor |\bthen )(it in )?"
    r"(add|bring|choose|define|draw|export|fetch|fix|give|install|leave|make|merge|name|pass|put|rename|repeat|restore|"
    r"run|say|set|take|train|turn|use|write)\b"
    r"|goes on|moves|needs |takes it|lists every|^\S+ is not for|is for |pip install|gcisg (doctor|prepare|select)"
)


@functools.cache
def texts():
    """(file, text, whether it is no docstring) of each text; that of an f-string with {} for its values."""
    found = []
    for file in (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        nodes = [*ast.walk(ast.parse(file.read_text()))]
        parts = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
        alone = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            if isinstance(node, ast.JoinedStr):
                words = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
                found.append((file, "".join(words), True))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
                found.append((file, node.value, id(node) not in alone))
    return found


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
    named = [(flag, file) for file, text, _ in texts() for flag in re.findall(r"(?<![\w-])--([a-z][a-z-]+)", text)]
    assert len(named) > 100
    assert not [(flag, str(file)) for flag, file in named if flag not in known]


def remedies():
    for file, text, is_said in texts():
        if is_said and " " in text and "\n" not in text and re.search(NAMES, text) and re.search(VERBS, text):
            yield file, text


def marks():
    """What the tests' marks `remedy` name."""
    for file in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "remedy":
                yield from map(ast.literal_eval, node.args)


def test_what_each_message_tells_people_to_do_was_done_by_a_test():
    found, marked = [*remedies()], {*marks()}
    assert len(found) > 100
    assert not [f"{file.relative_to(ROOT)}: {text}" for file, text in found if not any(mark in text for mark in marked)]
    assert not [mark for mark in marked if not any(mark in text for _, text, _ in texts())]  # the message is gone

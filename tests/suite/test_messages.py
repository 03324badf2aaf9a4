"""Flags that messages and docstrings name exist, and what a message tells people to do was done by a test.

Such a test provokes the message, does what it says and sees that it helps. It bears `pytest.mark.remedy` with words of
the message, or with `*NAME` for a table of its file whose rows begin with them; `{}` stands for a value. Words of fewer
than 15 letters are the whole text. The words of one that files share begin with the file: "lazy/config.py: Correct it".
"""

import ast
import functools
import re
from collections import Counter

from tests.remedies import ROOT, given, spelt, trees

# Of git, pip, uv, and the programs that write the miniature.
OTHERS = {"abbrev", "always", "dirty", "exclude", "no-deps", "eval-scenes", "train-scenes", "reference-seed"}
OTHERS |= {"no-build-isolation", "require-hashes", "python", "skip-build"}
OTHERS |= {"scenes", "per-class", "iterations"}  # of gcisg_suite.miniature.reference
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
    r"|continues|moves|needs |takes it|lists every|^\S+ is not for|is for |pip install|gcisg (doctor|prepare|select)"
)
# Advice that names nothing, by its place in the sentence; and what only looks so.
ADVICE = (
    r"(?:^|[.;:] |, or |\) )(?i:add|build|change|check|choose|convert|correct|download|export|fetch|fix|give|install|"
    r"keep|leave|look|make|move|name|put|record|remove|rename|restore|run|save|say|set|start|take|train|unpack|use|"
    r"wait|write) \w"
)
NO_ADVICE = r"^Write the miniature|^run again$|^expected 0 to \{\}$"  # descriptions, a heading, half a sentence
# Text -> why no test does what it says.
CANNOT_BE_DONE = {
    "Build Detectron2 from source by its own install guide to use it": "needs a compiler and Detectron2's repository",
    "Detectron2's own install guide (with a GPU), or its Python part": "installs packages from the index",
    "{pip} uv wheel 'setuptools<81'": "the same, in an installed wheel",
    "make setup": "the same",
    "Train it: {}": "trains a full-size recipe on the paper's data",
    "no checkpoint: train it, see `show`": "the same; `test_list_and_show` runs `show`",
    "{}: has no checkpoint; train it: {}": "the same",
}


@functools.cache
def texts():
    """(file, text, whether it is no docstring) of each text; that of an f-string with {} for its values."""
    found = []
    for file, tree in trees().items():
        nodes = [*ast.walk(tree)]
        parts = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
        alone = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            if isinstance(node, ast.JoinedStr):
                found.append((file, spelt(node), True))
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
    """(file, text) of each text that advises: all that is given for a `remedy`, and what its words show to be one."""
    found = {(file, text) for file, _, text in given() if re.search(r"\w \w", text)}
    for file, text, is_said in texts():
        shown = (re.search(NAMES, text) and re.search(VERBS, text)) or re.search(ADVICE, text)
        if is_said and " " in text and "\n" not in text and shown:
            found.add((file, text))
    return sorted((file, text) for file, text in found if not re.search(NO_ADVICE, text))


def marks():
    """What the tests' marks `remedy` name."""
    for file in (ROOT / "tests").rglob("test_*.py"):
        tree = ast.parse(file.read_text())
        named = {getattr(node.targets[0], "id", ""): node.value for node in tree.body if isinstance(node, ast.Assign)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "remedy":
                for words in node.args:
                    rows = named[words.value.id].elts if isinstance(words, ast.Starred) else [words]
                    for row in rows:
                        first = row.elts[0] if isinstance(row, ast.Tuple) else row
                        yield getattr(named.get(getattr(first, "id", "")), "value", None) or first.value


def is_marked(file, text, marked, shared):
    """Whether one of the marks names the text, by its words or its file and words."""
    place = "/".join(file.parts[-2:])
    for mark in marked:
        words = mark.removeprefix(f"{place}: ")
        if (words == text or (len(words) >= 15 and words in text)) and (words != mark or text not in shared):
            return True
    return False


def test_what_each_message_tells_people_to_do_was_done_by_a_test():
    found, marked = remedies(), {*marks()}
    assert len(found) > 330
    shared = {text for text, count in Counter(text for _, text in found).items() if count > 1}
    left = [(file, text) for file, text in found if not any(words in text for words in CANNOT_BE_DONE)]
    undone = [(file, text) for file, text in left if not is_marked(file, text, marked, shared)]
    assert not [f"{'/'.join(file.parts[-2:])}: {text}" for file, text in undone]
    said = "\n".join(f"{'/'.join(file.parts[-2:])}: {text}" for file, text, _ in texts())
    assert not [mark for mark in marked | {*CANNOT_BE_DONE} if mark not in said]  # the message is gone

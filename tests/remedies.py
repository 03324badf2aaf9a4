"""What the source gives for a parameter or field `remedy`, found in its syntax however the text is built."""

import ast
import functools
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("gcisg_core", "gcisg_suite", "projects", "tools")


@functools.cache
def trees():
    return {path: ast.parse(path.read_text()) for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))}


def says(text, words):
    """Whether a text has the words, in which {} stands for a value."""
    return re.search(".*".join(map(re.escape, words.split("{}"))), text, re.S) is not None


def spelt(node):
    """The text of an f-string with {} for its values."""
    return "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)


def _name(node):
    return getattr(node, "id", getattr(node, "attr", ""))


def _nodes(kind):
    return ((path, node) for path, tree in trees().items() for node in ast.walk(tree) if isinstance(node, kind))


def _positions():
    """Name of a function or class -> where its parameter or field `remedy` stands."""
    found = {}
    for _, node in _nodes((ast.ClassDef, ast.FunctionDef)):
        names = [
            argument.arg for argument in getattr(getattr(node, "args", None), "args", ()) if argument.arg != "self"
        ]
        if isinstance(node, ast.ClassDef):
            names = [line.target.id for line in node.body if isinstance(line, ast.AnnAssign)]
            for line in node.body:
                if getattr(line, "name", "") == "__init__":
                    names = [argument.arg for argument in line.args.args[1:]]
        if "remedy" in names:
            found[node.name] = names.index("remedy")
    return found


def _parts(node):
    """(line, text) of each text that an expression can become, and the names of what its value comes from."""
    match node:
        case ast.Constant(value=str(text)):
            return {(node.lineno, text)}, set()
        case ast.JoinedStr():
            known = {value.value.id for value in node.values if _name(getattr(value, "value", None)).isupper()}
            return {(node.lineno, spelt(node))}, known
        case ast.Name() | ast.Attribute():
            return set(), {_name(node)}
        case ast.Call(func=ast.Attribute(attr="format" | "join" | "rstrip", value=value)) | ast.Subscript(value=value):
            return _parts(value)
        case ast.Call(func=ast.Name(id=name)):
            return set(), {f"{name}()"}
        case ast.Tuple(elts=[*_, _]):  # the remedy comes last
            return _parts(node.elts[-1])
        case ast.Starred():
            return _parts(node.value)
        case ast.IfExp() | ast.BoolOp() | ast.BinOp() | ast.Dict():
            inner = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
            inner = [child for child in inner if child is not getattr(node, "test", None)]
            both = [_parts(child) for child in inner]
            return {text for texts, _ in both for text in texts}, {name for _, names in both for name in names}
    return set(), set()


def _values():
    """Name -> the expressions that it is assigned, or that a function of this name returns."""
    found = {}
    for path, node in _nodes((ast.Assign, ast.AnnAssign, ast.FunctionDef)):
        if isinstance(node, ast.FunctionDef):
            returned = [line.value for line in ast.walk(node) if isinstance(line, ast.Return) and line.value]
            found.setdefault(f"{node.name}()", []).extend((path, value) for value in returned)
            continue
        for target in getattr(node, "targets", None) or [node.target]:
            last = target.elts[-1] if isinstance(target, ast.Tuple) else target
            if node.value is not None:
                found.setdefault(_name(last), []).append((path, node.value))
    return found


@functools.cache
def given():
    """(file, line, text) of whatever is given for a `remedy`: directly, by a name, or by what a function returns."""
    positions, values = _positions(), _values()
    open_ = [(path, value) for path, value in values["remedy"]]
    for path, node in _nodes(ast.Call):
        if _name(node.func) in positions:
            last = [value for value in node.args if isinstance(value, ast.Starred)]
            open_ += [(path, value) for value in last or node.args[positions[_name(node.func)] :][:1]]
        open_ += [(path, word.value) for word in node.keywords if word.arg == "remedy"]
    found, seen = set(), set()
    while open_:
        path, node = open_.pop()
        texts, names = _parts(node)
        found |= {(path, *text) for text in texts}
        for name in names:
            known = values.get(name, [])
            here = [value for value in known if value[0] == path]
            known = here or (known if name.isupper() or name.endswith("()") else [])
            open_ += [value for value in known if id(value[1]) not in seen]
            seen |= {id(value) for _, value in known}
    return found

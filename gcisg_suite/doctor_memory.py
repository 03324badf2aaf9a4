"""The doctor's last verdict, as long as nothing has changed that it depends on: to look takes seconds of imports."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gcisg_core.files import write_text

# What decides over system libraries and the GPU. Absent files count as such.
FILES = ("/etc/ld.so.cache", "/proc/driver/nvidia/version")
VARIABLES = ("LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")


def memory_file() -> Path:
    """In the user's folder of caches."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gcisg" / "doctor.json"


def fingerprint(modules: Iterable[str]) -> str:
    """Changes with any installed package, with where a module would come from, and with system libraries and driver.

    Args:
        modules: Import names, none of which is imported.
    """
    facts: list[Any] = [sys.version, sys.executable, *(os.environ.get(name) for name in VARIABLES)]
    facts += [_file(path) for path in (*FILES, *sorted(map(str, Path(__file__).parent.glob("*.py"))))]
    for folder in filter(os.path.isdir, sys.path):
        with os.scandir(folder) as entries:
            facts.append(sorted((e.path, e.stat().st_mtime_ns) for e in entries if e.name.endswith(".dist-info")))
    for module in sorted(modules):
        try:
            spec = find_spec(module)
        except (ImportError, ValueError):
            spec = None
        facts.append([module, _file(spec.origin) if spec and spec.origin else None])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _file(path: str) -> list[Any]:
    """Its path, time and size; what /proc shows has neither, so its text."""
    try:
        about = Path(path).stat()
        return [path, Path(path).read_text() if path.startswith("/proc") else [about.st_mtime_ns, about.st_size]]
    except OSError:
        return [path, None]


def recall(state: str) -> list[list[str]] | None:
    """The rows that were kept for this fingerprint."""
    try:
        kept = json.loads(memory_file().read_text())
        return kept["rows"] if kept["state"] == state else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep(state: str, rows: Iterable[Iterable[str]]) -> None:
    """Keep the rows of a verdict; where the folder cannot be written, the doctor looks again next time."""
    try:
        write_text(memory_file(), json.dumps({"state": state, "rows": [list(row) for row in rows]}))
    except OSError:
        return

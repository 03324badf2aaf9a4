"""The folder of a run: its identity, the lock of the process that uses it, and the checkpoint to resume from."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import torch.distributed as dist

from gcisg_core.disk import check_room
from gcisg_core.files import remove_partial, write_text
from gcisg_core.launch import is_started
from gcisg_core.problems import DataError, reading, reason
from gcisg_core.ranks import rank, world_size
from gcisg_core.refused_start import note_start, note_texts
from gcisg_core.safe_load import find_damage, read_checkpoint

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

IDENTITY = "identity.json"
LOCK = ".lock"
START = "start.json"
POINTER = "last_checkpoint"  # in which mmengine and Detectron2 name the newest checkpoint
FINAL = "model_final"  # the stem of Detectron2's last checkpoint
MOST_DIFFERENCES = 20

T = TypeVar("T")
_held: dict[Path, int] = {}  # folder -> descriptor of the lock that this process holds


def open_run(
    folder: Path,
    settings: Mapping[str, Any],
    seed: int | None,
    asked: bool = True,
    ranks: int = 1,
    resume: bool = False,
    fresh: bool = False,
) -> Path | None:
    """Reserve a folder for this process and a single run. The decision is printed.

    The run's identity (a random name, the hash of its settings, seed, start) is kept in the folder; its checkpoints
    carry the name.

    Args:
        folder: Created if it is missing, and locked until :func:`release_all` or the end of the process.
        settings: The config as plain values; differences from the last start are printed when a run resumes.
        seed: None if the run draws it.
        asked: Whether the user gave the seed; then, a run with another seed is another run. Otherwise, a resumed run
            keeps its seed.
        ranks: The number of training processes.
        resume: Resume from the run's newest checkpoint, if there is one.
        fresh: Move an earlier run aside.

    Returns:
        The checkpoint to resume from; None for a run from the beginning.

    Raises:
        ValueError: the folder holds another run, or another process uses it, or a run to resume has no space for two
            more checkpoints.
        DataError: all checkpoints are damaged.
    """
    lock(folder)
    if fresh:
        _move_aside(folder)
    for path in remove_partial(folder):
        _say(f"{path}: removed; a killed process had left it half-written.")
    known, checkpoint = read_identity(folder), newest_checkpoint(folder)
    whose = f"{folder} holds a run{_about(known)} with the checkpoint {checkpoint.name if checkpoint else ''}"
    if checkpoint and not resume:
        raise ValueError(f"{whose}. --resume continues it, --fresh moves it aside; or choose another --output")
    plain = json.loads(json.dumps({"ranks": ranks, **settings}, default=str, skipkeys=True, sort_keys=True))
    if checkpoint is None:
        if resume:
            _say(f"Nothing to resume in {folder}: training starts from the beginning.")
        known = {}
    elif not known:
        known = _identity_in(checkpoint)
        why = f"whose {IDENTITY} is missing" if known else f"written by a version without {IDENTITY}"
        _say(f"{whose}, {why}. It continues from there.")
    else:
        own = known.get("seed")
        if asked and None not in (seed, own) and seed != own:
            raise ValueError(f"{whose}; seed {seed} would make it another run. Choose another --output, or --fresh")
        if seed != own:
            _say(f"The run keeps its own seed, {own}, instead of {seed}.")
        _tell_differences(known.get("settings", {}), plain)
    if checkpoint:  # before anything is written
        check_room(folder, checkpoint.stat().st_size)
        note_texts(folder)
    text = json.dumps({key: value for key, value in plain.items() if key != "ranks"})
    new = {
        "run": uuid.uuid4().hex[:12],
        "seed": seed,
        "config_hash": hashlib.sha256(text.encode()).hexdigest()[:8],
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    write_text(folder / IDENTITY, json.dumps({**new, **known, "settings": plain}, indent=1))
    if checkpoint:  # where the frameworks look
        write_text(folder / POINTER, checkpoint.name if checkpoint.name.startswith("model") else str(checkpoint))
    return checkpoint


def on_first_rank(call: Callable[[], T]) -> T:
    """Call a function on the first rank only, and return its result on all; without process group, just call it.

    Raises:
        ValueError: the error of the call; if no process reports it for all, the other ranks exit silently.
    """
    if world_size() == 1:
        return call()
    found: list[Any] = [None, None]
    if rank() == 0:
        try:
            found[0] = call()
        except ValueError as error:
            found[1] = error
    dist.broadcast_object_list(found)
    if found[1] is not None:
        raise found[1] if rank() == 0 or is_started() else SystemExit(1)
    result: T = found[0]
    return result


def read_identity(folder: Path) -> dict[str, Any]:
    """Read what :func:`open_run` wrote; empty if it did not."""
    path = folder / IDENTITY
    with reading(path, "JSON", "Remove it; the run is then treated as one written by a version without identity.json"):
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return content if isinstance(content, dict) else {}


def run_name(folder: Path) -> str | None:
    """The name of the folder's run, which is stored in its checkpoints."""
    return read_identity(folder).get("run")


def check_run(folder: Path, checkpoint: Path, name: str | None) -> None:
    """Refuse to resume from another run's checkpoint in this folder; early versions stored no name, which is accepted.

    Raises:
        DataError: it belongs to another run.
    """
    own = run_name(folder)
    if own and name and own != name and checkpoint.resolve().parent == folder.resolve():
        what = f"belongs to the run {name}, but {folder / IDENTITY} belongs to the run {own}"
        raise DataError(checkpoint, what, "Give that run its own folder, or move the checkpoint away")


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint that the folder's pointer names; without a pointer, the one with the greatest number.

    A damaged one is skipped with a message.

    Raises:
        DataError: all are damaged.
    """
    found = sorted(checkpoints_in(folder), key=checkpoint_number)
    pointer = folder / POINTER
    named = Path(pointer.read_text(errors="replace").strip()).name if pointer.is_file() else ""
    names = [path.name for path in found]
    if named in names:  # greater numbers were written by another run
        found = found[: names.index(named) + 1]
    for number, path in reversed([*enumerate(found)]):
        damage = find_damage(path)
        if not damage:
            return path
        _say(f"{path} {damage}" + (f"; trying {found[number - 1].name}." if number else "."))
    if found:
        raise DataError(folder, "all of its checkpoints are damaged", "--fresh moves them aside")
    return None


def checkpoints_in(folder: Path) -> Iterator[Path]:
    """The checkpoints of a run, by the frameworks' file names, in no particular order."""
    for pattern in ("iter_*.pth", "epoch_*.pth", "model_*.pth"):
        for path in folder.glob(pattern):
            if path.stem == FINAL or path.stem.rpartition("_")[2].isdecimal():
                yield path


def checkpoint_number(path: Path) -> float:
    """The iteration or epoch in a checkpoint's name; infinity for Detectron2's final one."""
    return float("inf") if path.stem == FINAL else int(path.stem.rpartition("_")[2])


def number_start(logs: Path) -> None:
    """Store the number of this start of the run in its log folder; the folder's name is only a clock time."""
    number = max(map(start_number, logs.parent.glob("*/")), default=0) + 1
    write_text(logs / START, json.dumps({"start": number}))


def start_number(logs: Path) -> int:
    """Read what :func:`number_start` wrote; 0 for a folder of an earlier version."""
    try:
        return int(json.loads((logs / START).read_text(encoding="utf-8"))["start"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return 0


def _identity_in(checkpoint: Path) -> dict[str, Any]:
    """The run's name in a checkpoint; empty for early versions."""
    held = read_checkpoint(checkpoint)
    places = [held, held.get("meta")] if isinstance(held, dict) else []
    return next(({"run": place["run"]} for place in places if isinstance(place, dict) and place.get("run")), {})


def _move_aside(folder: Path) -> None:
    if [*checkpoints_in(folder)] or (folder / IDENTITY).is_file():
        goal = next(p for n in count(1) if not (p := folder.with_name(f"{folder.name}.old{n}")).exists())
        folder.rename(goal)
        os.close(_held.pop(folder.resolve()))
        _say(f"The earlier run in {folder} is now in {goal}.")
        lock(folder)


def _about(known: Mapping[str, Any]) -> str:
    return f" (seed {known.get('seed')}, started {known.get('started')})" if known else ""


def _tell_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    old, new = dict(_leaves(before)), dict(_leaves(now))
    missing = "not set"
    lines = [
        f"  {reason(key)}: {reason(old.get(key, missing))} -> {reason(new.get(key, missing))}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key, missing) != new.get(key, missing)
    ]
    if lines:
        more = [f"  and {len(lines) - MOST_DIFFERENCES} more"] if len(lines) > MOST_DIFFERENCES else []
        _say("\n".join(["The run continues with different settings:", *lines[:MOST_DIFFERENCES], *more]))


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping | list) and value:
        for key, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def lock(folder: Path) -> None:
    """Lock a folder until :func:`release_all` or the end of this process, even if it is killed.

    Raises:
        ValueError: another process has locked it (the message names process and machine), or it is not writable.
    """
    try:
        _lock(folder)
    except OSError as error:
        raise ValueError(f"{folder} cannot be written ({error.strerror}). Choose another --output") from error


def _lock(folder: Path) -> None:
    if folder.resolve() in _held:
        return
    note_start(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        return
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.read(descriptor, 1000).decode(errors="replace") or "another process"
        os.close(descriptor)
        raise ValueError(f"{folder} is in use by {owner}. Wait for it or end it; or choose another --output") from error
    except OSError as error:  # the file system has no locks
        _say(f"{folder} cannot be locked ({error}): do not start a second run there.")
    os.truncate(descriptor, 0)
    os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
    _held[folder.resolve()] = descriptor


def release_all() -> None:
    """Unlock all folders that this process has locked."""
    for descriptor in _held.values():
        os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    # In a fork, such as a data worker that may outlive a killed run: only the parent holds the lock.
    os.register_at_fork(after_in_child=release_all)

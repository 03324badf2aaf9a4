"""Reads weights of any origin without running code in the file.

torch's files are read with ``weights_only=True``, plain pickles (``.pkl`` of Detectron2 and Caffe2) by a reader with
the same rules. Besides tensors and plain containers, files may hold what frameworks write: numpy arrays and numbers,
mmengine's ``HistoryBuffer`` and ``ConfigDict``, namespaces, paths. This module has a stand-in for each of them, so
nothing that a file names is imported or called. The result holds tensors, dictionaries, lists, strings and numbers.
Arrays become tensors from their bytes: a malicious dtype could make numpy's constructors read bytes as pointers.
"""

from __future__ import annotations

import _codecs
import collections
import pickle
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.serialization import add_safe_globals, clear_safe_globals, get_safe_globals

from gcisg_core.export import verify_hash
from gcisg_core.extent import check_extent
from gcisg_core.problems import DataError

TORCH_STARTS = (b"PK\x03\x04", pickle.dumps(torch.serialization.MAGIC_NUMBER, protocol=2))  # zip and legacy
DTYPES = {
    "b1": torch.bool, "i1": torch.int8, "i2": torch.int16, "i4": torch.int32, "i8": torch.int64, "u1": torch.uint8,
    "u2": torch.uint16, "u4": torch.uint32, "u8": torch.uint64,
    "f2": torch.float16, "f4": torch.float32, "f8": torch.float64,
}  # fmt: skip
# Where a checkpoint keeps its state dict: mmengine, Detectron2, pycls, Caffe2; the averaged copies of timm and DINO.
WRAPPERS = ("state_dict", "model", "model_state", "blobs", "state_dict_ema", "teacher", "student")
CONVERT = (
    "If you trust its author, save its tensors alone: torch.save(torch.load(file, weights_only=False)['state_dict'], "
    "new_file), or whatever holds them instead of 'state_dict'; for a pickle of arrays pickle.dump({name: array})"
)
AGAIN = "Fetch it again, or choose another"
INFLATED = 10  # times the file's size: torch does not compress

# Suffix -> reader of further formats; integrations add theirs.
READERS: dict[str, Callable[[Path], Any]] = {}


def read_checkpoint(file: str | Path) -> Any:
    """Read the content of a weights file onto the CPU, with arrays as tensors.

    A hash in the file's name (``resnet50-11ad3fa6.pth``) is verified first.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: the file was altered, is damaged, or holds more than tensors, arrays and plain containers.
    """
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"{file}: no such file")
    verify_hash(path)
    damage = find_damage(path)  # torch ignores checksums: a flipped bit would change a weight
    if damage:
        raise DataError(file, f"cannot be read as weights, it {damage}", AGAIN)
    try:
        with path.open("rb") as stream:
            is_torch = stream.read(max(map(len, TORCH_STARTS))).startswith(TORCH_STARTS)
        content = READERS.get(path.suffix, _read_torch if is_torch else _read_pickle)(path)
        check_extent(content)
        return content
    except Exception as error:  # a damaged file can raise almost any error
        foreign = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = f"it asks for {foreign[1]}" if foreign else _torch_reason(str(error))
        if reason:
            what = f"is refused: {reason}; expected tensors, arrays and plain containers only"
            raise DataError(file, what, CONVERT) from error
        what = f"cannot be read as weights, it is damaged or something else ({_first_line(error)})"
        raise DataError(file, what, AGAIN) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def find_damage(file: str | Path) -> str:
    """Describe the damage of a file of `torch.save`, found by its members' checksums; empty if it is intact.

    The older format and other files have no checksums; of these, only empty files are detected.
    """
    path = Path(file)
    with path.open("rb") as stream:
        start = stream.read(4)
    try:
        if start == b"PK\x03\x04":
            with zipfile.ZipFile(path) as archive:
                held, size = sum(member.file_size for member in archive.infolist()), path.stat().st_size
                if held > INFLATED * size:
                    return f"is damaged: {size:,} bytes that claim to hold {held:,}"
                bad = archive.testzip()
            return f"is damaged: the check sum of {bad} is wrong" if bad else ""
    except Exception as error:  # zipfile, zlib and lzma raise many types
        return f"is damaged: {_first_line(error)}"
    return "" if start else "is empty"


def _torch_reason(message: str) -> str:
    """Extract the reason from the long message of torch's safe reader; empty if the file is not one of its pickles."""
    found = re.search(r"WeightsUnpickler error:\s*((Can only|Trying to|an array of|codec) [^\n]*)", message)
    return found[1] if found else ""


def read_state_dict(file: str | Path) -> dict[str, Tensor]:
    """Read the state dict of a weights file, also if it is nested; see :func:`read_checkpoint`.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it cannot be read, or holds no tensors by name.
    """
    return unwrap_state_dict(read_checkpoint(file), file)


def unwrap_state_dict(content: Any, file: object) -> dict[str, Tensor]:
    """Find the named tensors in what :func:`read_checkpoint` returned; `file` is for the message.

    Raises:
        DataError: there are no named tensors.
    """
    while isinstance(content, Mapping):
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    held = content if isinstance(content, Mapping) else {}
    state = {name: value for name, value in held.items() if isinstance(value, Tensor)}
    if not state:
        found = f"the keys {', '.join(map(str, list(held)[:3]))}" if held else f"a {type(content).__name__}"
        raise DataError(file, f"holds no tensors by name, but {found}", "Give a state dict, or a checkpoint with one")
    return state


def _read_torch(path: Path) -> Any:
    with allowing([(stand_in, f"{module}.{name}") for (module, name), stand_in in ArrayUnpickler.allowed.items()]):
        return _plain(torch.load(path, map_location="cpu", weights_only=True), {})


@contextmanager
def allowing(stand_ins: list[Any]) -> Iterator[None]:
    """Allow only these: other code in the process may have allowed unsafe globals, as mmengine does with `getattr`."""
    before = get_safe_globals()
    clear_safe_globals()
    add_safe_globals(stand_ins)
    try:
        yield
    finally:
        clear_safe_globals()
        add_safe_globals(before)


def _read_pickle(path: Path) -> Any:
    with path.open("rb") as stream:
        return _plain(ArrayUnpickler(stream, encoding="latin1").load(), {})


class _Dtype:
    """Stands for `numpy.dtype`, for plain numbers only."""

    def __init__(self, name: str, *_: Any) -> None:
        if name not in DTYPES:
            raise pickle.UnpicklingError(f"an array of the type {name!r}; expected one of {', '.join(DTYPES)}")
        self.torch = DTYPES[name]

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] not in ("<", "|", "=") or any(field is not None for field in state[2:5]):
            raise pickle.UnpicklingError(f"an array of the byte order {state[1]!r} or with fields {state[3]!r}")


class _Array:
    """Stands for `numpy.ndarray` while it is unpickled."""

    def __init__(self, *_: Any) -> None:
        self.tensor = torch.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, column_major, data = state
        self.tensor = _tensor(data, dtype, shape, "F" if column_major else "C")


def _tensor(data: Any, dtype: _Dtype, shape: tuple[int, ...], order: str) -> Tensor:
    content = bytearray(data.encode("latin1") if isinstance(data, str) else data)
    flat = torch.frombuffer(content, dtype=dtype.torch) if content else torch.empty(0, dtype=dtype.torch)
    return flat.reshape(shape) if order == "C" else flat.reshape(shape[::-1]).permute(*reversed(range(len(shape))))


def _array(data: Any, dtype: _Dtype, shape: tuple[int, ...], order: str) -> _Array:
    array = _Array()
    array.tensor = _tensor(data, dtype, shape, order)
    return array


def _scalar(dtype: _Dtype, data: Any) -> Any:
    return _tensor(data, dtype, (), "C").item()


def _latin1_only(text: str, encoding: str) -> bytes:
    """The part of `_codecs.encode` that pickled bytes need; other codecs, such as decompressors, are refused."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"codec {encoding!r}")
    return _codecs.encode(text, "latin1")


def _no_bytes() -> bytes:
    """Stands for `bytes` in empty arrays of old protocols; `bytes` itself would reserve any requested memory."""
    return b""


class _Record:
    """Stands for objects that only hold attributes: mmengine's `HistoryBuffer`, `argparse.Namespace`."""

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.fields = dict(state)


def _new_dict(*_: Any) -> dict[Any, Any]:
    """For `defaultdict`, whose first argument makes the defaults."""
    return {}


def _new_list(*_: Any) -> list[Any]:
    return []


def _text(*parts: str) -> str:
    """Stands for paths, which are stored as their parts."""
    return "/".join(map(str, parts)).replace("//", "/")


def _nothing(*_: Any) -> None:
    """Stands for objects without content: methods that a `HistoryBuffer` names by `getattr`, default factories."""


def _allowed() -> dict[tuple[str, str], Any]:
    allowed: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Dtype,
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("collections", "defaultdict"): _new_dict,
        ("collections", "deque"): _new_list,
        ("argparse", "Namespace"): _Record,
        ("mmengine.logging.history_buffer", "HistoryBuffer"): _Record,
        ("mmengine.config.config", "ConfigDict"): dict,
        ("mmcv.utils.config", "ConfigDict"): dict,
        ("_codecs", "encode"): _latin1_only,
    }
    for builtins in ("builtins", "__builtin__"):  # of Python 3 and 2
        allowed[builtins, "bytes"] = _no_bytes
        for name in ("getattr", "dict", "float", "int", "list", "set", "str", "tuple"):
            allowed[builtins, name] = _nothing
    for name in ("Path", "PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath"):
        allowed["pathlib", name] = _text
    for package in ("numpy.core", "numpy._core"):  # before and since numpy 2
        allowed[f"{package}.multiarray", "_reconstruct"] = _Array
        allowed[f"{package}.multiarray", "scalar"] = _scalar
        allowed[f"{package}.numeric", "_frombuffer"] = _array
    return allowed


class ArrayUnpickler(pickle._Unpickler):
    """Reads arrays, plain containers and the few classes with a stand-in; all others are an error.

    It is the reader in Python: the one in C reserves memory for as many shared objects as a file claims to have.
    """

    allowed = _allowed()

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.allowed[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"GLOBAL {module}.{name}") from None


def _plain(content: Any, done: dict[int, Any]) -> Any:
    """Replace the stand-ins by their contents; `done` is keyed by identity, as a file may share and nest lists."""
    if isinstance(content, _Array):
        return content.tensor
    if id(content) in done:
        return done[id(content)][0]
    result = content.fields if isinstance(content, _Record) else content
    if isinstance(content, tuple) and type(content) is tuple:
        result = tuple(_plain(item, done) for item in content)
    done[id(content)] = result, content  # kept, so that no other object gets its identity
    if isinstance(result, dict):
        for key, value in result.items():
            result[key] = _plain(value, done)
    elif isinstance(result, list):
        result[:] = [_plain(item, done) for item in result]
    return result

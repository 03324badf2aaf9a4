"""Reads a LazyConfig. Overrides must name existing keys, and keys without effect are refused."""

from __future__ import annotations

import builtins
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from detectron2.config import LazyConfig
from detectron2.utils.registry import locate
from omegaconf import DictConfig, ListConfig, OmegaConf
from torch.utils.data import DataLoader

from gcisg_core.lookup import unknown_name
from gcisg_core.problems import DataError, reason
from gcisg_core.ranges import check_ranges

NODES = ("model", "optimizer", "lr_multiplier", "dataloader", "train")
# The keys of `train` that the framework or this suite reads; others would have no effect.
TRAIN_KEYS = (
    "output_dir", "init_checkpoint", "max_iter", "amp", "ddp", "checkpointer", "eval_period", "log_period", "device",
    "seed", "cudnn_benchmark", "float32_precision", "on_nonfinite",
)  # fmt: skip
FREE = ("model.regularizer", "model.backbone_plugins", "model.photometric", "train.ddp", "train.checkpointer")
LOADER_KEYS = ("dataset", "mapper", "sampler", "total_batch_size", "aspect_ratio_grouping", "num_workers")
TRAIN_LOADER = "build_detection_train_loader"


def read_config(file: str, overrides: Sequence[str] = ()) -> Any:
    """Read a LazyConfig and apply `key=value` overrides. The file is Python code and is executed.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: The file raises an error, or has a key without effect; the message gives the nearest valid one.
        ValueError: A node is missing, or an override has an unknown key; the message gives the nearest valid one.
    """
    if not Path(file).is_file():
        raise FileNotFoundError(f"config file {file} does not exist")
    config = _load(str(file))
    missing = [name for name in NODES if name not in config]
    if missing:
        raise ValueError(f"{file} does not define {', '.join(missing)}; see detectron2/configs/common")
    for override in overrides:
        _check_override(config, override)
    try:
        config = LazyConfig.apply_overrides(config, list(overrides))
    except Exception as error:  # hydra's syntax error, or a value in the place of a node
        raise ValueError(f"{file} with the overrides {list(overrides)}: {reason(error)}") from error
    _check_keys(str(file), config)
    check_ranges(file, plain(config))
    return config


def read_run(file: str, overrides: Sequence[str] = (), trust: bool = False) -> Any:
    """:func:`read_config` for a file in the folder of a run. It is Python code, so it is executed only if trusted."""
    if not trust:
        remedy = "Add --trust if the run is your own, or name the config that you trained with: --config FILE"
        raise DataError(file, "is a LazyConfig: Python code that is executed when it is read", remedy)
    return read_config(file, overrides)


def _load(file: str) -> Any:
    try:
        # Restores `__import__`, which Detectron2 leaves patched after an error.
        with mock.patch.object(builtins, "__import__", builtins.__import__):
            return LazyConfig.load(file)
    except DataError:
        raise  # from data that the file registers
    except Exception as error:  # the file can raise any error
        cause = error.__cause__ if isinstance(error.__cause__, SyntaxError) else error
        place, line = file, getattr(cause, "lineno", None)
        trace = error.__traceback__
        while trace is not None:
            if str(trace.tb_frame.f_globals.get("__package__")).startswith("detectron2._cfg_loader"):
                place, line = trace.tb_frame.f_code.co_filename, trace.tb_lineno
            trace = trace.tb_next
        what = f"cannot be executed ({type(cause).__name__}: {getattr(cause, 'msg', None) or reason(cause)})"
        raise DataError(f"{place}, line {line}" if line else place, what, "Correct it") from error


def _check_override(config: Any, override: str) -> None:
    key, equals, _ = override.partition("=")
    if not equals or key.startswith("~"):
        raise ValueError(f"the override {override!r} must be key=value")
    node, path = config, ""
    for part in key.split("."):
        if key.startswith("+") or path in FREE or not OmegaConf.is_config(node):
            return
        known = [*map(str, range(len(node)))] if isinstance(node, ListConfig) else [*map(str, node)]
        if part not in known:
            known += accepted(node) if path != "train" else TRAIN_KEYS
            if part not in known and "**" not in known:
                raise unknown_name(key, [f"{path}.{name}".lstrip(".") for name in known], "config key")
            return
        node = OmegaConf.select(config, path := f"{path}.{part}".lstrip("."))


def accepted(node: Any) -> list[str]:
    """Return the argument names of a node's target; `**` if it takes any or cannot be inspected. No target: empty."""
    if not isinstance(node, Mapping) or "_target_" not in node:
        return []
    target = node["_target_"]
    target = locate(target) if isinstance(target, str) else target
    if "parent" in node:  # a detector with a method
        target = locate(node["parent"]) if isinstance(node["parent"], str) else node["parent"]
    return arguments(target)


def arguments(call: Callable[..., Any]) -> list[str]:
    """Return the argument names of a function or class; `**` stands for any."""
    try:
        parameters = inspect.signature(call).parameters.values()
    except (TypeError, ValueError):
        return ["**"]
    return ["**" if each.kind is each.VAR_KEYWORD else each.name for each in parameters]


def _check_keys(file: str, config: Any) -> None:
    for key, value in config.train.items():
        if key not in TRAIN_KEYS and not _is_off(value):
            hint = unknown_name(f"train.{key}", [f"train.{name}" for name in TRAIN_KEYS], "config key")
            raise DataError(file, str(hint), f"The key has no effect: rename it, or remove it (del train.{key})")
    loader = config.dataloader.get("train") or {}
    if target_name(loader) == TRAIN_LOADER:
        known = [*LOADER_KEYS, *loader_options(), "_target_"]
        for key in loader:
            if key not in known:
                raise DataError(
                    file, str(unknown_name(f"dataloader.train.{key}", known, "config key")), "Rename or remove it"
                )


def loader_options() -> set[str]:
    """Return the arguments of torch's `DataLoader` that a `build_detection_train_loader` node may also have."""
    own = {"self", "dataset", "batch_size", "shuffle", "sampler", "batch_sampler", "num_workers", "generator"}
    return {*inspect.signature(DataLoader).parameters} - {*own, "worker_init_fn", "drop_last"}


def _is_off(value: Any) -> bool:
    return not value.get("enabled", True) if isinstance(value, Mapping) else value in (None, False)


def target_name(node: Any) -> str:
    """Return the name of a node's target, without its module."""
    target = node.get("_target_", "")
    return str(getattr(target, "__name__", target)).rpartition(".")[2]


def plain(value: Any) -> Any:
    """Convert a node to plain containers."""
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def as_text(config: Any) -> str:
    """Return the whole config as JSON; classes and functions are given by name."""
    return json.dumps(plain(config), default=lambda value: getattr(value, "__qualname__", type(value).__name__))


def nodes(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield key and node of every node that has a `_target_`."""
    if isinstance(value, DictConfig | ListConfig):
        if isinstance(value, DictConfig) and "_target_" in value:
            yield path, value
        items: Any = value.items_ex(resolve=False) if isinstance(value, DictConfig) else enumerate(value)
        for key, inner in items:
            yield from nodes(inner, f"{path}.{key}".lstrip("."))


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield key and value of every value in plain containers that is not a container."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, f"{path}.{key}".lstrip("."))
    else:
        yield path, value

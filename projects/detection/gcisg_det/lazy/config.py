"""Reading a LazyConfig: overrides only of existing keys, and no key that nothing reads."""

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
    """A LazyConfig with `key=value` overrides; the file is Python and is run.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: It does not run.
        ValueError: It lacks a node, or it or an override has a key that nothing reads; the nearest valid one is given.
    """
    if not Path(file).is_file():
        raise FileNotFoundError(f"config file {file} does not exist")
    config = _load(str(file))
    missing = [name for name in NODES if name not in config]
    if missing:
        raise ValueError(f"{file} defines no {', '.join(missing)}, as detectron2/configs/common does")
    for override in overrides:
        _check_override(config, override)
    try:
        config = LazyConfig.apply_overrides(config, list(overrides))
    except Exception as error:  # of hydra's grammar, or of a value in the place of a node
        raise ValueError(f"{file} with the overrides {list(overrides)}: {reason(error)}") from error
    _check_keys(str(file), config)
    check_ranges(file, plain(config))
    return config


def read_run(file: str, overrides: Sequence[str] = (), trust: bool = False) -> Any:
    """:func:`read_config` for a file in the folder of a run; it is a program, so it runs only if trusted."""
    if not trust:
        remedy = "Add --trust if the run is your own, or name the config that you trained with: --config FILE"
        raise DataError(file, "is a LazyConfig, which is run when it is read", remedy)
    return read_config(file, overrides)


def _load(file: str) -> Any:
    try:
        with mock.patch.object(builtins, "__import__", builtins.__import__):  # an error would leave the framework's
            return LazyConfig.load(file)
    except DataError:
        raise  # of data that the file registers
    except Exception as error:  # the file is a program
        cause = error.__cause__ if isinstance(error.__cause__, SyntaxError) else error
        place, line = file, getattr(cause, "lineno", None)
        trace = error.__traceback__
        while trace is not None:
            if str(trace.tb_frame.f_globals.get("__package__")).startswith("detectron2._cfg_loader"):
                place, line = trace.tb_frame.f_code.co_filename, trace.tb_lineno
            trace = trace.tb_next
        what = f"is not a config that runs ({type(cause).__name__}: {getattr(cause, 'msg', None) or reason(cause)})"
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
    """The arguments of what a node builds, with `**` if it takes any or cannot be inspected; empty for plain nodes."""
    if not isinstance(node, Mapping) or "_target_" not in node:
        return []
    target = node["_target_"]
    target = locate(target) if isinstance(target, str) else target
    if "parent" in node:  # a detector with a method
        target = locate(node["parent"]) if isinstance(node["parent"], str) else node["parent"]
    return arguments(target)


def arguments(call: Callable[..., Any]) -> list[str]:
    """The names that a function or class takes, with `**` for any."""
    try:
        parameters = inspect.signature(call).parameters.values()
    except (TypeError, ValueError):
        return ["**"]
    return ["**" if each.kind is each.VAR_KEYWORD else each.name for each in parameters]


def _check_keys(file: str, config: Any) -> None:
    for key, value in config.train.items():
        if key not in TRAIN_KEYS and not _is_off(value):
            hint = unknown_name(f"train.{key}", [f"train.{name}" for name in TRAIN_KEYS], "config key")
            raise DataError(file, str(hint), f"Nothing reads it: rename it, or remove it (del train.{key})")
    loader = config.dataloader.get("train") or {}
    if target_name(loader) == TRAIN_LOADER:
        known = [*LOADER_KEYS, *loader_options(), "_target_"]
        for key in loader:
            if key not in known:
                raise DataError(
                    file, str(unknown_name(f"dataloader.train.{key}", known, "config key")), "Rename or remove it"
                )


def loader_options() -> set[str]:
    """The arguments of torch's loader that a node of the framework's training loader may have besides its own."""
    own = {"self", "dataset", "batch_size", "shuffle", "sampler", "batch_sampler", "num_workers", "generator"}
    return {*inspect.signature(DataLoader).parameters} - {*own, "worker_init_fn", "drop_last"}


def _is_off(value: Any) -> bool:
    return not value.get("enabled", True) if isinstance(value, Mapping) else value in (None, False)


def target_name(node: Any) -> str:
    """The name of what a node builds."""
    target = node.get("_target_", "")
    return str(getattr(target, "__name__", target)).rpartition(".")[2]


def plain(value: Any) -> Any:
    """A node as plain containers."""
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def as_text(config: Any) -> str:
    """A config's whole content, classes and functions by their names."""
    return json.dumps(plain(config), default=lambda value: getattr(value, "__qualname__", type(value).__name__))


def nodes(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every node that builds something, by its key."""
    if isinstance(value, DictConfig | ListConfig):
        if isinstance(value, DictConfig) and "_target_" in value:
            yield path, value
        items: Any = value.items_ex(resolve=False) if isinstance(value, DictConfig) else enumerate(value)
        for key, inner in items:
            yield from nodes(inner, f"{path}.{key}".lstrip("."))


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in plain containers that is not a container itself, by its key."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, f"{path}.{key}".lstrip("."))
    else:
        yield path, value

"""For every project on mmengine: hooks, exact resume, safe and atomic checkpoints, and the command's entry point.

Importing this module registers everything below and changes three things in mmengine for the process: files are
written under a temporary name and renamed, checkpoints are read without running any code in them, and `Pretrained`
initial weights are renamed to fit and refused where they do not.
"""

from __future__ import annotations

import inspect
import os
import sys
import uuid
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
import torch.distributed as dist
from mmengine.config import Config, DictAction
from mmengine.dataset import InfiniteSampler
from mmengine.dist import barrier, is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer, MMLogger
from mmengine.model import (
    MMDistributedDataParallel,
    PretrainedInit,
    is_model_wrapper,
    revert_sync_batchnorm,
    update_init_info,
)
from mmengine.optim import OptimWrapper
from mmengine.registry import DATA_SAMPLERS, DATASETS, HOOKS, MODEL_WRAPPERS, OPTIM_WRAPPERS, WEIGHT_INITIALIZERS
from mmengine.runner import Runner
from mmengine.runner.checkpoint import (
    CheckpointLoader,
    get_external_models,
    get_mmcls_models,
    get_torchvision_models,
)
from torch import Tensor, nn

from gcisg_core.initial_weights import LEAST_MATCH, load_initial_weights
from gcisg_core.integrations import reproducible
from gcisg_core.integrations import safetensors as _safetensors  # noqa: F401 - registers its reader
from gcisg_core.integrations import schedules as _schedules  # noqa: F401 - registers them
from gcisg_core.integrations import timm as _timm  # noqa: F401 - registers its guides
from gcisg_core.integrations.mmengine_nonfinite import record_steps
from gcisg_core.integrations.mmengine_views import derive_views
from gcisg_core.lookup import unknown_name
from gcisg_core.nonfinite import StepRecorder
from gcisg_core.safe_load import read_checkpoint, unwrap_state_dict
from gcisg_core.screen import keep_screen_brief

# mmengine retries a checkpoint that is unsafe to read with the unsafe reader; this setting of torch forbids it.
os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"


class AtomicLocalBackend(LocalBackend):
    """Writes under a temporary name and renames, so that a killed run leaves no half a file."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        temporary = f"{filepath}.{uuid.uuid4().hex}.tmp"
        super().put(obj, temporary)
        Path(temporary).replace(filepath)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = "utf-8") -> None:
        self.put(obj.encode(encoding), filepath)


register_backend("local", AtomicLocalBackend, prefixes="", force=True)


@CheckpointLoader.register_scheme(prefixes="", force=True)
def load_from_local(filename: str, map_location: Any = None, **_: Any) -> Any:
    """mmengine's loader of files, by :func:`gcisg_core.safe_load.read_checkpoint`, so onto the CPU."""
    content = read_checkpoint(Path(filename).expanduser())
    hub = content.get("message_hub") if isinstance(content, dict) else None
    if isinstance(hub, dict) and isinstance(hub.get("log_scalars"), dict):
        hub["log_scalars"] = {name: _history(value) for name, value in hub["log_scalars"].items()}
    return content


def _history(value: Any) -> Any:
    """A `HistoryBuffer` from what the safe reader returns for one."""
    held = value if isinstance(value, dict) else {}
    log, count = held.get("_log_history"), held.get("_count_history")
    if not isinstance(log, Tensor) or not isinstance(count, Tensor):
        return value
    return HistoryBuffer(log.numpy(), count.numpy(), held.get("max_length", 1000000))


# Prefix -> the addresses by name.
SOURCES: dict[str, Callable[[], Any]] = {
    "torchvision://": get_torchvision_models,
    "open-mmlab://": get_external_models,
    "openmmlab://": get_external_models,
    "mmcls://": get_mmcls_models,
}


@CheckpointLoader.register_scheme(prefixes=("http://", "https://", *SOURCES), force=True)
def load_from_net(filename: str, map_location: Any = None, **_: Any) -> Any:
    """mmengine's loader of weights from the net, verifying the hash in a name and saying what to do without a net.

    Raises:
        FileNotFoundError: the weights can be neither downloaded nor found in torch's cache; names file and folder.
        ValueError: there is no model of that name.
        DataError: the file in the cache was altered or is incomplete.
    """
    prefix, name = filename.split("://", 1)
    url = filename
    if f"{prefix}://" in SOURCES:
        urls = SOURCES[f"{prefix}://"]()
        if name not in urls:
            raise unknown_name(name, (known for known in urls if "." not in known), f"{prefix} model")
        url = urls[name]
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    try:
        if is_main_process():
            _download(url, cached)
        barrier()
        _download(url, cached)  # on a machine that shares no cache with the first
    except OSError as error:
        raise FileNotFoundError(
            f"{filename} could not be downloaded ({error}). Put {url} into {cached.parent}, or give the path of a file "
            f"instead of {filename}"
        ) from error
    return read_checkpoint(cached)


def _download(url: str, goal: Path) -> None:
    if not goal.is_file():
        goal.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(goal))  # renames when it is complete


@WEIGHT_INITIALIZERS.register_module(name="Pretrained", force=True)
class InitialWeights(PretrainedInit):
    """mmengine's `Pretrained`, by :func:`gcisg_core.initial_weights.load_initial_weights`.

    Args:
        checkpoint: A file or an address such as ``torchvision://resnet50``.
        least_match: The share of tensors that must match; 0 takes what fits.
        **kwargs: mmengine's.
    """

    def __init__(self, checkpoint: str, least_match: float = LEAST_MATCH, **kwargs: Any) -> None:
        super().__init__(checkpoint, **kwargs)
        self.least_match = least_match

    def __call__(self, module: nn.Module) -> None:
        content = CheckpointLoader.load_checkpoint(self.checkpoint, map_location=self.map_location)
        state = unwrap_state_dict(content, self.checkpoint)
        if self.prefix is not None:
            state = {name: value for name, value in state.items() if name.startswith(self.prefix)}
        load_initial_weights(module, state, self.checkpoint, self.least_match)
        if hasattr(module, "_params_init_info"):
            update_init_info(module, init_info=self._get_init_info())


@HOOKS.register_module()
class RegularizerHook(Hook):
    """Tells the method of each optimiser step, and makes each step's randomness depend on seed and step only.

    Also refuses to resume from a checkpoint of another model, which mmengine would load in part, and records the step
    in which a loss or gradient is not finite (:mod:`gcisg_core.nonfinite`).
    """

    priority = "VERY_HIGH"
    recorder: StepRecorder
    stepped = False

    def before_train(self, runner: Runner) -> None:
        self.recorder = record_steps(runner, unwrap(runner.model))
        self.regularizer = unwrap(runner.model).regularizer
        # The optimiser itself is asked: under gradient accumulation not every iteration steps, and mixed precision
        # leaves out the steps whose gradients overflowed. Inside the step the gradients are unscaled, clipped and the
        # same on all ranks; mmengine clears them after it.
        runner.optim_wrapper.optimizer.register_step_pre_hook(self._before_step)
        runner.optim_wrapper.optimizer.register_step_post_hook(self._note)

    def _before_step(self, *_: Any) -> None:
        if not self.recorder.skipped:  # the optimiser steps without gradients then, and changes nothing
            self.regularizer.before_optimizer_step()

    def _note(self, *_: Any) -> None:
        self.stepped = not self.recorder.skipped

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        reproducible.seed_everything(0, runner.seed, runner.rank, runner.iter)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if self.stepped:
            self.regularizer.update_target()
            self.stepped = False

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        if runner._resume:
            check_state(unwrap(runner.model), checkpoint["state_dict"], "the checkpoint to resume from")


def unwrap(model: nn.Module) -> Any:
    """The model inside mmengine's distributed wrapper."""
    return model.module if is_model_wrapper(model) else model


def check_state(model: nn.Module, state: dict[str, Any], what: str, ignore: tuple[str, ...] = ()) -> None:
    """Refuse a state dict that is not this model's.

    Raises:
        ValueError: a weight is missing, unexpected or of another shape; names the first ones.
    """
    own = model.state_dict()
    wrong = [
        # Files of old versions of torch do not count batches.
        *(f"{name} is missing" for name in own if name not in state and not name.endswith("num_batches_tracked")),
        *(f"{name} is not in the model" for name in state if name not in own),
        *(
            f"{name} has the shape {tuple(state[name].shape)}, expected {tuple(own[name].shape)}"
            for name in own
            if name in state and own[name].shape != state[name].shape
        ),
    ]
    wrong = [fault for fault in wrong if not fault.startswith(ignore)] if ignore else wrong
    if wrong:
        raise ValueError(
            f"{what} is not one of this config's model: {'; '.join(wrong[:3])} ({len(wrong)} differences). Give the "
            f"config that it was trained with, or another checkpoint"
        )


class BriefRunner(Runner):
    """mmengine's runner, whose long listings go to the log file alone."""

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        keep_screen_brief(logger)
        return logger


@DATASETS.register_module()
class SeededDataset(reproducible.SeededDataset):
    """See :class:`gcisg_core.integrations.reproducible.SeededDataset`; takes a data set or its config."""

    def __init__(self, dataset: Any) -> None:
        super().__init__(DATASETS.build(dataset) if isinstance(dataset, dict) else dataset)
        self.metainfo = getattr(self.dataset, "metainfo", {})


@DATA_SAMPLERS.register_module()
class SeededSampler(InfiniteSampler):
    """mmengine's endless sampler, giving each sample the key of its randomness too; for `SeededDataset`."""

    _skipped = 0

    def skip(self, num_samples: int) -> None:
        super().skip(num_samples)
        self._skipped = num_samples

    def __iter__(self) -> Iterator[Any]:
        return reproducible.seeded_indices(super().__iter__(), self.seed, self.rank, self._skipped)


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Mixed precision in bfloat16, which needs no loss scaling and also works on a CPU."""

    def optim_context(self, model: nn.Module) -> AbstractContextManager:
        device = next(model.parameters()).device.type
        return torch.autocast(device, dtype=torch.bfloat16)


@MODEL_WRAPPERS.register_module()
class CPUDistributedDataParallel(MMDistributedDataParallel):
    """mmengine's wrapper without synchronised BatchNorm, which torch has on GPUs alone: each rank uses its own images.

    Args:
        module: Its SyncBatchNorm layers become BatchNorm layers, as mmengine makes them on one device.
        **kwargs: mmengine's.
    """

    def __init__(self, module: nn.Module, **kwargs: Any) -> None:
        super().__init__(revert_sync_batchnorm(module), **kwargs)


# What the framework reads of a config, whether or not the file has it.
RUNNER_KEYS = frozenset(inspect.signature(Runner.__init__).parameters) - {"self", "cfg"}


def load_config(path: str, overrides: list[str]) -> Config:
    """Read a config and apply ``key=value`` overrides; ``custom_hooks.1.end=0.6`` is of the second of a list.

    Where the config leaves ``views`` open, it becomes the number that the method needs, see
    :func:`gcisg_core.integrations.mmengine_views.derive_views`.

    Raises:
        ValueError: an override has no ``=``, or one of the keys on its way is unknown; the nearest valid one is given.
            Or the config states fewer ``views`` than the method needs.
    """
    config = Config.fromfile(path)
    for override in overrides:
        key, equals, _ = override.partition("=")
        if not equals:
            raise ValueError(f"override {override!r} must have the form key=value")
        parent = config
        *parents, last = key.split(".")
        for part in parents:
            if isinstance(parent, list):
                parent = {str(index): item for index, item in enumerate(parent)}
            if part not in parent:
                raise unknown_name(part, parent, f"config key (of {key!r})")
            parent = parent[part]
        if not parents and last not in config and last not in RUNNER_KEYS:
            raise unknown_name(last, config, "config key")
    if overrides:
        parsed = Namespace()
        DictAction(["--overrides"], "overrides")(ArgumentParser(), parsed, overrides)
        config.merge_from_dict(parsed.overrides)
    derive_views(config)
    return config


def latest_checkpoint(work_dir: Path) -> Path | None:
    """The newest ``iter_*.pth`` or ``epoch_*.pth`` of a run; found by name, as each is written at once."""
    found = [path for pattern in ("iter_*.pth", "epoch_*.pth") for path in work_dir.glob(pattern)]
    return max(found, key=lambda path: int(path.stem.rpartition("_")[2]), default=None)


def build_runner(
    config_file: str | Path,
    overrides: Sequence[str] = (),
    work_dir: str | Path | None = None,
    seed: int | None = None,
    amp: bool = False,
    resume: bool = False,
) -> Runner:
    """The runner of a config.

    Args:
        config_file: A mmengine config.
        overrides: ``key=value`` each.
        work_dir: Where results go; by default the config's, or ``work_dirs/<config>``.
        seed: The config's by default.
        amp: Mixed precision: float16 on a GPU, bfloat16 on a CPU.
        resume: Go on from the newest checkpoint of the work directory, if there is one.
    """
    config = load_config(str(config_file), list(overrides))
    config.work_dir = str(work_dir or config.get("work_dir") or f"work_dirs/{Path(config_file).stem}")
    if seed is not None:
        config.randomness = {**config.get("randomness", {}), "seed": seed}
    if amp:
        config.optim_wrapper.type = "AmpOptimWrapper" if torch.cuda.is_available() else "BFloat16OptimWrapper"
    if "LOCAL_RANK" in os.environ:
        config.launcher = "pytorch"
        if not torch.cuda.is_available():  # mmengine's own set-up expects a GPU a process
            if not dist.is_initialized():
                dist.init_process_group("gloo")
            config.sync_bn = None
            wrapper = {"type": "CPUDistributedDataParallel", "broadcast_buffers": False}
            config.model_wrapper_cfg = {**wrapper, **(config.get("model_wrapper_cfg") or {}), "device_ids": None}
    if resume:
        checkpoint = latest_checkpoint(Path(config.work_dir))
        if checkpoint is None:
            print(f"Nothing to resume in {config.work_dir}: training starts from the beginning.", file=sys.stderr)
        else:
            config.load_from, config.resume = str(checkpoint), True
    return BriefRunner.from_cfg(config)


def load_for_evaluation(model: nn.Module, path: str) -> None:
    """Load a checkpoint of the task model, with or without what the method keeps beside it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is a checkpoint of another model.
    """
    checkpoint = CheckpointLoader.load_checkpoint(path, map_location="cpu")
    state = checkpoint.get("state_dict", checkpoint)
    check_state(model, state, path, ignore=("regularizer.",))
    model.load_state_dict({k: v for k, v in state.items() if not k.startswith("regularizer.")}, strict=False)


def run(args: Namespace) -> None:
    """Train, or evaluate with ``--eval-only``; see ``tools/train_net.py --help`` for the arguments."""
    runner = build_runner(args.config, args.overrides, args.work_dir, args.seed, args.amp, args.resume)
    if args.eval_only:
        load_for_evaluation(unwrap(runner.model), args.checkpoint)
        runner.test()
    else:
        runner.train()

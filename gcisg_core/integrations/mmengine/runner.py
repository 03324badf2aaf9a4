"""mmengine: builds the runner of a config with overrides, and trains or evaluates."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from mmengine.dist import broadcast_object_list, get_world_size, init_dist, is_main_process
from mmengine.hooks import LoggerHook
from mmengine.logging import MMLogger
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.registry import MODEL_WRAPPERS, OPTIM_WRAPPERS
from mmengine.runner import Runner
from torch import nn

from gcisg_core.integrations.mmengine.bases import lost_hooks
from gcisg_core.integrations.mmengine.checkpoints import load_for_evaluation, unwrap
from gcisg_core.integrations.mmengine.read import load_config
from gcisg_core.integrations.mmengine.trackers import add_trackers
from gcisg_core.launch import rank_timeout
from gcisg_core.refused_start import accept_start, restore_texts
from gcisg_core.run_folder import IDENTITY, number_start, on_first_rank, open_run, release_all
from gcisg_core.screen import keep_screen_brief, log_interval, tell_step
from gcisg_core.wrong_setting import naming_settings


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Mixed precision in bfloat16, which needs no loss scaling and also works on a CPU."""

    def optim_context(self, model: nn.Module) -> AbstractContextManager:
        device = next(model.parameters()).device.type
        return torch.autocast(device, dtype=torch.bfloat16)


@MODEL_WRAPPERS.register_module()
class CPUDistributedDataParallel(MMDistributedDataParallel):
    """mmengine's wrapper without synchronised BatchNorm, which torch has only on GPUs: ranks use their own images.

    Args:
        module: Its SyncBatchNorm layers become BatchNorm layers, as in mmengine on a single device.
        **kwargs: mmengine's.
    """

    def __init__(self, module: nn.Module, **kwargs: Any) -> None:
        super().__init__(revert_sync_batchnorm(module), **kwargs)


class BriefRunner(Runner):
    """mmengine's runner, with long listings only in the log file.

    mmengine keys loggers, message hubs and registry scopes by the run's name, which ends in the second of its start.
    This class adds the run's number in the process, so that two runs in one second do not share a log. The log folder
    of a start is unique too, and has the start's number, because clocks can be set back.
    """

    _numbers = count(1)
    _timestamp: str

    @property
    def _experiment_name(self) -> str:
        return self._numbered_name

    @_experiment_name.setter
    def _experiment_name(self, name: str) -> None:
        self._numbered_name = f"{name}_{next(self._numbers)}"

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        super().setup_env(env_cfg)
        name = [next(name for name in _names(self.timestamp) if not (Path(self.work_dir) / name).exists())]
        broadcast_object_list(name)  # the first process's name, before a process creates the folder
        self._timestamp = name[0]

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        if is_main_process():
            number_start(Path(self.log_dir))
        logger = super().build_logger(*args, **kwargs)
        keep_screen_brief(logger)
        return logger

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        if fn_name == "before_train":
            for hook in self.hooks:
                if isinstance(hook, LoggerHook):  # a short run would log nothing
                    hook.interval = log_interval(hook.interval, self.max_iters)
        super().call_hook(fn_name, **kwargs)
        if fn_name == "before_train":
            accept_start(Path(self.work_dir))
        elif fn_name == "after_train_iter":
            tell_step("training", self.iter + 1, self.max_iters)
        elif fn_name in ("after_val_iter", "after_test_iter"):
            loader = self.val_dataloader if fn_name == "after_val_iter" else self.test_dataloader
            tell_step("evaluating", kwargs["batch_idx"] + 1, len(loader))


class EvaluationRunner(BriefRunner):
    """Runner that does not change a run's config when it evaluates in the run's folder."""

    def dump_config(self) -> None:
        if not (Path(self.work_dir) / IDENTITY).is_file():
            super().dump_config()


def _names(name: str) -> Iterator[str]:
    """Yield a name, then the name with numbers appended."""
    yield name
    yield from (f"{name}_{number}" for number in count(1))


# mmengine's functions that build an object from its part of the config.
BUILDERS = {"build_from_cfg", "build_dataloader", "build_optim_wrapper", "build_param_scheduler", "build_train_loop"}
# The place of a run and how it was started, not its settings.
NOT_OF_A_RUN = {"work_dir", "load_from", "resume", "launcher", "model_wrapper_cfg", "randomness"}


def build_runner(
    config_file: str | Path,
    overrides: Sequence[str] = (),
    work_dir: str | Path | None = None,
    seed: int | None = None,
    amp: bool = False,
    resume: bool = False,
    fresh: bool = False,
    training: bool = True,
    trackers: Sequence[str] = (),
) -> Runner:
    """Build the runner of a config.

    Args:
        config_file: An mmengine config.
        overrides: A list of ``key=value``.
        work_dir: The output folder; by default the config's, or ``work_dirs/<config>``.
        seed: The seed; by default the config's.
        amp: Mixed precision: float16 on a GPU, bfloat16 on a CPU.
        resume: Resume from the newest checkpoint in the work directory, if there is one.
        fresh: Move an earlier run in the work directory aside.
        training: Reserve the work directory for a run, see :func:`gcisg_core.run_folder.open_run`.
        trackers: Experiment trackers that the run also logs to, see :mod:`gcisg_core.trackers`.

    Raises:
        ValueError: the config or an override is wrong, or the work directory holds another run or is in use.
    """
    config = load_config(str(config_file), list(overrides))
    for key in ("model", *(["train_dataloader", "train_cfg"] if training else [])):
        if not isinstance(config.get(key), dict):
            raise ValueError(f"{config_file}: {key} is {config.get(key)!r}, expected a dictionary of its settings")
    config.work_dir = str(work_dir or config.get("work_dir") or f"work_dirs/{Path(config_file).stem}")
    if seed is not None:
        config.randomness = {**config.get("randomness", {}), "seed": seed}
    if amp:
        config.optim_wrapper.type = "AmpOptimWrapper" if torch.cuda.is_available() else "BFloat16OptimWrapper"
    settings = {key: value for key, value in config.to_dict().items() if key not in NOT_OF_A_RUN}
    if "LOCAL_RANK" in os.environ:
        config.launcher = "pytorch"
        if not torch.cuda.is_available():  # mmengine's setup expects a GPU for each process
            if not dist.is_initialized():
                dist.init_process_group("gloo", timeout=rank_timeout())
            config.sync_bn = None
            wrapper = {"type": "CPUDistributedDataParallel", "broadcast_buffers": False}
            config.model_wrapper_cfg = {**wrapper, **(config.get("model_wrapper_cfg") or {}), "device_ids": None}
        elif not dist.is_initialized():
            how = (config.get("env_cfg") or {}).get("dist_cfg", {})
            init_dist("pytorch", **{"timeout": rank_timeout().seconds, **how})
    if training:
        for line in lost_hooks(config, config_file) if is_main_process() else ():
            print(line)
        folder, used = Path(config.work_dir), (config.get("randomness") or {}).get("seed")
        how = (used, seed is not None, get_world_size(), resume, fresh)
        found = on_first_rank(lambda: open_run(folder, settings, *how))
        if found is not None:
            config.load_from, config.resume = str(found), True
    else:  # mmengine would load it and overwrite the evaluated checkpoint
        config.load_from, config.resume = None, False
    if trackers:  # not settings of the run, which may resume without them
        add_trackers(config, trackers)
    with naming_file(config_file):
        return (BriefRunner if training else EvaluationRunner).from_cfg(config)


@contextmanager
def naming_file(config_file: object) -> Iterator[None]:
    """Turn mmengine's error for a name that is not registered into one that names the config.

    Raises:
        ValueError: a name is not registered.
    """
    try:
        yield
    except KeyError as error:
        what = str(error.args[0]) if error.args else ""
        if "registry" not in what:
            raise
        raise ValueError(
            f"{config_file}: {what.partition('. ')[0]}. Correct the name, or list the module that registers it in "
            f"custom_imports"
        ) from error


def run(args: Namespace) -> None:
    """Train, or evaluate with ``--eval-only``; see ``tools/train_net.py --help`` for the arguments."""
    start = (args.config, args.overrides, args.work_dir, args.seed, args.amp)

    def read(overrides: Sequence[str]) -> dict[str, Any]:
        return dict(load_config(args.config, overrides).to_dict())

    try:
        with naming_settings(args.config, read, args.overrides, BUILDERS), naming_file(args.config):
            if args.eval_only:
                runner = build_runner(*start, training=False)
                load_for_evaluation(unwrap(runner.model), args.checkpoint)
                runner.test()
            else:
                build_runner(*start, args.resume, args.fresh, trackers=getattr(args, "trackers", ())).train()
    finally:
        restore_texts()
        release_all()

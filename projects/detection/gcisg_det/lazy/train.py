"""Training and evaluation of a LazyConfig; `tools/train_net.py` calls :func:`run`."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode, instantiate
from detectron2.data.samplers import TrainingSampler
from detectron2.engine import SimpleTrainer, defaults, hooks
from detectron2.engine.train_loop import AMPTrainer
from detectron2.evaluation import DatasetEvaluators, inference_on_dataset, print_csv_format
from detectron2.utils import comm
from omegaconf import ListConfig
from torch import nn

from gcisg_core.disk import check_space
from gcisg_core.integrations.detectron2 import RegularizerHook
from gcisg_core.integrations.detectron2.checkpoints import SafeCheckpointer, save_missing_final
from gcisg_core.integrations.detectron2.resume import ExactResume, ResumableLoader, WholeLog
from gcisg_core.integrations.detectron2.trackers import tracker_writers
from gcisg_core.run_folder import on_first_rank
from gcisg_core.wrong_setting import naming_settings

from ..coco_evaluator import BoxEvaluator
from ..engine import set_up, train_in_bfloat16
from ..processes import for_cpu, start
from .config import TRAIN_LOADER, as_text, loader_options, plain, read_config, target_name
from .method import check_method

BUILDERS = {"instantiate"}  # the function that builds an object from its node


def configure(args: Namespace) -> Any:
    """Build the config from command-line arguments."""
    config = read_config(args.config, args.overrides)
    check_method(config.model)
    train = config.train
    if args.seed is not None:
        train.seed = args.seed
    train.amp.enabled = train.amp.enabled or args.amp
    if args.work_dir or train.output_dir == "./output":  # the default in detectron2/configs/common
        train.output_dir = args.work_dir or f"work_dirs/{Path(args.config).stem}"
    if not torch.cuda.is_available():
        train.device = "cpu"
    return config


def run(args: Namespace) -> None:
    """Train, or evaluate with `--eval-only`, in `--num-gpus` processes, with the components that the config names.

    Raises:
        ValueError: An argument, the config, the data or the checkpoint cannot be used; the message says why.
    """
    config = configure(args)
    settings = json.loads(as_text(config))
    settings["train"].pop("output_dir")
    start(args, _run_rank, Path(config.train.output_dir), settings, settings["train"].pop("seed", None))


def _run_rank(args: Namespace) -> None:
    with naming_settings(args.config, lambda given: plain(read_config(args.config, given)), args.overrides, BUILDERS):
        _train_or_evaluate(args)


def _train_or_evaluate(args: Namespace) -> None:
    config = configure(args)
    set_up(config, args, Path(config.train.output_dir))
    model = instantiate(config.model).to(config.train.device)
    if config.train.device == "cpu":
        for_cpu(model)
    if args.eval_only:
        SafeCheckpointer(model, strict=True).load(args.checkpoint)
        evaluate(config, model)
    else:
        train(config, model, args)


def evaluate(config: Any, model: nn.Module) -> Any:
    """Run the config's evaluator on its test data; return None if the config has no evaluator."""
    if "evaluator" not in config.dataloader:
        return None
    results = inference_on_dataset(model, instantiate(config.dataloader.test), evaluator(config))
    if comm.is_main_process():
        print_csv_format(results)
    return results


def evaluator(config: Any) -> Any:
    """Build the config's evaluators; `COCOEvaluator` is replaced by one that accepts a model without detections."""
    node = config.dataloader.evaluator
    if isinstance(node, ListConfig):
        return DatasetEvaluators([_evaluator(config, one) for one in node])
    return _evaluator(config, node)


def _evaluator(config: Any, node: Any) -> Any:
    if target_name(node) != "COCOEvaluator":
        return instantiate(node)
    folder = Path(node.get("output_dir") or config.train.output_dir) / "inference" / node.dataset_name
    return BoxEvaluator(node.dataset_name, str(folder), plain(node.get("tasks")), plain(node.get("kpt_oks_sigmas", ())))


def train(config: Any, model: Any, args: Namespace) -> None:
    """Train as `tools/lazyconfig_train_net.py` does, with this project's hooks, loader and checkpointer."""
    settings, loader = config.train, train_loader(config.dataloader.train)
    config.optimizer.params.model = model
    optimizer = instantiate(config.optimizer)
    amp, on_cpu = settings.amp.enabled, settings.device == "cpu"
    if amp and on_cpu:
        train_in_bfloat16(model)
    options = {**plain(settings.get("ddp", {})), **({"device_ids": None} if on_cpu else {})}
    options = {key: value for key, value in options.items() if not (on_cpu and key == "fp16_compression")}
    wrapped = defaults.create_ddp_model(model, **options) if comm.get_world_size() > 1 else model
    trainer: Any = (AMPTrainer if amp and not on_cpu else SimpleTrainer)(wrapped, loader, optimizer)
    checkpointer = SafeCheckpointer(wrapped, settings.output_dir, trainer=trainer)
    record = CfgNode({"OUTPUT_DIR": settings.output_dir, "LAZY": {"FILE": args.config, "OVERRIDES": args.overrides}})
    hook = {"ON_NONFINITE": settings.on_nonfinite} if "on_nonfinite" in settings else {}
    record.REGULARIZER = CfgNode({"HOOK": hook})
    own = [RegularizerHook(record)] if hasattr(model, "regularizer") else []
    main = comm.is_main_process()
    writers: list[Any] = []
    if main:
        trackers = tracker_writers(getattr(args, "trackers", ()), settings.output_dir, json.loads(as_text(config)))
        writers = [*defaults.default_writers(settings.output_dir, settings.max_iter), *trackers]
    steps = [
        ExactResume(settings.get("seed", -1)),
        *own,
        hooks.IterationTimer(),
        hooks.LRScheduler(scheduler=instantiate(config.lr_multiplier)),
        hooks.PeriodicCheckpointer(checkpointer, **settings.checkpointer) if main else None,
        hooks.EvalHook(settings.eval_period, lambda: evaluate(config, wrapped)),
        hooks.PeriodicWriter(writers, period=settings.log_period) if main else None,
        WholeLog(settings.eval_period, settings.output_dir),
    ]
    trainer.register_hooks(steps)
    checkpointer.resume_or_load(settings.init_checkpoint, resume=args.resume)
    on_first_rank(lambda: check_space(Path(settings.output_dir), model, optimizer))
    first = trainer.iter + 1 if args.resume and checkpointer.has_checkpoint() else 0
    if first >= settings.max_iter:
        save_missing_final(checkpointer, trainer.iter)
    trainer.train(first, settings.max_iter)


def train_loader(node: Any) -> Any:
    """Build the config's training loader; Detectron2's own is replaced by one that resumes exactly."""
    if target_name(node) != TRAIN_LOADER:
        return instantiate(node)
    parts = {key: instantiate(value) for key, value in node.items() if key != "_target_"}
    records, ranks = parts["dataset"], comm.get_world_size()
    total = parts["total_batch_size"]
    if total < 1 or total % ranks:
        raise ValueError(f"total_batch_size is {total}, expected a positive multiple of the {ranks} processes")
    return ResumableLoader(
        records,
        parts["mapper"],
        parts.get("sampler") or TrainingSampler(len(records)),
        batch_size=total // ranks,
        grouping=parts.get("aspect_ratio_grouping", True),
        num_workers=parts.get("num_workers", 0),
        **{name: value for name, value in parts.items() if name in loader_options() and value is not None},
    )


def build_recorded(file: str, overrides: Sequence[str]) -> nn.Module:
    """Build the model of a recorded step, with its method and without weights."""
    config = read_config(file, overrides)
    model: nn.Module = instantiate(config.model).to(config.train.device if torch.cuda.is_available() else "cpu")
    return model

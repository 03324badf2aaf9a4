"""Detectron2's trainer with exact resume, safe checkpoints, and results that state their box convention.

`tools/train_net.py` calls :func:`run` for a `.yaml` config.
"""

from __future__ import annotations

import json
import logging
import time
import weakref
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import yaml
from detectron2.config import CfgNode, get_cfg
from detectron2.data import MetadataCatalog, build_detection_test_loader
from detectron2.engine import DefaultTrainer, HookBase, default_setup, defaults
from detectron2.engine.hooks import PeriodicWriter
from detectron2.utils import comm
from detectron2.utils.events import EventWriter
from detectron2.utils.file_io import PathManager
from detectron2.utils.logger import setup_logger

from gcisg_core.disk import check_space
from gcisg_core.integrations.detectron2 import RegularizerHook
from gcisg_core.integrations.detectron2.checkpoints import SafeCheckpointer, save_missing_final
from gcisg_core.integrations.detectron2.resume import (
    ExactResume,
    ResumableLoader,
    WholeLog,
    build_train_loader,
)
from gcisg_core.integrations.detectron2.trackers import tracker_writers
from gcisg_core.run_folder import on_first_rank
from gcisg_core.screen import keep_screen_brief, log_interval, tell_step

from . import custom_imports
from .coco_evaluator import HEADLINE
from .config import read_config
from .datasets import setup_datasets
from .evaluators import build_evaluator, check_numbers, headline
from .mapper import build_mapper
from .processes import for_cpu, start

logger = logging.getLogger(f"detectron2.{__name__}")  # a child of the framework's logger, so that it uses its handlers


class Trainer(DefaultTrainer):
    """The trainer of `tools/train_net.py`: `DefaultTrainer` with this project's data, hooks and evaluators.

    `SOLVER.AMP.ENABLED` also works on a CPU, in bfloat16, which needs no loss scaling.

    Attributes:
        trackers: Experiment trackers that the run also logs to, see :mod:`gcisg_core.trackers`.
    """

    trackers: Sequence[str] = ()  # on the class: the parent's constructor reads it

    def __init__(self, cfg: CfgNode) -> None:
        on_cpu = cfg.MODEL.DEVICE == "cpu"
        given, bfloat16 = cfg, on_cpu and cfg.SOLVER.AMP.ENABLED
        if bfloat16:
            cfg = cfg.clone()
            cfg.defrost()
            cfg.SOLVER.AMP.ENABLED = False  # Detectron2's AMP trainer requires CUDA
        # Detectron2 passes a GPU id for each process; torch rejects it for a model on the CPU.
        wrap = partial(defaults.create_ddp_model, device_ids=None) if on_cpu else defaults.create_ddp_model
        with mock.patch.object(defaults, "create_ddp_model", wrap):
            super().__init__(cfg)
        if bfloat16:
            self.cfg = given  # a recorded step must state that it used mixed precision
            model: Any = self.model
            train_in_bfloat16(getattr(model, "module", model))

    def build_hooks(self) -> list[HookBase | None]:
        """Return the framework's hooks, with the safe checkpointer, and this project's hooks."""
        self.checkpointer = SafeCheckpointer(self.model, self.cfg.OUTPUT_DIR, cfg=self.cfg, trainer=weakref.proxy(self))
        hooks = [ExactResume(self.cfg.SEED), *super().build_hooks()]
        for hook in hooks:
            if isinstance(hook, PeriodicWriter):  # a short run would log only its last step
                hook._period = log_interval(hook._period, self.max_iter)
        hooks.append(WholeLog(self.cfg.TEST.EVAL_PERIOD, self.cfg.OUTPUT_DIR))
        if self.cfg.SELECTION.EVERY_CHECKPOINT:
            from .selection import SelectionHook  # here, because it imports this module

            hooks.append(SelectionHook())
        return [RegularizerHook(), *hooks] if self.cfg.MODEL.META_ARCHITECTURE == "SynToRealDetector" else hooks

    def build_writers(self) -> list[EventWriter]:
        """Return the framework's writers and those of the trackers."""
        settings = yaml.safe_load(self.cfg.dump())
        return [*super().build_writers(), *tracker_writers(self.trackers, self.cfg.OUTPUT_DIR, settings)]

    def train(self) -> Any:
        """Check the disk space, save the final checkpoint if only that is missing, and train."""
        folder = Path(self.cfg.OUTPUT_DIR)
        model: Any = getattr(self.model, "module", self.model)
        on_first_rank(lambda: check_space(folder, model, self.optimizer))
        if self.start_iter >= self.max_iter:
            save_missing_final(self.checkpointer, self.iter)
        return super().train()

    def after_step(self) -> None:
        super().after_step()
        tell_step("training", self.iter + 1, self.max_iter)

    def state_dict(self) -> dict[str, Any]:
        """Add the optimizer and gradient scaler, which Detectron2 0.5 leaves out of the checkpoint."""
        return {**super().state_dict(), "_trainer": self._trainer.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the optimizer and gradient scaler too; if the framework has loaded them, this has no effect."""
        super().load_state_dict(state_dict)
        self._trainer.load_state_dict(state_dict["_trainer"])

    @classmethod
    def build_model(cls, cfg: CfgNode) -> torch.nn.Module:
        """Build the framework's model; on a CPU, plain BatchNorm replaces synchronised BatchNorm."""
        model: torch.nn.Module = super().build_model(cfg)
        if cfg.MODEL.DEVICE == "cpu":
            for_cpu(model)
        return model

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> ResumableLoader:
        """Build the resumable loader, after checking that the final evaluation can run.

        Raises:
            ValueError: The config and the data differ in the number of classes, or the training and evaluation data
                have different classes.
            DataError: The training or evaluation data cannot be used.
        """
        if not cfg.DATASETS.TRAIN:
            raise ValueError("DATASETS.TRAIN is empty, name the data to train on")
        if "RRPN" in cfg.MODEL.PROPOSAL_GENERATOR.NAME:
            what = "a custom mapper and evaluator, see CUSTOM_TRAINER in docs/your_model.md"
            raise ValueError(f"MODEL.PROPOSAL_GENERATOR.NAME RRPN: rotated boxes need {what}")
        loader = build_train_loader(cfg, build_mapper(cfg, True))
        classes = MetadataCatalog.get(cfg.DATASETS.TRAIN[0]).get("thing_classes", [])
        check_numbers(cfg, cfg.DATASETS.TRAIN[0])
        for name in cfg.DATASETS.TEST:
            cls.build_evaluator(cfg, name)
            tested = MetadataCatalog.get(name).get("thing_classes", [])
            if classes and tested and tested != classes:
                raise ValueError(
                    f"{cfg.DATASETS.TRAIN[0]} has the classes {', '.join(classes)}, but {name} has "
                    f"{', '.join(tested)}. Give both the same categories"
                )
        return loader

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> Any:
        """Build the framework's loader, with errors that name the image."""
        return build_detection_test_loader(cfg, dataset_name, mapper=build_mapper(cfg, False))

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> Any:
        """Build the evaluator of the architecture; it writes to `OUTPUT_DIR/inference/<data set>`."""
        return build_evaluator(cfg, dataset_name)

    @classmethod
    def test(cls, cfg: CfgNode, model: torch.nn.Module, evaluators: Any = None) -> OrderedDict:
        """Evaluate. Results are keyed by data set even if there is only one, so `metrics.json` names the convention."""
        results = super().test(cfg, model, evaluators)
        return OrderedDict({cfg.DATASETS.TEST[0]: results}) if len(cfg.DATASETS.TEST) == 1 else results


def train_in_bfloat16(model: torch.nn.Module) -> None:
    """Run a CPU model's training forward pass under bfloat16 autocast; evaluation stays in full precision."""
    forward = model.forward

    def autocast_forward(batched_inputs: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16, enabled=model.training):
            return forward(batched_inputs)

    model.forward = autocast_forward


def configure(args: Namespace) -> CfgNode:
    """Build the frozen config from command-line arguments; `tools/train_net.py --help` describes them."""
    cfg = read_config(args.config, args.overrides)
    if args.seed is not None:
        cfg.SEED = args.seed
    cfg.SOLVER.AMP.ENABLED = cfg.SOLVER.AMP.ENABLED or args.amp
    if args.work_dir:
        cfg.OUTPUT_DIR = args.work_dir
    elif cfg.OUTPUT_DIR == get_cfg().OUTPUT_DIR:
        cfg.OUTPUT_DIR = f"work_dirs/{Path(args.config).stem}"
    if not torch.cuda.is_available():
        cfg.MODEL.DEVICE = "cpu"
    cfg.freeze()
    return cfg


def run(args: Namespace) -> None:
    """Train, or evaluate with `--eval-only`, in `--num-gpus` processes; without CUDA they run on the CPU with gloo.

    Raises:
        ValueError: An argument, the config, the data or the checkpoint cannot be used; the message says why.
    """
    cfg = configure(args)  # report command-line errors before processes start
    if not args.eval_only and not cfg.DATASETS.TRAIN:
        raise ValueError(f"{args.config}: DATASETS.TRAIN is empty, name the data to train on")
    settings = {k: value for k, value in yaml.safe_load(cfg.dump()).items() if k not in ("OUTPUT_DIR", "SEED")}
    start(args, _run_rank, Path(cfg.OUTPUT_DIR), settings, cfg.SEED if cfg.SEED >= 0 else None)


def end_earlier_logs() -> None:
    """Remove log handlers of earlier runs: each `default_setup` adds its own, so lines would be printed twice."""
    for name in ("detectron2", "fvcore"):
        log = logging.getLogger(name)
        for handler in [*log.handlers]:
            log.removeHandler(handler)
            handler.close()
    setup_logger.cache_clear()


def brief_logger(*args: Any, **kwargs: Any) -> logging.Logger:
    """Set up the framework's logger; long listings go only to the log file."""
    log: logging.Logger = setup_logger(*args, **kwargs)
    keep_screen_brief(log)
    return log


def set_up(config: Any, args: Namespace, folder: Path) -> None:
    """Call Detectron2's `default_setup`; an evaluation in a run's folder does not change its `config.yaml`."""
    end_earlier_logs()
    kept, open_any = folder / "config.yaml", PathManager.open
    keep = args.eval_only and kept.is_file()

    def open_file(path: str, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        return StringIO() if keep and Path(path) == kept and "w" in mode else open_any(path, mode, *args, **kwargs)

    with (
        mock.patch.object(defaults, "setup_logger", brief_logger),
        mock.patch.object(PathManager, "open", open_file),
    ):
        default_setup(config, args)


def _run_rank(args: Namespace) -> None:
    cfg = configure(args)
    setup_datasets(cfg)
    set_up(cfg, args, Path(cfg.OUTPUT_DIR))
    chosen: Any = custom_imports.trainer(cfg.CUSTOM_TRAINER, Trainer, args.config)
    if args.eval_only:
        model = chosen.build_model(cfg)
        SafeCheckpointer(model, cfg=cfg, strict=True).load(args.checkpoint)
        results: dict[str, Any] = chosen.test(cfg, model)
    else:
        trainer = type(chosen.__name__, (chosen,), {"trackers": getattr(args, "trackers", ())})(cfg)
        trainer.resume_or_load(resume=args.resume)
        trainer.train()
        results = getattr(trainer, "_last_eval_results", OrderedDict())
    if comm.is_main_process():
        for name, result in results.items():
            print(f"{name} ({MetadataCatalog.get(name).get('convention', 'own')} boxes): {headline(result)}")


def train_and_test(file: Path, work_dir: Path, overrides: Sequence[str], seed: int) -> dict[str, Any]:
    """Train a config and evaluate it on its first test set; a stopped run is resumed.

    Returns:
        ``test`` with AP, AP50 and AP75, and ``seconds`` of training and evaluation.
    """
    alone = {"num_gpus": 1, "num_machines": 1, "machine_rank": 0, "dist_url": "auto", "amp": False, "eval_only": False}
    start = time.perf_counter()
    given = {"config": str(file), "overrides": [*overrides], "seed": seed, "work_dir": str(work_dir)}
    run(Namespace(**given, **alone, resume=True, fresh=False))
    results = work_dir / "inference" / read_config(file, overrides).DATASETS.TEST[0] / "results.json"
    box = json.loads(results.read_text())["results"]["bbox"]
    return {"seconds": time.perf_counter() - start, "test": {key: box[key] for key in HEADLINE}}

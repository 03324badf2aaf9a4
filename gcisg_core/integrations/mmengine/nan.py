"""mmengine: the NaN recorder in the optimiser wrapper, and the rebuilt model of a record."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch import nn

from gcisg_core.integrations.mmengine.read import check_types, import_listed
from gcisg_core.integrations.reproducible import random_state, set_random_state
from gcisg_core.lookup import choose
from gcisg_core.nan.record import KIND
from gcisg_core.nan.recorder import Framework, StepRecorder

SKIP = "custom_hooks=[dict(type='RegularizerHook', on_nonfinite='skip')]"


def record_steps(runner: Runner, model: nn.Module, on_nonfinite: str | None = None) -> StepRecorder:
    """Install a recorder that checks each backward pass of a run before gradients are clipped or used.

    The method's `after_backward` is called after each valid pass.

    Args:
        runner: Its optimiser wrapper's ``backward`` is extended.
        model: The runner's model, unwrapped.
        on_nonfinite: See :class:`gcisg_core.nan.recorder.StepRecorder`.
    """
    dataset = runner.train_loop.dataloader.dataset
    recorder = StepRecorder(model, runner.work_dir, framework(runner.cfg.to_dict(), dataset), on_nonfinite)
    backward = runner.optim_wrapper.backward
    scaler = getattr(runner.optim_wrapper, "loss_scaler", None)

    def checked_backward(loss: Any, **kwargs: Any) -> None:
        backward(loss, **kwargs)
        scale = scaler.get_scale() if scaler is not None and scaler.is_enabled() else None
        if recorder.check(runner.iter, scale):
            recorder.regularizer.after_backward(scale or 1.0)
        else:
            runner.logger.warning("Step skipped: %s", recorder.message)
            runner.message_hub.update_scalar("train/skipped_steps", recorder.skips)

    runner.optim_wrapper.backward = checked_backward
    return recorder


def framework(config: Any = None, dataset: Any = None) -> Framework:
    """The functions of mmengine for the recorder or a replay."""
    names = partial(batch_names, dataset)
    return Framework("mmengine", config, random_state, set_random_state, pack, unpack, names, skip=SKIP)


def batch_names(dataset: Any, args: Any, inputs: dict[str, Any]) -> list[str]:
    """The image files of a batch, as mmseg's samples name them, or by the ``index`` of each in the data set."""
    if "data_samples" in inputs:
        return [str(getattr(sample, "img_path", "?")) for sample in inputs["data_samples"]]
    dataset = getattr(dataset, "dataset", dataset)
    return [f"{dataset.root}/{dataset.samples[index][0]}" for index in inputs.get("index", [])]


def pack(value: Any) -> Any:
    """Convert mmengine's data elements to dictionaries, others to strings; see :func:`gcisg_core.nan.record.plain`."""
    if isinstance(value, BaseDataElement):
        return {KIND: type(value).__name__, "metainfo": dict(value.metainfo_items()), "data": dict(value.items())}
    return repr(value)


def unpack(value: dict[str, Any]) -> BaseDataElement:
    """Convert back the data element that :func:`pack` was given.

    Raises:
        ValueError: no loaded class of data elements has its name.
    """
    known = {kind.__name__: kind for kind in _subclasses(BaseDataElement)}
    return choose(known, value[KIND], "data element")(metainfo=value["metainfo"], **value["data"])


def _subclasses(kind: Any) -> Iterator[Any]:
    for child in kind.__subclasses__():
        yield child
        yield from _subclasses(child)


def build_model(record: dict[str, Any], folder: Path, trust: bool = False) -> nn.Module:
    """Build the model of a record's config, without weights.

    Args:
        record: From :func:`gcisg_core.nan.record.load`.
        folder: The folder of the record.
        trust: Import all modules that the config lists; otherwise only those of the suite and its frameworks.

    Raises:
        DataError: the config names a class by an import path, or a module that is not trusted.
    """
    config, where = Config(record["config"]), "the record's config"
    check_types(config.model, where, "Record the step with registered classes")
    import_listed(config, folder, where, trust)
    init_default_scope(config.get("default_scope", "mmengine"))
    config.model.pop("data_preprocessor", None)  # its effect is in the record
    return MODELS.build(config.model)

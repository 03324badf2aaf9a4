"""Replays a recorded step: the same inputs, weights, buffers and random numbers give the same losses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gcisg_core.nan.record import restore
from gcisg_core.nan.recorder import Framework, StepRecorder, named_losses, nonfinite_gradients


class Replay(NamedTuple):
    """The result of a replayed step.

    Attributes:
        losses: Name -> value; empty if the model raised an error.
        error: The error's text.
        gradients: Parameters whose gradients are not finite.
        origin: The first module whose output is not finite, by its name in the model; empty: none before the losses.
        statistics: As in the record, see :meth:`gcisg_core.nan.recorder.StepRecorder.statistics`.
    """

    losses: dict[str, float]
    error: str
    gradients: list[str]
    origin: str
    statistics: dict[str, dict[str, Any]]

    def repeats(self, record: Mapping[str, Any]) -> bool:
        """Whether all losses equal those of the record; NaN equals NaN."""
        return (self.error, self.losses.keys()) == (record["error"], record["losses"].keys()) and all(
            value == self.losses[name] or (math.isnan(value) and math.isnan(self.losses[name]))
            for name, value in record["losses"].items()
        )


def replay(
    record: Mapping[str, Any], model: nn.Module, framework: Framework, context: AbstractContextManager[Any]
) -> Replay:
    """Replay the step of a record, forward and backward; the weights are not changed.

    Args:
        record: From :func:`gcisg_core.nan.record.load`.
        model: The model of the record's config.
        framework: The record's framework.
        context: Context manager for the forward pass.

    Raises:
        RuntimeError: the record belongs to another model.
    """
    device_type, autocast, dtype = record["autocast"]
    device = torch.device(device_type if device_type == "cpu" or torch.cuda.is_available() else "cpu")
    model.load_state_dict(record["model"], strict=True)
    model.to(device).train()
    for name, value in record["attributes"].items():
        setattr(model, name, value)
    args, kwargs = restore(record["inputs"], framework.unpack, device)
    recorder = StepRecorder(model, "", framework)
    wrong: list[str] = []
    with ExitStack() as stack:
        for name, module in model.named_modules():
            stack.callback(module.register_forward_hook(partial(_note, wrong, name)).remove)
        stack.enter_context(context)
        stack.enter_context(torch.autocast(device.type, getattr(torch, dtype.rpartition(".")[2]), enabled=autocast))
        framework.set_random_state(record["rng"])
        try:
            losses, error = named_losses(model(*args, **kwargs), framework.is_loss), ""
        except FloatingPointError as raised:
            losses, error = {}, str(raised)
    if losses:
        torch.stack([*losses.values()]).sum().mul(record["scale"] or 1.0).backward()
    values = {name: value.item() for name, value in losses.items()}
    return Replay(values, error, nonfinite_gradients(model), wrong[0] if wrong else "", recorder.statistics())


def _note(wrong: list[str], name: str, module: nn.Module, inputs: Any, output: Any) -> None:
    if any(not tensor.isfinite().all() for tensor in _tensors(output)):
        wrong.append(name)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return [tensor for item in inner for tensor in _tensors(item)]


def table(statistics: Mapping[str, Mapping[str, Any]]) -> list[list[Any]]:
    """Rows: location, shape, number of values that are not finite, minimum, mean, maximum, spread."""
    keys = ("nonfinite", "min", "mean", "max", "std")
    return [
        [where, "x".join(map(str, row["shape"])), *(row.get(key, "") for key in keys)]
        for where, row in statistics.items()
    ]

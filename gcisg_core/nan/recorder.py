"""The NaN recorder: the first loss or gradient that is not finite stops the run, or its step is skipped.

It watches a model by hooks and does not depend on a framework; the integrations call it once per step, between the
backward pass and the optimiser.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gcisg_core.encoders import FrozenModule
from gcisg_core.feature_tap import Features
from gcisg_core.nan import setting
from gcisg_core.nan.record import plain, save, statistics
from gcisg_core.queue import SupportQueue
from gcisg_core.ranks import rank, world_size
from gcisg_core.shell import command_line

VERSION = 1  # of the file format, see docs/nan_recorder.md


class NonFiniteError(FloatingPointError):
    """A loss or a gradient is not finite; the message names it and the file that was written."""


class Framework(NamedTuple):
    """The functions of a framework that the recorder needs.

    Attributes:
        name: ``mmengine`` or ``detectron2``: the framework that can rebuild the model.
        config: The run's config as plain values or text.
        random_state: Returns the state of all random generators; ``set_random_state`` restores it.
        pack: Turns an object of the framework into plain values (:func:`gcisg_core.nan.record.plain`); ``unpack`` back.
        batch_names: The image files of the model's arguments and keyword arguments.
        is_loss: Whether a value that the model returned under this name is summed.
        attributes: Numbers of the model outside its state dict that a forward pass changes.
        skip: How a user asks for ``on_nonfinite="skip"``, for messages.
    """

    name: str
    config: Any
    random_state: Callable[[], Any]
    set_random_state: Callable[[Any], None]
    pack: Callable[[Any], Any]
    unpack: Callable[[dict[str, Any]], Any]
    batch_names: Callable[[Any, Any], list[str]]
    is_loss: Callable[[str], bool] = lambda name: "loss" in name
    attributes: tuple[str, ...] = ()
    skip: str = 'on_nonfinite="skip"'


class StepRecorder:
    """Keeps what is needed to replay the current step, and finds values in it that are not finite.

    It keeps references to the inputs and one copy of each buffer that a forward pass changes (BatchNorm statistics,
    queues).

    Args:
        model: The task model with its ``regularizer``, not wrapped for several processes. It returns losses by name
            in training.
        folder: The run's folder, in which the file is written.
        framework: The framework that trains the model.
        on_nonfinite: Action on a loss or gradient that is not finite: ``stop`` the run, or ``skip`` the step. ``None``
            is ``stop``, or the value in the method's settings, its earlier place.

    Raises:
        ValueError: ``on_nonfinite`` is neither, or differs from the method's settings.
    """

    def __init__(
        self, model: nn.Module, folder: str | Path, framework: Framework, on_nonfinite: str | None = None
    ) -> None:
        self.model, self.folder, self.framework = model, Path(folder), framework
        self.regularizer = cast(Any, model.regularizer)
        self.stops = setting.settle(on_nonfinite, self.regularizer.on_nonfinite) == "stop"
        self.regularizer.observer = self._observe
        self.skips = 0
        self.skipped = False  # whether the current step was
        self.message = self.error = ""
        self.losses: dict[str, Tensor] = {}
        self.views: Sequence[Tensor] = ()
        self.features: Sequence[Features] = ()
        self.start: dict[str, Any] = {}
        frozen = {id(m) for top in model.modules() if isinstance(top, FrozenModule) for m in top.modules()}
        self._places = [
            (prefix, module, name)
            for prefix, module in model.named_modules()
            for name, buffer in module._buffers.items()
            if buffer is not None and id(module) not in frozen and name not in getattr(module, "steady_buffers", ())
        ]
        self._saved: list[Tensor] = []
        self.handles = [
            model.register_forward_pre_hook(self._begin, with_kwargs=True),
            model.register_forward_hook(self._end),
        ]

    def _buffers(self) -> list[Tensor]:
        return [module._buffers[name] for _, module, name in self._places]

    @torch.no_grad()
    def _begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not module.training:
            return
        if self._saved:
            torch._foreach_copy_(self._saved, self._buffers())
        else:
            self.regularizer.init_from_student()  # it is kept even if the step is skipped
            self._saved = [buffer.clone() for buffer in self._buffers()]
        device = next(module.parameters()).device.type
        self.start = {
            "inputs": (args, kwargs),
            "attributes": {name: getattr(module, name) for name in self.framework.attributes if hasattr(module, name)},
            "rng": self.framework.random_state(),
            "autocast": (device, torch.is_autocast_enabled(device), str(torch.get_autocast_dtype(device))),
        }
        self.losses, self.views, self.features, self.skipped, self.error = {}, (), (), False, ""

    def _observe(self, views: Sequence[Tensor], features: Sequence[Features]) -> None:
        self.views, self.features = views, features

    def _end(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if module.training and isinstance(output, Mapping):
            losses = named_losses(output, self.framework.is_loss)
            self.losses = {name: value.detach() for name, value in losses.items()}

    def check(self, iteration: int, scale: float | None = None) -> bool:
        """Whether the step may continue. Call it after the backward pass, before clipping and the optimiser.

        All processes must call it: they stop or skip together. It waits for the device once.

        Args:
            iteration: The step's number, counted from 0.
            scale: The scale of a gradient scaler. Overflow is left to the scaler until its scale reaches 1.

        Returns:
            False if the step is skipped (``on_nonfinite="skip"``): gradients are removed and buffers restored, so that
            the optimiser's step changes nothing. ``message`` gives the reason, ``skips`` the number of such steps.

        Raises:
            NonFiniteError: something is not finite, and ``on_nonfinite`` is ``"stop"``.
        """
        loss, gradient, any_loss, any_gradient = self._flags(scale)
        if not (any_loss or any_gradient):
            self.views, self.features = (), ()
            return True
        # Gradients are averaged over the processes: only a loss can show which batch caused the failure.
        self._fail(self._reason(loss, gradient, any_loss), iteration, scale, write=loss or not any_loss)
        self._drop_gradients(scale)
        return False

    def interrupt(self, iteration: int, error: FloatingPointError, scale: float | None = None) -> None:
        """Do the same as :meth:`check` for a model that found values that are not finite and raised an error.

        Such a step can be skipped only in a run of one process: others would wait for its gradients.
        """
        self.error = str(error)
        alone = world_size() == 1
        self._fail(f"the model raised an error ({error})", iteration, scale, write=True, may_skip=alone)

    def _fail(self, reason: str, iteration: int, scale: float | None, write: bool, may_skip: bool = True) -> None:
        """Write the record; raise the error, or undo what the forward pass changed."""
        stop = self.stops or not may_skip
        message = f"{reason} at iteration {iteration}{self._where()}"
        if write and (stop or not self.skips):
            file = self.folder / f"nonfinite_iter{iteration}_rank{rank()}.pth"
            record = self._record(message, iteration, scale)
            save(record, file)
            message += f" (batch: {', '.join(record['batch'])}). Run it again: {command_line('gcisg', 'replay', file)}"
        if stop:
            raise NonFiniteError(f"{message}. To skip such steps instead: {self.framework.skip}")
        self.message = message
        self.skips += 1
        self.skipped = True
        with torch.no_grad():
            torch._foreach_copy_(self._buffers(), self._saved)
        for name, value in self.start["attributes"].items():
            setattr(self.model, name, value)

    @torch.no_grad()
    def _flags(self, scale: float | None) -> list[bool]:
        """Whether a loss and a gradient are not finite, on this process and on any."""
        flags = torch.zeros(2, device=next(self.model.parameters()).device)
        if self.losses:
            flags[0] = ~torch.stack([*self.losses.values()]).isfinite().all()
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        if gradients and (scale is None or scale <= 1):
            # The largest magnitude, which unlike a sum of squares overflows for no finite gradient.
            flags[1] = ~torch.stack(torch._foreach_norm(gradients, math.inf)).isfinite().all()
        everywhere = flags.clone()
        if world_size() > 1:
            dist.all_reduce(everywhere, dist.ReduceOp.MAX)
        return torch.cat([flags, everywhere]).bool().tolist()

    def _reason(self, loss: bool, gradient: bool, any_loss: bool) -> str:
        if loss:
            return "; ".join(
                f"{name} is {value}" for name, value in _values(self.losses).items() if not math.isfinite(value)
            )
        if any_loss:
            return "a loss on another process is not finite"
        if not gradient:
            return "a gradient on another process is not finite"
        names = nonfinite_gradients(self.model)
        others = f" (and of {len(names) - 1} other parameters)" if len(names) > 1 else ""
        return f"the gradient of {names[0]}{others} is not finite, all losses are,"

    def _where(self) -> str:
        """Where values first became non-finite, as far as features and weights show it."""
        weights = [n for n, p in self.model.named_parameters() if p.requires_grad and not p.isfinite().all()]
        if weights:
            return f"; {len(weights)} weights were already not finite, the first is {weights[0]}"
        for view, maps in enumerate(self.features):
            for stage, features in sorted(maps.items()):
                if not features.isfinite().all():
                    return f"; the student's features are not finite from stage {stage} of view {view} on"
        return ""

    def _record(self, message: str, iteration: int, scale: float | None) -> dict[str, Any]:
        state = self.model.state_dict()
        for (prefix, _, name), saved in zip(self._places, self._saved, strict=True):
            key = f"{prefix}.{name}" if prefix else name
            if key in state:
                state[key] = saved
        record = {
            "version": VERSION,
            "message": message,
            "iteration": iteration,
            "rank": rank(),
            "framework": self.framework.name,
            "config": self.framework.config,
            "batch": self.framework.batch_names(*self.start["inputs"]),
            **self.start,
            "views": list(self.views),
            "losses": _values(self.losses),
            "error": self.error,
            "gradients": nonfinite_gradients(self.model),
            "statistics": self.statistics(),
            "scale": scale,
            "model": state,
        }
        packed: dict[str, Any] = plain(record, self.framework.pack)
        return packed

    def statistics(self) -> dict[str, dict[str, Any]]:
        """Statistics of the views, of the student's features for each stage and view, and of the queues."""
        found = {f"view {index}": statistics(view) for index, view in enumerate(self.views)}
        for index, maps in enumerate(self.features):
            found |= {f"features, view {index}, stage {stage}": statistics(maps[stage]) for stage in sorted(maps)}
        for name, module in self.regularizer.named_modules():
            if isinstance(module, SupportQueue):
                found[name] = statistics(module.features) | {"pointer": int(module.pointer)}
        return found

    @torch.no_grad()
    def _drop_gradients(self, scale: float | None) -> None:
        """Remove the gradients, so that the optimiser changes nothing."""
        for parameter in self.model.parameters():
            if parameter.grad is not None and scale is not None:
                # A gradient scaler requires gradients; it skips the step by itself.
                parameter.grad.fill_(math.nan)
                return
            parameter.grad = None


def named_losses(output: Mapping[str, Any], is_loss: Callable[[str], bool]) -> dict[str, Tensor]:
    """The losses that a model returned, each a scalar, in float32 or better; a list of losses counts as their sum."""
    losses = {}
    for name, value in output.items():
        parts = value if isinstance(value, list | tuple) else [value]
        if is_loss(name) and parts and all(isinstance(part, Tensor) for part in parts):
            losses[name] = torch.stack([part.float().mean() for part in parts]).sum()
    return losses


def nonfinite_gradients(model: nn.Module) -> list[str]:
    """The names of the parameters whose gradients are not finite, in the model's order."""
    return [name for name, p in model.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]


def _values(losses: Mapping[str, Tensor]) -> dict[str, float]:
    return {name: float(value) for name, value in losses.items()}

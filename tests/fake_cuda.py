"""A step on fake CUDA tensors: shapes and devices as on a GPU, without one and without values.

Forward passes and what follows the backward pass; the backward pass itself needs a device. An error are tensors of two
devices, a number that the host reads of a tensor (each would let it wait for the GPU), and a copy between the devices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class TransferError(Exception):
    """A copy between host and GPU."""


class _NoTransfer(TorchDispatchMode):
    """Refuses copies from device to device, and tensors of the host as indices, which are copied before use."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.namespace == "aten" and func._schema.name.partition("::")[2] in (
            "_to_copy",
            "copy_",
            "index",
            "index_put_",
        ):
            devices = {leaf.device.type for leaf in tree_leaves((args, result)) if isinstance(leaf, Tensor)}
            if len(devices) > 1:
                raise TransferError(f"{func} between {' and '.join(sorted(devices))}")
        return result


@contextmanager
def on_fake_cuda(module: nn.Module) -> Iterator[Callable[[Tensor], Tensor]]:
    """Parameters and buffers of a module become fake CUDA tensors, for good; so does what the function is given.

    Whatever else the module holds stays on the host.
    """
    mode = FakeTensorMode()

    def move(tensor: Tensor) -> Tensor:
        return mode.from_tensor(tensor).to("cuda")

    with mode:
        module._apply(move)
        yield move


def no_waiting() -> TorchDispatchMode:
    """What must not wait for the device stands in this context."""
    return _NoTransfer()


def finish_step(module: nn.Module, regularizer: Any) -> None:
    """What follows the forward pass, with gradients of zeros."""
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    regularizer.after_backward()
    regularizer.before_optimizer_step()
    regularizer.after_optimizer_step()

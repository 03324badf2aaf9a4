"""The precision in which losses and statistics are computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

# Of the passes without gradients; `same` is that of the student's.
NO_GRAD_PRECISIONS = {"same": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


def full_precision(values: Tensor) -> Tensor:
    """Half precision becomes float32; float32 and float64 stay as they are."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


@torch.no_grad()
def run_without_gradient(precision: str, network: Callable[..., Any], images: Tensor, *more: Any) -> Any:
    """`network(images, *more)` in a precision of :data:`NO_GRAD_PRECISIONS`; what it returns is float32 again.

    Nothing is cached: weights that were cast without gradients would be those of the student's own passes as well.
    """
    dtype = NO_GRAD_PRECISIONS[precision]
    if dtype is None:
        return network(images, *more)
    with torch.autocast(images.device.type, dtype, cache_enabled=False):
        return tree_map(full_precision, network(images, *more))

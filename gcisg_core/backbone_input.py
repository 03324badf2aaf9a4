"""Finds the backbone's input in a task model: the batch after the model's normalisation, padding and scaling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


class _InputReachedError(Exception):
    """Carries the backbone's input out of the model's forward pass."""


def backbone_input(backbone: nn.Module, run: Callable[[], Any], model: str) -> Tensor:
    """Return the backbone's first argument (B, 3, H, W) in the model's forward pass, which is stopped there.

    Args:
        backbone: A part of the model.
        run: The model's forward pass.
        model: Its name, for the error.

    Raises:
        ValueError: the pass does not reach the backbone.
    """

    def leave(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        raise _InputReachedError(inputs[0])

    handle = backbone.register_forward_pre_hook(leave)
    try:
        run()
    except _InputReachedError as reached:
        images: Tensor = reached.args[0]
        return images
    finally:
        handle.remove()
    raise ValueError(f"{model} does not run its backbone in training")

"""Detectron2: what the NaN recorder needs of it, and what runs around a step that is run again."""

from __future__ import annotations

from typing import Any

from detectron2.structures import Boxes, Instances

from gcisg_core.integrations.reproducible import random_state, set_random_state
from gcisg_core.nan.record import KIND
from gcisg_core.nan.recorder import Framework


def framework(config: str = "", lazy: bool = False) -> Framework:
    """What the recorder, or a replay, needs of Detectron2, which sums every value that a model returns.

    Args:
        config: The run's, as text.
        lazy: It is a LazyConfig, which has its own key for `on_nonfinite`.
    """
    return Framework(
        "detectron2",
        config,
        random_state,
        set_random_state,
        pack,
        unpack,
        batch_names,
        is_loss=lambda name: True,
        attributes=("loss_normalizer",),
        skip="train.on_nonfinite=skip" if lazy else "REGULARIZER.HOOK.ON_NONFINITE skip",
    )


def batch_names(args: Any, kwargs: Any) -> list[str]:
    """The image files of a batch."""
    return [str(item.get("file_name", "?")) for item in args[0]]


def pack(value: Any) -> Any:
    """Boxes and instances as dictionaries, other objects as text; see :func:`gcisg_core.nan.record.plain`."""
    if isinstance(value, Boxes):
        return {KIND: "Boxes", "tensor": value.tensor}
    if isinstance(value, Instances):
        return {KIND: "Instances", "image_size": value.image_size, "fields": value.get_fields()}
    return repr(value)


def unpack(value: dict[str, Any]) -> Any:
    """What :func:`pack` was given."""
    if value[KIND] == "Boxes":
        return Boxes(value["tensor"])
    return Instances(tuple(value["image_size"]), **value["fields"])

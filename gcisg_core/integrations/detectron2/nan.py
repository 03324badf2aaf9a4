"""Detectron2: the functions that the NaN recorder and the replay of a step need."""

from __future__ import annotations

from typing import Any

from detectron2.structures import Boxes, Instances

from gcisg_core.integrations.reproducible import random_state, set_random_state
from gcisg_core.nan.record import KIND
from gcisg_core.nan.recorder import Framework


def framework(config: str = "", lazy: bool = False) -> Framework:
    """The functions of Detectron2 for the recorder or a replay. Detectron2 sums every value that a model returns.

    Args:
        config: The run's config as text.
        lazy: Whether it is a LazyConfig, which has a different key for `on_nonfinite`.
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
    """Convert boxes and instances to dictionaries, others to strings; see :func:`gcisg_core.nan.record.plain`."""
    if isinstance(value, Boxes):
        return {KIND: "Boxes", "tensor": value.tensor}
    if isinstance(value, Instances):
        return {KIND: "Instances", "image_size": value.image_size, "fields": value.get_fields()}
    return repr(value)


def unpack(value: dict[str, Any]) -> Any:
    """Convert back what :func:`pack` returned."""
    if value[KIND] == "Boxes":
        return Boxes(value["tensor"])
    return Instances(tuple(value["image_size"]), **value["fields"])

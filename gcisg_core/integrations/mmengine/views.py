"""mmengine: the method, not the config, determines how many views of an image are drawn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

from gcisg_core.regularizers import settle_views


def derive_views(config: Config) -> None:
    """Replace each ``views=None`` of the training data and the preprocessor by the number that the method needs.

    mmengine builds the data loader from a part of the config that does not include the method. The data draw the views
    of the task's transform; a preprocessor draws all views.

    Raises:
        ValueError: a ``views`` is smaller, see :func:`gcisg_core.regularizers.settle_views`.
    """
    model = config.get("model") or {}
    parts = {
        "train_dataloader": config.get("train_dataloader"),
        "model.data_preprocessor": model.get("data_preprocessor"),
    }
    for key, part in parts.items():
        for path, node in _with_views(part, key):
            node["views"] = settle_views(
                node["views"],
                model.get("regularizer"),
                path,
                "model.regularizer.method",
                by_task=key == "train_dataloader",
            )


def _with_views(node: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the dictionaries below ``node`` with a key ``views``, and that key's path in the config."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list | tuple) else ()
    for name, value in items:
        if name == "views":
            yield f"{path}.views", node
        else:
            yield from _with_views(value, f"{path}.{name}")

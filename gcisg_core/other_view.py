"""The other view of an image: another draw of the task's transform, as in the papers, or a different transform.

All forms except ``same`` are ours.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from gcisg_core.config import Settings
from gcisg_core.lookup import unknown_name
from gcisg_core.views import PhotometricView

T = TypeVar("T")

# RobustNet's jitter, as in the match rate, and a blur of every second image.
STRONG: dict[str, Any] = {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.3, "blur": 0.5}
# Preset -> additions to STRONG; None: no change.
PRESETS: dict[str, Mapping[str, Any] | None] = {
    "same": None,
    "identical": None,
    "style_only": {},
    "style_pasta": {"pasta": {}},
}


class OtherView:
    """Makes the views of a batch according to a method's ``other_view``.

    Args:
        settings: Settings of the method.

    Raises:
        ValueError: the preset, or an argument of the transform, is unknown or out of range.
    """

    def __init__(self, settings: Settings) -> None:
        self.task_view, self.own = settings.task_view, settings.other_view == "same"
        self.change = make_change(settings.other_view)

    def views(self, count: int, draw_own: Callable[[int], T], draw_changed: Callable[[PhotometricView], T]) -> list[T]:
        """Return the views of a batch, in order; with ``identical``, the same object several times.

        Args:
            count: Number of views.
            draw_own: Number of a view -> the view, by the task's transform.
            draw_changed: Change -> the same images, in the same geometry, after this change.
        """
        if self.own:
            return [draw_own(view) for view in range(count)]
        task = draw_own(self.task_view)
        change = self.change
        return [task if view == self.task_view or change is None else draw_changed(change) for view in range(count)]


def check_other_view(value: str | Mapping[str, Any]) -> None:
    """Raise a ValueError if an ``other_view`` is neither a preset nor arguments of a PhotometricView."""
    names = [value] if isinstance(value, str) else list(value)
    known = list(PRESETS) if isinstance(value, str) else list(inspect.signature(PhotometricView).parameters)
    for name in names:
        if name not in known:
            what = "other_view" if isinstance(value, str) else "argument of other_view"
            raise unknown_name(name, known, what)


def make_change(value: str | Mapping[str, Any]) -> PhotometricView | None:
    """The transform of an ``other_view``, or None if it changes nothing. Raises like :class:`OtherView`."""
    check_other_view(value)
    added = PRESETS[value] if isinstance(value, str) else value
    return None if added is None else PhotometricView(**{**STRONG, **added})

"""The interface of a method: what it needs from a training step, and what it adds."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from gcisg_core.config import Settings
from gcisg_core.feature_tap import Features, StageLocation, StageTap, find_stages
from gcisg_core.recompute import run_recomputed

# Steps without `after_optimizer_step`, as under gradient accumulation, before a forgotten hook is suspected.
WARN_AFTER_STEPS = 100
# Earlier names of the methods that a subclass overrides.
RENAMED_METHODS = {
    "update_target": "after_optimizer_step",
    "capture_pretrained": "init_from_student",
    "_capture": "_init_from_student",
}


class Terms(NamedTuple):
    """The results of a method in a step.

    Attributes:
        losses: Name -> weighted scalar, to be added to the task's losses. Each name contains ``loss``.
        metrics: Name -> scalar, to be logged and never summed.
    """

    losses: dict[str, Tensor]
    metrics: dict[str, Tensor]


class Regularizer(nn.Module):
    """A method that regularises the training of a backbone, the student.

    A subclass states in the ``views_needed`` of its settings how many views it compares, fills ``taps`` with the stages
    that it needs from each (None: the task needs the view, the method does not), and computes its terms in
    :meth:`forward`. State that must survive a restart is a buffer or a submodule.

    Args:
        student: The backbone inside the task model. It is referenced, but not a submodule.
        settings: An instance of ``settings_class``.
    """

    settings_class: ClassVar[type[Settings]] = Settings
    on_nonfinite: str | None = None  # given in the method's settings, as in earlier versions; see `read_method`
    steady_buffers: ClassVar[tuple[str, ...]] = ()  # unchanged by forward passes: the NaN recorder keeps no copy
    captured: Tensor

    def __init_subclass__(cls, **kwargs: object) -> None:
        """Refuse overrides with earlier method names, which nothing would call."""
        super().__init_subclass__(**kwargs)
        for old, new in RENAMED_METHODS.items():
            if old in cls.__dict__:
                raise TypeError(f"{cls.__name__}.{old} is called {new} now; rename it")

    def __init__(self, student: nn.Module, settings: Settings) -> None:
        super().__init__()
        # In a tuple it is not a submodule: its weights are not saved twice.
        self._student = (student,)
        self.settings = settings
        self.taps: list[StageTap | None] = [None] * settings.views_needed
        self.register_buffer("captured", torch.tensor(False))
        # Called with each step's views, and the lists that will hold the student's features of each view.
        self.observer: Callable[[Sequence[Tensor], Sequence[Features]], None] | None = None
        self._steps_since_update = 0
        self._ready = False  # avoids reading the buffer in each step, which would wait for the device

    @classmethod
    def places(cls, student: nn.Module, given: Mapping[int, StageLocation] | None) -> Mapping[int, StageLocation]:
        """Where the method reads a student's stages: from ``stage_locations``, or detected."""
        return given or find_stages(student)

    @property
    def student(self) -> nn.Module:
        return self._student[0]

    @property
    def views_needed(self) -> int:
        """How many views of an image a step needs, see :attr:`gcisg_core.config.Settings.views_needed`."""
        return self.settings.views_needed

    def step(
        self,
        views: Sequence[Tensor],
        run_task: Callable[[], Mapping[str, Tensor]],
        mask: Tensor | None = None,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Run a training step: the task on its view, only the backbone on the other view, then the method's terms.

        Args:
            views: The backbone's inputs (B, 3, H, W), one or more views of the same images.
            run_task: Runs the whole task model on ``views[settings.task_view]`` and returns the task's losses.
            mask: (B, H, W), False in the padding of the batch.

        Returns:
            All losses (the task's and the method's) and all metrics, by name.

        Raises:
            ValueError: a view is missing.
        """
        if len(views) < self.views_needed:
            raise ValueError(
                f"{type(self).__name__} needs {self.views_needed} views of each image, got {len(views)}; use the "
                f"pipeline or preprocessor of the project, which draws as many as the method needs"
            )
        if not self._ready:
            self.init_from_student()
        self._steps_since_update += 1
        if self._steps_since_update == WARN_AFTER_STEPS:
            warnings.warn(
                f"after_optimizer_step() was not called for {WARN_AFTER_STEPS} steps, so what follows the student was "
                f"not updated; add the project's hook to the config",
                stacklevel=2,
            )
        task_view = self.settings.task_view
        features: list[Features] = [{} for _ in self.taps]
        tap = self.taps[task_view]
        if self.settings.recompute_other_view:
            # Before the task: the backward pass frees later activations first, so the task's activations.
            self._run_others(views, features, run_recomputed)
        with tap.collect(self.student) if tap else nullcontext(features[task_view]) as features[task_view]:
            if self.observer is not None:
                self.observer(views, features)
            losses = dict(run_task())
        if not self.settings.recompute_other_view:
            self._run_others(views, features, StageTap.run)
        terms = self(views, features, mask)
        return losses | terms.losses, terms.metrics

    def _run_others(
        self, views: Sequence[Tensor], features: list[Features], run: Callable[[StageTap, nn.Module, Tensor], Features]
    ) -> None:
        """Fill in the student's features of the other views."""
        for index, tap in enumerate(self.taps):
            if index != self.settings.task_view and tap:
                features[index] = run(tap, self.student, views[index])

    def forward(self, views: Sequence[Tensor], features: Sequence[Features], mask: Tensor | None = None) -> Terms:
        """The method's terms; ``features[i]`` are the student's stage outputs for ``views[i]``."""
        return Terms({}, {})

    def init_from_student(self) -> None:
        """Copy the student's weights into the method's auxiliary networks, once.

        The first step calls it: the pretrained weights are loaded by then, and nothing is trained yet. The state dict
        records it, so a resumed run does not do it again.
        """
        if not self.captured:
            self._init_from_student()
            self.captured.fill_(True)
        self._ready = True

    def _init_from_student(self) -> None:
        """Copy what this method keeps from the pretrained student."""

    def after_backward(self, scale: float = 1.0) -> None:
        """Read the gradients of the loss. Call it after each backward pass, before gradients are clipped.

        Args:
            scale: The scale of a gradient scaler: the gradients are ``scale`` times those of the loss.
        """

    def before_optimizer_step(self) -> None:
        """Read the gradients that the optimiser will use. Call it right before each of its steps.

        A loop that neither clips nor scales gradients need not call :meth:`after_backward`.
        """

    def after_optimizer_step(self) -> None:
        """Follow the student. Call it after each optimiser step."""
        self._steps_since_update = 0

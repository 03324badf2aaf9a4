"""Reads the stage outputs of any backbone without changing it; :mod:`gcisg_core.stages` finds the stages.

A stage's values are those that its submodule returned, even if a later operation overwrites them (an in-place ReLU
after a BatchNorm). Only such stages are copied; the first pass of a tap detects them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gcisg_core.probe import StageLocation, black_image, image_sizes, in_eval_mode, tokens_to_maps, unchanged
from gcisg_core.stages import find_stages

Features: TypeAlias = dict[int, Tensor]

RELU = re.compile(r"relu\((.+)\)")
CALL = re.compile(r"(relu|tokens)\((.+)\)")


class _DeepestStageReachedError(Exception):
    """Ends a forward pass after the last stage that is needed."""


class StageTap:
    """Collects stage outputs by forward hooks, which are registered only while outputs are collected.

    Args:
        locations: Stage number -> where its output is.

    Raises:
        ValueError: ``locations`` is empty.
    """

    def __init__(self, locations: Mapping[int, StageLocation]) -> None:
        if not locations:
            raise ValueError("locations must name at least one stage")
        self.locations = dict(locations)
        # Network -> (its mode, where the pass ends) -> stage -> whether it is overwritten after it was read.
        self._overwritten: WeakKeyDictionary[nn.Module, dict[tuple[bool, int | None], dict[int, bool]]]
        self._overwritten = WeakKeyDictionary()

    def __getstate__(self) -> dict[int, StageLocation]:
        return self.locations  # weak references cannot be pickled, and a copy reads other networks

    def __setstate__(self, locations: dict[int, StageLocation]) -> None:
        self.locations, self._overwritten = locations, WeakKeyDictionary()

    @contextmanager
    def collect(self, backbone: nn.Module, stop_after: int | None = None) -> Iterator[Features]:
        """Fill the yielded dictionary, stage -> (B, C, H, W), whenever ``backbone`` runs inside the block.

        A network's first pass in training and its first in evaluation copy every stage; at the end of the block, the
        stages that nothing overwrote are the tensors themselves. Later passes copy the others alone. A copy is part of
        the graph.

        Args:
            backbone: A network with the submodules in ``locations``.
            stop_after: A stage after which the forward pass ends by an exception (see :meth:`run`).

        Raises:
            ValueError: a location is not in this backbone, or in a part of it that runs without gradients.
            RuntimeError: a stage was overwritten that was not overwritten in earlier passes.
        """
        features: Features = {}
        read: dict[int, tuple[Tensor, int]] = {}  # stage -> the tensor itself, and its version when it was read
        overwritten = self._overwritten.setdefault(backbone, {}).setdefault((backbone.training, stop_after), {})
        gradients = torch.is_grad_enabled()
        images: list[tuple[int, int]] = []

        def keep(stage: int, find: Callable[..., Tensor], module: nn.Module, inputs: Any, output: Any) -> None:
            maps = find(module, output, images[-1])
            if gradients and not torch.is_grad_enabled():
                raise ValueError(
                    f"stage {stage} of {type(backbone).__name__}: {self.locations[stage]!r} runs without gradients, as "
                    f"parts under activation checkpointing do (with_cp). Turn that off, or name a whole stage"
                )
            features[stage] = maps
            if stage == stop_after:  # nothing comes later
                raise _DeepestStageReachedError
            copy = True if maps.is_inference() else overwritten.get(stage)  # tensors of that mode have no version
            if copy is not False:
                features[stage] = maps.clone()
            if not copy:
                read[stage] = maps, maps._version

        modules = dict(backbone.named_modules())
        handles = [backbone.register_forward_pre_hook(partial(_note_size, images), with_kwargs=True)]
        for stage, place in self.locations.items():
            call = CALL.fullmatch(str(place))
            module = modules.get(call[2] if call else place) if isinstance(place, str) else None
            find = partial(_find, stage, place, module is not None, call[1] if call else "")
            handles.append((module or backbone).register_forward_hook(partial(keep, stage, find)))
        try:
            yield features
        finally:
            for handle in handles:
                handle.remove()
        for stage, (maps, version) in read.items():
            first, overwritten[stage] = stage not in overwritten, maps._version != version
            if not overwritten[stage]:
                features[stage] = maps  # in the first pass too, whose copy is dropped
            elif not first:
                raise RuntimeError(
                    f"stage {stage} of {type(backbone).__name__}: an in-place operation overwrote what "
                    f"{self.locations[stage]!r} returned, as in no earlier pass; its values are lost. Name another "
                    f"submodule in stage_locations, or make that operation out-of-place"
                )

    def run(self, backbone: nn.Module, images: Tensor) -> Features:
        """Return the stage outputs for ``images``; the pass ends after the deepest stage.

        Args:
            backbone: Called with the images alone.
            images: (B, 3, H, W), as the backbone expects them.
        """
        deepest = max(self.locations)
        with self.collect(backbone, stop_after=deepest) as features, suppress(_DeepestStageReachedError):
            backbone(images)
        for stage in self.locations.keys() - features.keys():
            raise ValueError(
                f"stage {stage} of {type(backbone).__name__}: {self.locations[stage]!r} was not reached before stage "
                f"{deepest}, or is not a submodule. Name another one in stage_locations"
            )
        return features

    def channels(self, backbone: nn.Module) -> dict[int, int]:
        """Return stage -> channels C, found in one pass of a black image of a size that the backbone accepts."""
        features, _ = self.look(backbone, [(64, 64), *image_sizes(backbone)])
        return {stage: maps.shape[1] for stage, maps in features.items()}

    def look(self, backbone: nn.Module, sizes: Sequence[tuple[int, int]]) -> tuple[Features, tuple[int, int]]:
        """Return the stages of a black image of the first size (H, W) that the backbone accepts, and that size.

        Raises:
            Exception: the backbone accepts no size; this is its error for the last one.
        """
        for size in sizes[:-1]:
            with suppress(Exception), unchanged(backbone):
                return self.run(backbone, black_image(backbone, size)), size
        with unchanged(backbone):
            return self.run(backbone, black_image(backbone, sizes[-1])), sizes[-1]


def _note_size(images: list[tuple[int, int]], module: nn.Module, inputs: Any, keywords: Any) -> None:
    """Store height and width of the images; they do not follow from a transformer's tokens."""
    first = next((value for value in (*inputs, *keywords.values()) if isinstance(value, Tensor)), None)
    images.append((first.shape[-2], first.shape[-1]) if first is not None and first.ndim == 4 else (0, 0))


def _find(
    stage: int,
    place: StageLocation,
    is_submodule: bool,
    call: str,
    module: nn.Module,
    output: Any,
    image: tuple[int, int],
) -> Tensor:
    """A stage's maps (B, C, H, W) in what a submodule or the backbone returned for images (H, W)."""
    if not is_submodule:
        try:
            output = output[place] if not isinstance(output, Tensor) else None
        except (KeyError, IndexError, TypeError):
            output = None
    name = f"stage {stage} of {type(module).__name__}: {place!r}"
    if call == "tokens" and isinstance(output, Tensor):
        try:
            output = tokens_to_maps(output, image)
        except ValueError as error:
            raise ValueError(f"{name}: {error}. Name another submodule in stage_locations") from error
    if not isinstance(output, Tensor) or output.ndim != 4:
        found = tuple(output.shape) if isinstance(output, Tensor) else "no such submodule or output"
        raise ValueError(
            f"{name} gives {found}, expected features of the shape "
            f"(B, C, H, W). Name another submodule, or a key or position of the backbone's output, in stage_locations"
        )
    return F.relu(output) if call == "relu" else output


def make_tap(
    backbone: nn.Module, stages: Sequence[int], locations: Mapping[int, StageLocation] | None = None
) -> StageTap:
    """Make a tap of the given stages of a backbone.

    Raises:
        ValueError: a stage does not exist in the backbone.
    """
    known = dict(locations) if locations else find_stages(backbone)
    missing = sorted(set(stages) - set(known))
    if missing:
        raise ValueError(
            f"{type(backbone).__name__} has no stage {missing[0]}; it has {sorted(known)}. Choose other stages or "
            f"say where it is in stage_locations"
        )
    return StageTap({stage: known[stage] for stage in sorted(set(stages))})


__all__ = ["Features", "StageLocation", "StageTap", "find_stages", "in_eval_mode", "make_tap"]

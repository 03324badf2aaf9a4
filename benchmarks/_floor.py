"""What a step of a method cannot do without: the passes of the backbone, made and counted."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

if TYPE_CHECKING:
    from _tasks import Step


class Passes(NamedTuple):
    """Passes of the backbone over an image that a method cannot do without, beside the task's own.

    Attributes:
        trained: With a backward pass.
        untrained: Without one, in training mode.
        reference: Without one, in evaluation mode, of a frozen copy.
        copies: Whether the untrained ones are of a copy, instead of the student.
    """

    trained: int = 0
    untrained: int = 0
    reference: int = 0
    copies: bool = False


PASSES = {
    "none": Passes(),
    "weight_l2": Passes(),
    "si": Passes(),
    "csg": Passes(untrained=1, reference=1),
    "gcisg": Passes(trained=1, untrained=2, reference=1, copies=True),
}


def floor_of(step: Step, method: str) -> Step:
    """The same passes as a step of the method, forward and backward, and nothing else.

    The reference's BatchNorm is folded into its convolutions: that is its cheapest form.

    Args:
        step: Of the framework's own model (``plain``).
        method: One of :data:`PASSES`.
    """
    from gcisg_core.encoders import fold_batch_norm

    passes = PASSES[method]
    untrained = copy.deepcopy(step.backbone).requires_grad_(False) if passes.copies else step.backbone
    reference = fold_batch_norm(copy.deepcopy(step.backbone)) if passes.reference else nn.Identity()
    reference.requires_grad_(False)
    reference.eval()  # that of mmseg's networks returns None

    def losses() -> Tensor:
        total = step.losses()
        images = step.views[1]
        for _ in range(passes.trained):
            total = total + sum(maps.float().mean() for maps in _maps(step.backbone(images)))
        with torch.no_grad():
            for _ in range(passes.untrained):
                untrained(images)
            for _ in range(passes.reference):
                reference(images)
        return total

    return step._replace(losses=losses)


def _maps(output: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor))


@contextmanager
def counting(model: Any, counts: list[int]) -> Iterator[None]:
    """Notes each pass that reaches the first convolution of the student or of a network beside it.

    In units of a forward pass: 3 where a backward pass follows.
    """
    from gcisg_core.guides import GuideNetwork

    student = model.regularizer.student
    trained = any(parameter.requires_grad for parameter in student.parameters())

    def count(weight: int, *_: Any) -> None:
        counts.append(weight if torch.is_grad_enabled() else 1)

    weights = {}
    for network in (m for m in model.modules() if type(m) is type(student) or isinstance(m, GuideNetwork)):
        first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
        weights[first] = 3 if network is student and trained else 1
    handles = [first.register_forward_pre_hook(partial(count, weight)) for first, weight in weights.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

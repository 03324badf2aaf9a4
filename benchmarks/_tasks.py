"""A training step of each task on synthetic batches: the recipes' models at the papers' sizes, or the miniature's.

Needs no data and no weights. B images of H x W pixels.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

PROJECTS = Path(__file__).resolve().parents[1] / "projects"
Method = Mapping[str, Any] | None  # settings of a method, None for those of the config


class Size(NamedTuple):
    """B, H and W of a batch."""

    images: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.images} x {self.height} x {self.width}"


class Step(NamedTuple):
    """A model and what one step of it computes.

    Attributes:
        model: With its ``regularizer``, or the framework's own without one.
        losses: The sum of all losses of a step, to be differentiated.
        backbone: The student.
        views: Two of (B, 3, H, W) on the device, as the backbone sees them.
    """

    model: Any
    losses: Callable[[], Tensor]
    backbone: nn.Module
    views: list[Tensor]


def classification(
    config: str, size: Size, device: str, method: Method, plain: bool = False, overrides: Sequence[Any] = ()
) -> Step:
    from gcisg_core.integrations.mmengine import load_config  # isort: skip
    from mmengine.registry import MODELS, init_default_scope

    import gcisg_cls  # noqa: F401 - registers the parts

    init_default_scope("mmengine")
    settings = load_config(str(PROJECTS / "classification" / config), [*overrides]).model
    settings.weights = None
    _set_method(settings, method)
    model = MODELS.build(settings).to(device).train()
    views = [torch.randn(size.images, 3, *size[1:], device=device) for _ in range(2)]
    label = torch.arange(size.images, device=device) % settings.num_classes

    def losses() -> Tensor:
        return model.parse_losses(model(views, label, mode="loss"))[0]

    def plain_losses() -> Tensor:
        return F.cross_entropy(model.head(model.backbone(views[0])), label)

    return Step(model, plain_losses if plain else losses, model.backbone, views)


def segmentation(
    config: str, size: Size, device: str, method: Method, plain: bool = False, overrides: Sequence[Any] = ()
) -> Step:
    import gcisg_seg.registry  # noqa: F401 - registers the parts, before mmseg's

    # isort: split
    from mmengine.registry import init_default_scope
    from mmengine.structures import PixelData
    from mmseg.registry import MODELS
    from mmseg.structures import SegDataSample

    from gcisg_core.integrations.mmengine import load_config

    settings = load_config(str(PROJECTS / "segmentation" / config), [*overrides]).model
    init_default_scope("mmseg")
    settings.data_preprocessor.views = None  # follows the method
    settings.backbone.update({key: None for key in ("init_cfg", "weights") if key in settings.backbone})
    _set_method(settings, method)
    if plain:
        settings.type, settings.data_preprocessor = settings.type.removeprefix("SynToReal"), None
        del settings.regularizer, settings.backbone_plugins
    model = MODELS.build(settings).to(device)
    model.train()
    views = [torch.randn(size.images, 3, *size[1:], device=device) for _ in range(2)]
    labels = torch.randint(settings.decode_head.num_classes, (size.images, 1, *size[1:]), device=device)
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]

    def losses() -> Tensor:
        return model.parse_losses(model.loss(views[0] if plain else views, samples))[0]

    return Step(model, losses, model.backbone, views)


def detection(
    config: str, size: Size, device: str, method: Method, plain: bool = False, overrides: Sequence[Any] = ()
) -> Step:
    import gcisg_det  # noqa: F401 - registers the parts, and repairs Detectron2 0.5 before it is imported

    # isort: split
    from detectron2.modeling import build_model
    from detectron2.structures import Boxes, Instances
    from detectron2.utils.events import EventStorage

    from gcisg_core.stages import below_pyramid
    from gcisg_det.config import read_config

    given = [item for name, value in (method or {}).items() for item in (f"REGULARIZER.{name.upper()}", value)]
    cfg = read_config(
        PROJECTS / "detection" / config, ["MODEL.DEVICE", device, "MODEL.WEIGHTS", "", *given, *overrides]
    )
    if plain:
        cfg.MODEL.META_ARCHITECTURE = cfg.MODEL.PARENT_ARCHITECTURE
    model: Any = build_model(cfg).train()
    items = []
    for _ in range(size.images):
        instances = Instances(size[1:])
        corners = torch.rand(8, 2) * torch.tensor([size.width, size.height]) * 0.7
        corners = torch.cat([corners, corners + torch.tensor([size.width, size.height]) * 0.2], 1)
        instances.gt_boxes, instances.gt_classes = Boxes(corners), torch.zeros(8).long()
        image = torch.randint(256, (3, *size[1:]), dtype=torch.uint8)
        items.append({"image": image, "instances": instances, "height": size.height, "width": size.width})

    def losses() -> Tensor:
        with EventStorage():
            return sum(model(items).values())

    return Step(model, losses, below_pyramid(model.backbone), [model.preprocess_image(items).tensor] * 2)


TASKS: dict[str, Callable[..., Step]] = {
    "classification": classification,
    "segmentation": segmentation,
    "detection": detection,
}


def in_channels_last(step: Step) -> Step:
    """Weights and views of the step in this order of memory; what is computed of them follows."""
    step.model.to(memory_format=torch.channels_last)
    step.views[:] = [view.contiguous(memory_format=torch.channels_last) for view in step.views]
    return step


class Recipe(NamedTuple):
    """Configs at the paper's size, named by method with ``baseline`` for none, and the paper's batch."""

    config: str
    size: Size


PAPERS = {
    "classification": Recipe("{}_r101_visda17.py", Size(64, 224, 224)),
    "segmentation": Recipe("{}_r50_deeplabv3_gtav2cityscapes.py", Size(8, 512, 512)),
    "detection": Recipe("{}_r101_fpn.yaml", Size(4, 736, 1333)),  # Sim10k's 1914 x 1052 at a training size
}
MINIATURES = {
    "classification": Recipe("{}_mini.py", Size(4, 32, 32)),
    "segmentation": Recipe("{}_mini.py", Size(2, 32, 32)),
    "detection": Recipe("{}_mini.yaml", Size(2, 32, 64)),
}


def _set_method(settings: Any, method: Method) -> None:
    if method is not None:
        settings.regularizer = dict(method)


class Trainer:
    """Makes steps as the frameworks' loops do, in any precision.

    Args:
        step: Whose model is trained, at a rate that leaves random weights as they are.
        dtype: Of autocast; None for none. float16 comes with a gradient scaler.
        lr: The rate.
        scale: The gradient scaler's first.
    """

    def __init__(self, step: Step, dtype: torch.dtype | None = None, lr: float = 1e-9, scale: float = 2.0**16) -> None:
        self.losses, self.dtype, self.device = step.losses, dtype, step.views[0].device.type
        self.regularizer = getattr(step.model, "regularizer", None)
        trained = [parameter for parameter in step.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.SGD(trained, lr=lr, momentum=0.9)
        self.scaler = torch.amp.GradScaler(self.device, init_scale=scale, enabled=dtype is torch.float16)
        if self.regularizer is not None:
            # The optimiser is asked, as a scaler leaves out steps, and hands over gradients that are unscaled.
            self.optimizer.register_step_pre_hook(lambda *_: self.regularizer.before_optimizer_step())
            self.optimizer.register_step_post_hook(lambda *_: self.regularizer.after_optimizer_step())

    def __call__(self) -> Tensor:
        """One step; returns its loss."""
        with torch.autocast(self.device, self.dtype, enabled=self.dtype is not None):
            loss = self.losses()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        return loss.detach()


# What a method cannot do without, beside the task's own step: passes of the backbone over an image with a backward
# pass, passes of it without one, and networks of its size that are kept beside it.
PASSES = {"none": (0, 0, 0), "csg": (0, 2, 1), "gcisg": (1, 3, 2)}


def floor_of(step: Step, method: str) -> Step:
    """The same passes as a step of the method, forward and backward, without any code of the suite.

    Args:
        step: Of the framework's own model (``plain``).
        method: One of :data:`PASSES`.
    """
    trained, frozen, networks = PASSES[method]
    beside = [copy.deepcopy(step.backbone).requires_grad_(False) for _ in range(networks)]

    def losses() -> Tensor:
        total = step.losses()
        images = step.views[1]
        for _ in range(trained):
            total = total + sum(maps.float().mean() for maps in _maps(step.backbone(images)))
        with torch.no_grad():
            for number in range(frozen):
                (beside[number % networks])(images)
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

"""A training step of each task on synthetic batches: the recipes' models at the papers' sizes, or the miniature's.

Needs no data and no weights. B images of H x W pixels.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import resnet50

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
    _set_method(settings, {"method": "none"} if plain else method)
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
    for name, module in model.named_modules():
        if name.endswith("conv3"):  # else random weights double the variance in each block: too much for float16
            module.weight.data.mul_(0.2)
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


METHODS = ("none", "csg", "gcisg")  # that have a config in PAPERS and MINIATURES
PAPERS = {
    "classification": Recipe("{}_r101_visda17.py", Size(64, 224, 224)),
    "segmentation": Recipe("{}_r50_deeplabv3_gtav2cityscapes.py", Size(8, 512, 512)),
    "detection": Recipe("{}_r101_fpn.yaml", Size(4, 736, 1333)),  # Sim10k's 1914 x 1052 at a training size
}
MINIATURES = {
    "classification": Recipe("{}_mini.py", Size(4, 64, 64)),
    "segmentation": Recipe("{}_mini.py", Size(2, 64, 64)),
    "detection": Recipe("{}_mini.yaml", Size(2, 32, 64)),
}


@cache
def network_file() -> str:
    """A state dict of torchvision's ResNet-50 with random weights."""
    file = Path(tempfile.mkdtemp()) / "resnet50.pth"
    torch.save(resnet50().state_dict(), file)
    return str(file)


def settings_of(method: str) -> dict[str, Any]:
    """The method's defaults, with what it cannot be without; whitening without its warm-up, which costs otherwise.

    ``METHOD+bfloat16`` computes the passes without gradients in bfloat16.
    """
    method, _, precision = method.partition("+")
    needed: dict[str, Callable[[], dict[str, Any]]] = {
        "asg": lambda: {"classifier": network_file()},
        "guided": lambda: {"guide": "torchvision:resnet50", "guide_weights": network_file()},
        "isw": lambda: {"warmup_steps": 1, "statistics_steps": 1},
    }
    lower = {"no_grad_precision": precision} if precision else {}
    return {"method": method, **needed.get(method, dict)(), **lower}


# ResNet-50 in each: the recipe, and what turns its network into one. The views are given: in detection the model would
# draw them, elsewhere the loader or the preprocessor.
RECIPES: dict[str, tuple[str, list[Any]]] = {
    "classification": ("baseline_r101_visda17.py", ["model.backbone=resnet50"]),
    "segmentation": ("baseline_r50_deeplabv3_gtav2cityscapes.py", []),
    "detection": ("baseline_r50_fpn.yaml", ["INPUT.COLOR_JITTER", [0.0] * 4]),
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
        self.backward(loss)
        self.update()
        return loss.detach()

    def backward(self, loss: Tensor) -> None:
        self.scaler.scale(loss).backward()

    def update(self) -> None:
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()

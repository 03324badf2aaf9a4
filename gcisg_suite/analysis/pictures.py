"""The figures of the analysis: where models look, how their features spread, what they confuse and miss.

All maps use one colour map, and single colours come from Okabe and Ito's palette, so that the figures are readable in
greyscale and with colour blindness.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from pytorch_grad_cam import HiResCAM
from pytorch_grad_cam.utils.image import scale_cam_image
from scipy.stats import gaussian_kde
from sklearn.decomposition import PCA
from torch import Tensor, nn

from gcisg_core.feature_tap import find_stages
from gcisg_core.metrics import FeatureSample
from gcisg_core.model_metrics import ModelMetrics
from gcisg_core.pooling import self_attention
from gcisg_core.probe import tokens_to_maps
from gcisg_suite.report.grid import HEAT, heat_over, picture_grid

from .task import EvalTask, Window

REFERENCE = "reference"
TOKENS = re.compile(r"tokens\((.+)\)")
NUMBERED = 12  # largest number of classes for which the cells of a confusion matrix show numbers
STAGES_SHOWN = (3, 4)  # the stages that guidance pools by attention


def chosen(count: int, most: int = 6) -> list[int]:
    """Positions of at most ``most`` images, evenly spaced through ``count``."""
    return sorted(set(np.linspace(0, count - 1, min(most, count)).astype(int).tolist()))


def _grid(task: EvalTask, indices: Sequence[int], rows: Sequence[str]) -> tuple[Figure, Any]:
    """A figure with one column per image and named rows; its axes have no ticks."""
    height, width = task.pixels(indices[0]).shape[:2]
    size = 1.7, 1.7 * height / width + 0.25
    return picture_grid([_wrapped(name, size[1]) for name in rows], len(indices), size, fontsize=8)


def _wrapped(name: str, inches: float) -> str:
    """A name, wrapped to the height of a row of the figure; its own line breaks are kept."""
    room = max(8, int(inches / 0.07))  # in characters of 8 points
    return "\n".join(line for part in name.split("\n") for line in textwrap.wrap(part, room))


def _finish(task: EvalTask, figure: Figure) -> Figure:
    """Lay out the figure, with the task's legend below it."""
    handles = [Patch(color=colour, label=name) for name, colour in task.legend()]
    room = 0.35 / figure.get_figheight() if handles else 0
    figure.tight_layout(rect=(0, room, 1, 1), h_pad=0.3)
    if handles:
        figure.legend(handles=handles, loc="lower center", ncols=len(handles), frameon=False, fontsize=8)
    return figure


def grad_cam_figure(task: EvalTask, models: Mapping[str, Any], indices: Sequence[int]) -> Figure:
    """Grad-CAM of each model, and of the reference if it has a classifier."""
    classified = task.reference is not None and task.classifier is not None
    figure, axes = _grid(task, indices, ["image, truth", *models, *([REFERENCE] if classified else [])])
    for column, index in enumerate(indices):
        task.draw(axes[0, column], index)
        pixels = task.pixels(index)
        for row, model in enumerate(models.values(), start=1):
            axes[row, column].imshow(heat_over(pixels, grad_cam(task, task.backbone(model), index, model)))
            task.label(axes[row, column], index, model)
        if classified:
            axes[-1, column].imshow(heat_over(pixels, grad_cam(task, task.reference, index)))
    return _finish(task, figure)


class _Network(nn.Module):
    """Wraps a function in a module, as pytorch_grad_cam requires."""

    def __init__(self, function: Any, backbone: nn.Module) -> None:
        super().__init__()
        self.function, self.backbone = function, backbone

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.function(images)
        return scores


def grad_cam(task: EvalTask, backbone: nn.Module | None, index: int, model: Any | None = None) -> np.ndarray:
    """Heat map (H, W) in [0, 1] of a model's prediction or, without a model, of the reference's classifier.

    HiResCAM (Draelos and Carin, 2020) does not average the gradient over the map as Grad-CAM does. After global pooling
    both give the same map. A box or a pixel depends on one place, and averaging would highlight other places too.

    Raises:
        ValueError: there is neither a model nor a reference with a classifier.
    """
    if backbone is None or (model is None and task.classifier is None):
        raise ValueError("Grad-CAM needs a model, or a reference with a classifier")
    inputs, pixels = task.inputs(index), task.pixels(index)
    before = [(parameter, parameter.requires_grad) for parameter in backbone.parameters()]
    backbone.requires_grad_(True)  # Grad-CAM needs gradients, which a frozen network does not have
    try:
        heats = [
            (window, _heat(task, backbone, index, model, inputs[..., window[0], window[1]], window))
            for window in task.windows(inputs.shape[-2:])
        ]
    finally:
        for parameter, required in before:
            parameter.requires_grad_(required)
            parameter.grad = None
    heat = scale_cam_image(over_image(heats, inputs.shape[-2:]).numpy()[None])[0]
    return np.asarray(np.nan_to_num(heat)[: pixels.shape[0], : pixels.shape[1]])


def _heat(task: EvalTask, backbone: nn.Module, index: int, model: Any, inputs: Tensor, window: Window) -> Tensor:
    """(h, w), the contribution of each position to a window's score; negative contributions become 0."""
    score = None
    if model is None:
        network = _Network(lambda images: task.classifier(task.pooled(backbone, images)), backbone)  # type: ignore[misc]
    else:
        function, score = task.explained(model, index, window)
        network = _Network(function, backbone)
    layer, reshape = cam_layer(backbone, task.explained_stage(backbone), (inputs.shape[2], inputs.shape[3]))
    targets = None if score is None else [score]
    with torch.enable_grad(), HiResCAM(network.eval(), [layer], reshape) as explain:
        explain(inputs, targets)  # the returned map is not used: it is scaled for each window by itself
        seen = explain.activations_and_grads
        return torch.from_numpy(
            explain.get_cam_image(
                inputs, layer, targets, *(x[0].numpy() for x in (seen.activations, seen.gradients)), False
            )
        )[0].relu()


def over_image(heats: Sequence[tuple[Window, Tensor]], size: Sequence[int]) -> Tensor:
    """(H, W), the maps (h, w) of all windows placed on the image, averaged where windows overlap."""
    total, count = torch.zeros(2, *size)
    for window, heat in heats:
        total[window] += F.interpolate(
            heat.float()[None, None], total[window].shape, mode="bilinear", align_corners=False
        )[0, 0]
        count[window] += 1
    return total / count


def cam_layer(
    backbone: nn.Module, stage: int, size: tuple[int, int]
) -> tuple[nn.Module, Callable[[Tensor], Tensor] | None]:
    """The module of a stage, and the function that turns its output into maps (B, C, h, w) for images (H, W).

    The function is None where the output is a map already.

    Raises:
        ValueError: the stage is not a module of its own.
    """
    place = str(find_stages(backbone)[stage])
    tokens = TOKENS.fullmatch(place)
    module = dict(backbone.named_modules()).get(tokens[1] if tokens else place)
    if module is None:
        raise ValueError(f"stage {stage} of {type(backbone).__name__} is not a module of its own")
    return module, (lambda output: tokens_to_maps(output, size)) if tokens else None


def attention_figure(task: EvalTask, backbones: Mapping[str, nn.Module], indices: Sequence[int]) -> Figure:
    """The weights of self-attention pooling for each stage; each map is scaled from its smallest to its largest."""
    rows = [(name, stage) for name, network in backbones.items() for stage in STAGES_SHOWN
            if stage in task.stages(network)]  # fmt: skip
    figure, axes = _grid(task, indices, ["image", *(f"{name}\nstage {stage}" for name, stage in rows)])
    for column, index in enumerate(indices):
        pixels, inputs = task.pixels(index), task.inputs(index)
        parts = task.windows(inputs.shape[-2:])
        maps = {
            name: [task.maps(network, inputs[..., part[0], part[1]]) for part in parts]
            for name, network in backbones.items()
        }
        axes[0, column].imshow(pixels)
        for axis, (name, stage) in zip(axes[1:, column], rows, strict=True):
            weights = [self_attention(features[stage].float())[0].cpu() for features in maps[name]]
            whole = over_image(list(zip(parts, weights, strict=True)), inputs.shape[-2:])
            heat = scale_cam_image(whole.numpy()[None])[0][: pixels.shape[0], : pixels.shape[1]]
            axis.imshow(heat_over(pixels, heat))
    figure.tight_layout(h_pad=0.3)
    return figure


def density_figure(samples: Mapping[str, FeatureSample], energies: Mapping[str, str]) -> Figure:
    """The density of features on a circle.

    Features are l2-normalised, projected onto their own first two principal components, and l2-normalised again.

    Args:
        samples: Model -> its features.
        energies: Model -> the text below its picture.
    """
    figure = Figure(figsize=(2.6 * len(samples), 3.0))
    axes = figure.subplots(1, len(samples), squeeze=False)[0]
    grid = np.linspace(-1.5, 1.5, 120)
    places = np.stack(np.meshgrid(grid, grid)).reshape(2, -1)
    densities = {name: _density(sample, places) for name, sample in samples.items()}
    largest = max((density.max() for density in densities.values() if density is not None), default=1)
    for axis, (name, density) in zip(axes, densities.items(), strict=True):
        if density is None:
            axis.text(0.5, 0.5, "too few different\nfeatures", ha="center", va="center", transform=axis.transAxes)
        else:
            shown = density.reshape(len(grid), -1)
            axis.imshow(shown, origin="lower", extent=(-1.5, 1.5, -1.5, 1.5), cmap=HEAT, vmin=0, vmax=largest)
        axis.set(title=name, xticks=[], yticks=[])
        axis.set_xlabel(energies[name], fontsize=8)
    figure.tight_layout()
    return figure


def _density(sample: FeatureSample, places: np.ndarray) -> np.ndarray | None:
    try:
        return np.asarray(gaussian_kde(on_circle(sample.rows).T)(places))  # bandwidth by Scott's rule
    except (ValueError, np.linalg.LinAlgError):  # too few features, or all of them equal
        return None


def on_circle(features: Tensor) -> np.ndarray:
    """(n, d) -> (n, 2), see :func:`density_figure`."""
    plane = PCA(2, svd_solver="full").fit_transform(F.normalize(features.double()).numpy())
    return np.asarray(plane / np.linalg.norm(plane, axis=1, keepdims=True).clip(1e-12))


def confusion_figure(evaluated: Mapping[str, ModelMetrics]) -> Figure:
    """One matrix per model: each row (true class) divided by its sum, in per cent."""
    shown = {name: result for name, result in evaluated.items() if isinstance(result.confusion, Tensor)}
    size = max(len(result.axes) for result in shown.values())
    side = 2.2 + 0.22 * size
    figure = Figure(figsize=(side * len(shown), side))
    for axis, (name, result) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown.items(), strict=True):
        counts = torch.as_tensor(result.confusion).double()
        shares = (100 * counts / counts.sum(dim=1, keepdim=True).clamp(min=1)).numpy()
        axis.imshow(shares, cmap=HEAT, vmin=0, vmax=100)
        axis.set_title(name, fontsize=9)
        axis.set_xticks(range(len(result.axes)), result.axes, rotation=90, fontsize=7)
        axis.set_yticks(range(len(result.axes)), result.axes, fontsize=7)
        axis.set(xlabel="prediction", ylabel="truth")
        for (row, column), share in np.ndenumerate(shares) if size <= NUMBERED else ():
            colour = "black" if share > 50 else "white"
            axis.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=6, color=colour)
    figure.tight_layout()
    return figure


def failures_figure(task: EvalTask, model: Any, failure: Sequence[float], most: int = 6) -> Figure:
    """The worst images of a model, worst first: the truth on top, the prediction and its confidence below."""
    worst = np.argsort(-np.asarray(failure), kind="stable")[:most].tolist()
    figure, axes = _grid(task, worst, ["truth", "prediction"])
    for column, index in enumerate(worst):
        task.draw(axes[0, column], index)
        task.draw(axes[1, column], index, model)
        axes[1, column].set_xlabel(task.confidence(index, model), fontsize=7)
    return _finish(task, figure)

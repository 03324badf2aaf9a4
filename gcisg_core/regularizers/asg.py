"""Automated synthetic-to-real generalisation (ASG, ICML 2020): keeps the predictions of the pretrained network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gcisg_core.config import Settings, require, require_stages
from gcisg_core.encoders import ReferenceEncoder
from gcisg_core.feature_tap import Features, StageTap, make_tap
from gcisg_core.padding import mask_at, masked_mean
from gcisg_core.pooling import global_average_pool
from gcisg_core.probe import black_image, image_sizes, unchanged
from gcisg_core.regularizers.base import Regularizer, Terms
from gcisg_core.safe_load import read_state_dict


@dataclass(frozen=True)
class ASGSettings(Settings):
    """Settings of ASG; the defaults are the paper's for classification. Segmentation: ``lambda_asg`` 75.

    Attributes:
        lambda_asg: Weight of the divergence; 0 turns it off.
        classifier: File with the classifier of the pretrained network: a state dict of torchvision's form that holds
            ``fc.weight`` (classes, C) and ``fc.bias`` (classes,), such as the weights file itself. ``~`` and
            environment variables are expanded.
        stage: The stage that the classifier reads.
        temperature: T, the temperature of both distributions.
        per_location: False: one prediction for each image, from its mean feature. True: one at each position of the
            stage, for the dense tasks.
    """

    lambda_asg: float = 0.1
    classifier: str = ""
    stage: int = 4
    temperature: float = 1.0
    per_location: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.lambda_asg >= 0, "lambda_asg", self.lambda_asg, "at least 0")
        require_stages("stage", (self.stage,))
        require(self.temperature > 0, "temperature", self.temperature, "above 0")
        require(
            bool(self.classifier),
            "classifier",
            self.classifier,
            "the file of the pretrained classifier: asg keeps its predictions and cannot work without it. Give a "
            "state dict of torchvision's form with fc.weight and fc.bias, such as the weights file itself",
        )


class ASG(Regularizer):
    """L_task + lambda KL(p_r || p_s), p = softmax(h(f(x)) / T) with the pretrained classifier h, which is frozen.

    Extra forward passes per step: the reference on the task view.
    Not included: the paper's learned policy of layer-wise learning rates ("L2O"), a separate reinforcement learner.

    Source: ASG (Chen et al., ICML 2020), "proxy guidance"; the authors' code predicts once per image in both tasks.
    """

    settings_class: ClassVar[type[Settings]] = ASGSettings
    settings: ASGSettings
    weight: Tensor
    bias: Tensor

    def __init__(self, student: nn.Module, settings: ASGSettings) -> None:
        super().__init__(student, settings)
        tap = make_tap(student, [settings.stage], settings.stage_locations)
        _check_classifier_reads_mean(student, tap, settings.stage)
        path = getattr(getattr(student, "plain", None), "classifier", "fc")  # a classifier's backbone
        weight, bias = read_classifier(settings.classifier, tap.channels(student)[settings.stage], path)
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.taps[settings.task_view] = tap
        self.reference = ReferenceEncoder(student, tap)

    def forward(self, views: Sequence[Tensor], features: Sequence[Features], mask: Tensor | None = None) -> Terms:
        view, stage = self.settings.task_view, self.settings.stage
        maps = features[view][stage]
        inside = mask_at(mask, maps)
        student = self._log_probabilities(maps, inside)
        with torch.no_grad():
            reference = self._log_probabilities(self.reference(views[view])[stage], inside)
        counted = inside.flatten() if inside is not None and self.settings.per_location else None
        if counted is None:
            divergence = F.kl_div(student, reference, reduction="batchmean", log_target=True)
        else:
            divergence = masked_mean(F.kl_div(student, reference, reduction="none", log_target=True).sum(1), counted)
        with torch.no_grad():
            agreement = masked_mean((student.argmax(dim=1) == reference.argmax(dim=1)).float(), counted)
        return Terms({"loss_asg": self.settings.lambda_asg * divergence}, {"asg_agreement": agreement})

    def _log_probabilities(self, features: Tensor, inside: Tensor | None) -> Tensor:
        """(N, classes) for every image, or every position, padding included; float32 under autocast too."""
        with torch.autocast(features.device.type, enabled=False):
            maps = features.to(self.weight.dtype)
            if self.settings.per_location:
                rows = maps.permute(0, 2, 3, 1).flatten(0, 2)
            else:
                rows = global_average_pool(maps, mask=inside)
            return F.log_softmax(F.linear(rows, self.weight, self.bias) / self.settings.temperature, dim=1)

    def _init_from_student(self) -> None:
        self.reference.capture(self.student)


def _check_classifier_reads_mean(student: nn.Module, tap: StageTap, stage: int) -> None:
    """If a backbone returns pooled features (B, C), they must be the mean of the stage, which ASG classifies."""
    for size in [(64, 64), *image_sizes(student)]:
        with suppress(Exception), unchanged(student):  # the network does not accept the size
            images = torch.rand(black_image(student, size).shape, generator=torch.Generator().manual_seed(0))
            with tap.collect(student) as features:
                pooled = student(images.to(next(student.parameters())))
            break
    else:
        return
    mean = features[stage].mean(dim=(2, 3))
    if not isinstance(pooled, Tensor) or (pooled.shape != mean.shape and not hasattr(student, "plain")):
        return  # maps, or the scores of a whole classifier
    if pooled.shape != mean.shape or not torch.allclose(mean, pooled, rtol=1e-3, atol=1e-5):
        raise ValueError(
            f"asg does not apply to {type(student).__name__}: its classifier reads something other than the mean of "
            f"stage {stage} (a class token, a further layer). Use a ResNet, or the method feature_l2 or gcisg"
        )


def read_classifier(file: str, channels: int, path: str = "fc") -> tuple[Tensor, Tensor]:
    """Read weight (classes, C) and bias (classes,) of a pretrained classifier; no code in the file is run.

    Args:
        file: A state dict.
        channels: C.
        path: Path of the classifier in the pretrained network.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no classifier, or one for other features.
    """
    place = Path(os.path.expandvars(file)).expanduser()
    if not place.is_file():
        raise FileNotFoundError(
            f"classifier {file!r}: no such file. Give a state dict of torchvision's form with fc.weight and fc.bias, "
            f"such as the weights file of the backbone"
        )
    found = read_state_dict(place)
    weight, bias = found.get(f"{path}.weight"), found.get(f"{path}.bias")
    if not isinstance(weight, Tensor) or not isinstance(bias, Tensor):
        raise ValueError(
            f"classifier {file!r}: {path}.weight and {path}.bias are not both in it (it holds "
            f"{', '.join(list(found)[:3])}, ...). "
            f"Give the whole pretrained network in torchvision's form, not its backbone alone"
        )
    weight = weight.flatten(1)  # of a 1 x 1 convolution
    if weight.shape[1:] != (channels,) or bias.shape != weight.shape[:1]:
        raise ValueError(
            f"classifier {file!r}: {path}.weight is {tuple(weight.shape)} and {path}.bias {tuple(bias.shape)}, "
            f"expected (classes, {channels}) and (classes,) for this backbone. Give the classifier of its own weights"
        )
    return weight.float(), bias.float()

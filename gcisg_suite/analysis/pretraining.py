"""Acc_IN: how well the classifier that the backbone was pretrained with still works on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from gcisg_core.model_metrics import Value
from gcisg_core.problems import DataError
from gcisg_suite.folders import is_hidden
from gcisg_suite.images import SUFFIXES, read_image
from gcisg_suite.progress import progress
from gcisg_suite.text import read_lines

STAND_IN_SIZE = 64  # edge of the miniature's reference images
IMAGE_LIST = "image_list.txt"


class PretrainingImages(ImageFolder):
    """Images in one folder for each class, in the order of the labels of ``image_list.txt``, or of the sorted names.

    Args:
        root: The folder.
        size: Edge in pixels to which the shorter side is resized, and which is cut from the centre.

    Raises:
        FileNotFoundError: there is no class or no image.
        DataError: an image cannot be read; at access.
    """

    def __init__(self, root: str, size: int) -> None:
        transform = v2.Compose([v2.ToPILImage(), v2.Resize(size), v2.CenterCrop(size), v2.PILToTensor()])
        super().__init__(root, transform, loader=read_image, is_valid_file=self._is_image)

    def _is_image(self, path: str) -> bool:
        name = Path(path).relative_to(self.root)
        return name.suffix.lower() in SUFFIXES and not is_hidden(name)

    def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
        """The classes in their order, and class -> label."""
        listed = Path(directory, IMAGE_LIST)
        if not listed.is_file():
            inner = (path.name for path in Path(directory).iterdir() if path.is_dir())
            names = sorted(name for name in inner if not is_hidden(name))
            return names, {name: label for label, name in enumerate(names)}
        lines = [line.rpartition(" ") for line in read_lines(listed) if line.strip()]
        folders = {int(label): name.partition("/")[0] for name, _, label in lines}
        classes = [folders[label] for label in sorted(folders)]
        return classes, {name: label for label, name in enumerate(classes)}

    def __getitem__(self, index: int) -> dict[str, Any]:
        image, label = super().__getitem__(index)
        return {"inputs": image, "label": label}


# Names of an ImageNet classifier: torchvision's, Detectron2's, and those of Caffe2's weights.
CLASSIFIERS = (("fc.weight", "fc.bias"), ("linear.weight", "linear.bias"), ("fc1000_w", "fc1000_b"))


def original_classifier(state: Mapping[str, Any], path: str = "fc") -> nn.Linear | None:
    """The classifier in pretrained weights, where they have one: at its path in the network, or one that is known."""
    for weight, bias in ((f"{path}.weight", f"{path}.bias"), *CLASSIFIERS):
        if weight in state and bias in state:
            values = {"weight": torch.as_tensor(state[weight]), "bias": torch.as_tensor(state[bias])}
            values["weight"] = values["weight"].flatten(1)  # of a 1 x 1 convolution
            classes, channels = values["weight"].shape
            classifier = nn.Linear(channels, classes)
            classifier.load_state_dict(values)
            return classifier
    return None


@torch.no_grad()
def original_accuracy(
    features: Callable[[Tensor], Tensor],
    classifier: nn.Linear | None,
    images: Any,
    batch_size: int = 256,
) -> Value:
    """Acc_IN in per cent, or why there is none.

    Args:
        features: From images (B, 3, H, W), RGB, uint8, to the backbone's pooled features (B, C).
        classifier: The pretrained network's own, see :func:`original_classifier`.
        images: A data set of the pretraining's task with `classes` in the order of its labels, of dictionaries with
            ``inputs`` (3, H, W), uint8, and ``label``; None if there is none.
        batch_size: Images at once.

    Raises:
        DataError: the images are of another number of classes.
    """
    if images is None:
        return "needs validation images of the pretraining's task: --imagenet"
    if classifier is None:
        return "the reference's weights hold no classifier (fc.weight)"
    if len(images.classes) != classifier.out_features:
        what = f"{len(images.classes)} classes, but the reference's classifier has {classifier.out_features}"
        raise DataError(images.root, what, "Give the images of the reference's own task, in one folder for each class")
    hits = []
    for batch in progress(DataLoader(images, batch_size), "the pretraining's task", "batch"):
        pooled = features(batch["inputs"])
        if pooled.shape[1] != classifier.in_features:
            return f"the backbone ends in {pooled.shape[1]} channels, the classifier takes {classifier.in_features}"
        hits.append(classifier.to(pooled.device)(pooled).argmax(dim=1).cpu() == batch["label"])
    return 100 * torch.cat(hits).double().mean().item()


def stand_in(weights: str) -> str | None:
    """Where the miniature keeps its stand-in for ImageNet's validation images, if these are its weights."""
    folder = Path(weights).parent / "classification" / "reference" / "val"
    return str(folder) if folder.is_dir() else None


def pretraining_images(folder: str | None, size: int, weights: str) -> PretrainingImages | None:
    """Images for :func:`original_accuracy`, resized and cut to ``size``; without a folder those of the miniature.

    Args:
        folder: Holds one folder for each class.
        size: Edge in pixels.
        weights: File of the pretrained network.

    Returns:
        None where the weights are not the miniature's either.
    """
    found = folder or stand_in(weights)
    return PretrainingImages(found, size if folder else STAND_IN_SIZE) if found else None

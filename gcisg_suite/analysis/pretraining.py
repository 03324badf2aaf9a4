"""Acc_IN: the accuracy of the pretrained network's classifier on the features of a trained backbone."""

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

STAND_IN_SIZE = 64  # width and height of the miniature's reference images, in pixels
IMAGE_LIST = "image_list.txt"


class PretrainingImages(ImageFolder):
    """Images in one folder for each class, in the order of the labels of ``image_list.txt``, or of the sorted names.

    Args:
        root: The folder.
        size: In pixels: the shorter side is resized to it, and a square of this size is cropped from the centre.

    Raises:
        FileNotFoundError: there is no class or no image.
        DataError: an image cannot be read; raised on access.
    """

    def __init__(self, root: str, size: int) -> None:
        transform = v2.Compose([v2.ToPILImage(), v2.Resize(size), v2.CenterCrop(size), v2.PILToTensor()])
        super().__init__(root, transform, loader=read_image, is_valid_file=self._is_image)

    def _is_image(self, path: str) -> bool:
        name = Path(path).relative_to(self.root)
        return name.suffix.lower() in SUFFIXES and not is_hidden(name)

    def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
        """The classes in the order of their labels, and class -> label."""
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


# Parameter names of an ImageNet classifier in torchvision's, Detectron2's and Caffe2's weights.
CLASSIFIERS = (("fc.weight", "fc.bias"), ("linear.weight", "linear.bias"), ("fc1000_w", "fc1000_b"))


def original_classifier(state: Mapping[str, Any], path: str = "fc") -> nn.Linear | None:
    """The classifier in pretrained weights, at its path in the network or under a known name; None if it is missing."""
    for weight, bias in ((f"{path}.weight", f"{path}.bias"), *CLASSIFIERS):
        if weight in state and bias in state:
            values = {"weight": torch.as_tensor(state[weight]), "bias": torch.as_tensor(state[bias])}
            values["weight"] = values["weight"].flatten(1)  # it may be a 1 x 1 convolution
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
    """Acc_IN in per cent, or the reason why it cannot be computed.

    Args:
        features: Maps images (B, 3, H, W), RGB, uint8, to the backbone's pooled features (B, C).
        classifier: The pretrained network's own, see :func:`original_classifier`.
        images: A data set of the pretraining task, with `classes` in the order of its labels. Its items are
            dictionaries with ``inputs`` (3, H, W), uint8, and ``label``. None if there is none.
        batch_size: Number of images in a batch.

    Raises:
        DataError: the number of classes differs between the images and the classifier.
    """
    if images is None:
        return "needs validation images of the pretraining task: --imagenet"
    if classifier is None:
        return "the reference's weights hold no classifier (fc.weight)"
    if len(images.classes) != classifier.out_features:
        what = f"{len(images.classes)} classes, but the reference's classifier has {classifier.out_features}"
        raise DataError(
            images.root, what, "Give images of the task that the reference was trained on, one folder for each class"
        )
    hits = []
    for batch in progress(DataLoader(images, batch_size), "pretraining task", "batch"):
        pooled = features(batch["inputs"])
        if pooled.shape[1] != classifier.in_features:
            return f"the backbone ends in {pooled.shape[1]} channels, the classifier takes {classifier.in_features}"
        hits.append(classifier.to(pooled.device)(pooled).argmax(dim=1).cpu() == batch["label"])
    return 100 * torch.cat(hits).double().mean().item()


def stand_in(weights: str) -> str | None:
    """The miniature's substitute for ImageNet's validation images, if `weights` are the miniature's; else None."""
    folder = Path(weights).parent / "classification" / "reference" / "val"
    return str(folder) if folder.is_dir() else None


def pretraining_images(folder: str | None, size: int, weights: str) -> PretrainingImages | None:
    """Images for :func:`original_accuracy`, resized and cropped to ``size``; without a folder, the miniature's.

    Args:
        folder: Contains one folder for each class.
        size: Width and height in pixels.
        weights: File of the pretrained network.

    Returns:
        None if there is no folder and the weights are not the miniature's.
    """
    found = folder or stand_in(weights)
    return PretrainingImages(found, size if folder else STAND_IN_SIZE) if found else None

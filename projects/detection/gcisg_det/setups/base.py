"""The interface through which predictions, analyses and exports use a config of either kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import transforms as T
from torch import nn

from gcisg_core.integrations.detectron2.checkpoints import SafeCheckpointer


class DetectorSetup(ABC):
    """Builds a config's detector, without the method, and its images and data.

    Attributes:
        config: The config, with the changes made by the methods of this class.
        device: The device on which :meth:`build` puts the detector.
        root: The folder of the known data sets; empty: the default folder.
        pixel_statistics: The config whose pixel statistics are compared with initial weights; None if it has no keys
            for them.
    """

    config: Any
    device: str = "cpu"
    root: str = ""
    pixel_statistics: CfgNode | None = None

    @property
    @abstractmethod
    def weights(self) -> str:
        """The initial weights; empty if there are none."""

    @property
    @abstractmethod
    def image_format(self) -> str:
        """Channel order of the images, `BGR` or `RGB`."""

    @property
    @abstractmethod
    def data(self) -> str:
        """The data set to evaluate on: the first test set."""

    @abstractmethod
    def register(self) -> None:
        """Register the config's data sets; call it again after another config has registered its own."""

    @abstractmethod
    def use_data(self, name: str, file: str) -> None:
        """Evaluate on a JSON file in COCO's format, with its images in or below its folder, or on data in a folder."""

    @abstractmethod
    def use_training_data(self) -> None:
        """Evaluate on the first training set."""

    @abstractmethod
    def forget_weights(self) -> None:
        """Remove the initial weights from the config."""

    @abstractmethod
    def number_of_classes(self) -> tuple[str, int | None]:
        """Return the config key and the number of classes; None if the detector has no such number."""

    @abstractmethod
    def class_ids(self) -> dict[str, int]:
        """Return class name -> COCO category id, in the order of the labels; empty if they are unknown."""

    @abstractmethod
    def method(self) -> dict[str, Any]:
        """Return the method's name and settings."""

    @abstractmethod
    def build(self) -> nn.Module:
        """Build a new detector on the device, in eval mode, without weights."""

    @abstractmethod
    def resize(self) -> T.Augmentation:
        """Return the resizing of test images."""

    @abstractmethod
    def mapper(self) -> Callable[[dict[str, Any]], dict[str, Any]]:
        """Return the mapper of test images."""

    @abstractmethod
    def loader(self, name: str) -> Any:
        """Return the test loader of a data set."""

    def load(self, model: nn.Module, checkpoint: str, strict: bool = True) -> SafeCheckpointer:
        """Load a checkpoint into a detector; return the checkpointer.

        Raises:
            DataError: The file is damaged, or, if ``strict``, belongs to another model.
        """
        checkpointer = SafeCheckpointer(model, cfg=self.pixel_statistics, strict=strict)
        checkpointer.load(checkpoint)
        return checkpointer

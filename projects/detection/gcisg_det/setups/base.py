"""What predictions, analyses and exports need of a config, whatever its kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import transforms as T
from torch import nn

from gcisg_core.integrations.detectron2.checkpoints import SafeCheckpointer


class DetectorSetup(ABC):
    """A detector without its method, its images and its data.

    Attributes:
        config: The config, with what the methods changed.
        device: Where :meth:`build` puts the detector.
        root: The folder of the known data sets; empty for the usual one.
        pixel_statistics: What initial weights are compared with; None where the config does not state it by keys.
    """

    config: Any
    device: str = "cpu"
    root: str = ""
    pixel_statistics: CfgNode | None = None

    @property
    @abstractmethod
    def weights(self) -> str:
        """What training starts from; empty for nothing."""

    @property
    @abstractmethod
    def image_format(self) -> str:
        """Channel order of the images, `BGR` or `RGB`."""

    @property
    @abstractmethod
    def data(self) -> str:
        """The data set that is evaluated on: the first of the test sets."""

    @abstractmethod
    def register(self) -> None:
        """Make the config's data sets known, again if another config has registered its own since."""

    @abstractmethod
    def use_data(self, name: str, file: str) -> None:
        """Evaluate on a JSON file in COCO's format that lies above its images, or on data below a folder."""

    @abstractmethod
    def use_training_data(self) -> None:
        """Evaluate on the first of the data sets that the config trains on."""

    @abstractmethod
    def forget_weights(self) -> None:
        """Start from no weights."""

    @abstractmethod
    def number_of_classes(self) -> tuple[str, int | None]:
        """The key that states it, and the number; None where the detector has none."""

    @abstractmethod
    def class_ids(self) -> dict[str, int]:
        """Class name -> category id in COCO's form, in the order of the labels; empty where they are not known."""

    @abstractmethod
    def method(self) -> dict[str, Any]:
        """The method's name and settings."""

    @abstractmethod
    def build(self) -> nn.Module:
        """A new detector on the device, in eval mode, without weights."""

    @abstractmethod
    def resize(self) -> T.Augmentation:
        """What test images go through."""

    @abstractmethod
    def mapper(self) -> Callable[[dict[str, Any]], dict[str, Any]]:
        """The mapper of test images."""

    @abstractmethod
    def loader(self, name: str) -> Any:
        """The test loader of a data set."""

    def load(self, model: nn.Module, checkpoint: str, strict: bool = True) -> SafeCheckpointer:
        """Put a checkpoint into a detector; returns what read it.

        Raises:
            DataError: It is damaged, or ``strict`` and one of another model.
        """
        checkpointer = SafeCheckpointer(model, cfg=self.pixel_statistics, strict=strict)
        checkpointer.load(checkpoint)
        return checkpointer

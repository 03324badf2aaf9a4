"""Reads checkpoints of any framework, without running code that they may contain."""

from __future__ import annotations

from typing import Any

from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from gcisg_core.export import METHOD_PREFIX, without_method
from gcisg_core.ibn import added_names, join_halves
from gcisg_core.integrations.mmengine import check_state  # the import lets mmengine read weights alone
from gcisg_core.problems import DataError
from gcisg_core.safe_load import unwrap_state_dict


def read_state(path: str) -> dict[str, Tensor]:
    """Read the task model's tensors from a checkpoint of this suite, of mmengine, or of plain torch.

    Args:
        path: A file, or an address that mmengine knows (``torchvision://resnet50``).

    Returns:
        The tensors by name, without the prefix of distributed training and without the method's own state.

    Raises:
        DataError: the file is damaged, holds anything other than weights, or holds no weights.
        FileNotFoundError: there is no such file.
    """
    try:
        loaded: Any = CheckpointLoader.load_checkpoint(path, map_location="cpu")
    except KeyError as error:  # mmengine raises it for an unknown open-mmlab:// name
        raise DataError(path, "no model of that name", "Give a file, or a name that mmengine knows") from error
    tensors = unwrap_state_dict(loaded, path)
    return without_method({name.removeprefix("module."): value for name, value in tensors.items()})


def load_model(model: nn.Module, state: dict[str, Tensor], path: str) -> None:
    """Load a checkpoint's weights into a task model; the method's own state is left unchanged.

    Raises:
        ValueError: the weights belong to another model.
    """
    check_state(model, state, path, ignore=(METHOD_PREFIX,))
    model.load_state_dict(state, strict=False)


def load_backbone(backbone: nn.Module, state: dict[str, Tensor], path: str, classifier: str = "fc") -> None:
    """Load pretrained weights, or the backbone's part of a full checkpoint, into a backbone.

    Args:
        backbone: Changed in place.
        state: The weights.
        path: Their origin, for error messages.
        classifier: Path of the classifier in the pretrained network; its weights are not loaded.

    Raises:
        ValueError: the weights belong to another network.
    """
    if any(name.startswith("backbone.") for name in state):
        state = {name[len("backbone.") :]: value for name, value in state.items() if name.startswith("backbone.")}
    own = join_halves({name: value for name, value in state.items() if not name.startswith(f"{classifier}.")})
    check_state(backbone, own, path, ignore=added_names(backbone))
    backbone.load_state_dict(own, strict=False)

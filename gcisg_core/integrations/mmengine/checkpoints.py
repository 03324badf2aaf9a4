"""mmengine's files: atomic writing, reading without running code, and initial weights that match the model.

Importing this module changes mmengine in this process.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.dist import barrier, is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.logging import HistoryBuffer
from mmengine.model import PretrainedInit, is_model_wrapper, update_init_info
from mmengine.registry import WEIGHT_INITIALIZERS
from mmengine.runner.checkpoint import (
    CheckpointLoader,
    get_external_models,
    get_mmcls_models,
    get_torchvision_models,
)
from torch import Tensor, nn

from gcisg_core.export import METHOD_PREFIX
from gcisg_core.files import replacing
from gcisg_core.initial_weights import MIN_MATCH_RATIO, load_initial_weights
from gcisg_core.integrations import safetensors as _safetensors  # noqa: F401 - registers its reader
from gcisg_core.lookup import unknown_name
from gcisg_core.old_names import accept_old_arguments, rename_tensors
from gcisg_core.safe_load import read_checkpoint, unwrap_state_dict

# mmengine retries a checkpoint that is unsafe to read with the unsafe reader; this setting of torch forbids it.
os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"


class AtomicLocalBackend(LocalBackend):
    """Writes under a temporary name and renames, so that a killed run leaves no incomplete file."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        with replacing(Path(filepath)) as partial:
            super().put(obj, partial)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = "utf-8") -> None:
        self.put(obj.encode(encoding), filepath)


register_backend("local", AtomicLocalBackend, prefixes="", force=True)


@CheckpointLoader.register_scheme(prefixes="", force=True)
def load_from_local(filename: str, map_location: Any = None, **_: Any) -> Any:
    """mmengine's loader of files, with :func:`gcisg_core.safe_load.read_checkpoint`; loads onto the CPU."""
    content = read_checkpoint(Path(filename).expanduser())
    hub = content.get("message_hub") if isinstance(content, dict) else None
    if isinstance(hub, dict) and isinstance(hub.get("log_scalars"), dict):
        hub["log_scalars"] = {name: _history(value) for name, value in hub["log_scalars"].items()}
    return content


def _history(value: Any) -> Any:
    """Build a `HistoryBuffer` from what the safe reader returns for it."""
    held = value if isinstance(value, dict) else {}
    log, count = held.get("_log_history"), held.get("_count_history")
    if not isinstance(log, Tensor) or not isinstance(count, Tensor):
        return value
    return HistoryBuffer(log.numpy(), count.numpy(), held.get("max_length", 1000000))


# Prefix -> addresses by name.
SOURCES: dict[str, Callable[[], Any]] = {
    "torchvision://": get_torchvision_models,
    "open-mmlab://": get_external_models,
    "openmmlab://": get_external_models,
    "mmcls://": get_mmcls_models,
}


@CheckpointLoader.register_scheme(prefixes=("http://", "https://", *SOURCES), force=True)
def load_from_net(filename: str, map_location: Any = None, **_: Any) -> Any:
    """mmengine's loader of online weights, which verifies the hash in a name and says what to do offline.

    Raises:
        FileNotFoundError: the weights are not in torch's cache and cannot be downloaded; says where to put them.
        ValueError: there is no model of that name.
        DataError: the file in the cache was altered or is incomplete.
    """
    prefix, name = filename.split("://", 1)
    url = filename
    if f"{prefix}://" in SOURCES:
        urls = SOURCES[f"{prefix}://"]()
        if name not in urls:
            raise unknown_name(name, (known for known in urls if "." not in known), f"{prefix} model")
        url = urls[name]
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    try:
        if is_main_process():
            _download(url, cached)
        barrier()
        _download(url, cached)  # on a machine without the first machine's cache
    except OSError as error:
        raise FileNotFoundError(
            f"{filename} could not be downloaded ({error}). Put {url} into {cached.parent}, or give the path of a file "
            f"instead of {filename}"
        ) from error
    return read_checkpoint(cached)


def _download(url: str, goal: Path) -> None:
    if not goal.is_file():
        goal.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(goal))  # renames the file when it is complete


@WEIGHT_INITIALIZERS.register_module(name="Pretrained", force=True)
@accept_old_arguments
class InitialWeights(PretrainedInit):
    """mmengine's `Pretrained`, with :func:`gcisg_core.initial_weights.load_initial_weights`.

    Args:
        checkpoint: A file or an address such as ``torchvision://resnet50``.
        min_match_ratio: The share of tensors that must match; 0 takes what fits.
        **kwargs: Arguments of mmengine's class.
    """

    def __init__(self, checkpoint: str, min_match_ratio: float = MIN_MATCH_RATIO, **kwargs: Any) -> None:
        super().__init__(checkpoint, **kwargs)
        self.min_match_ratio = min_match_ratio

    def __call__(self, module: nn.Module) -> None:
        content = CheckpointLoader.load_checkpoint(self.checkpoint, map_location=self.map_location)
        state = unwrap_state_dict(content, self.checkpoint)
        if self.prefix is not None:
            state = {name: value for name, value in state.items() if name.startswith(self.prefix)}
        load_initial_weights(module, state, self.checkpoint, self.min_match_ratio)
        if hasattr(module, "_params_init_info"):
            update_init_info(module, init_info=self._get_init_info())


def unwrap(model: nn.Module) -> Any:
    """The model inside mmengine's distributed wrapper."""
    return model.module if is_model_wrapper(model) else model


def check_state(model: nn.Module, state: dict[str, Any], what: str, ignore: tuple[str, ...] = ()) -> None:
    """Refuse a state dict of another model.

    Raises:
        ValueError: a weight is missing, unexpected or of another shape; the message names the first ones.
    """
    own, state = model.state_dict(), dict(state)
    rename_tensors(state, METHOD_PREFIX)
    wrong = [
        # Files of old versions of torch have no batch counters.
        *(f"{name} is missing" for name in own if name not in state and not name.endswith("num_batches_tracked")),
        *(f"{name} is not in the model" for name in state if name not in own),
        *(
            f"{name} has the shape {tuple(state[name].shape)}, expected {tuple(own[name].shape)}"
            for name in own
            if name in state and own[name].shape != state[name].shape
        ),
    ]
    wrong = [fault for fault in wrong if not fault.startswith(ignore)] if ignore else wrong
    if wrong:
        raise ValueError(
            f"{what} does not fit this config's model: {'; '.join(wrong[:3])} ({len(wrong)} differences). Give the "
            f"config that it was trained with, or another checkpoint"
        )


def load_for_evaluation(model: nn.Module, path: str) -> None:
    """Load a checkpoint of the task model, with or without the method's tensors.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it belongs to another model.
    """
    checkpoint = CheckpointLoader.load_checkpoint(path, map_location="cpu")
    state = checkpoint.get("state_dict", checkpoint)
    check_state(model, state, path, ignore=(METHOD_PREFIX,))
    model.load_state_dict({k: v for k, v in state.items() if not k.startswith(METHOD_PREFIX)}, strict=False)

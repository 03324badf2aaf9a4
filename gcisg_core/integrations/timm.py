"""timm: any of its models, such as DINOv2, DINOv3 and CLIP encoders, as a guide or a classifier's backbone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gcisg_core.export import verify_hash
from gcisg_core.guides import GUIDES, GuideNetwork
from gcisg_core.initial_weights import match_names
from gcisg_core.lookup import unknown_name
from gcisg_core.problems import DataError, MissingPackageError
from gcisg_core.safe_load import read_state_dict

START = 20_250_607  # no file has these random values: a tensor that keeps them is missing in a file


class TimmGuide(GuideNetwork):
    """A model of timm without its head; tokens become a map (B, C, h, w)."""

    def forward(self, images: Tensor) -> Tensor:
        network: Any = self.network
        features: Tensor = network.forward_intermediates(images, indices=1, norm=True, intermediates_only=True)[-1]
        return features


def create(
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    state: Mapping[str, Tensor] | None = None,
    seed: int | None = START,
) -> Any:
    """Build a model of timm without its classifier, which accepts images of any size if possible.

    Args:
        name: ``vit_small_patch14_dinov2``, ``convnext_tiny``, ...; with a tag of weights after a dot.
        options: Keyword arguments of ``timm.create_model``.
        state: Weights in any form that timm knows for this model; tensors that do not fit are skipped.
        seed: Seed of the random initialisation; None uses torch's global state.

    Raises:
        MissingPackageError: timm is not installed.
        ValueError: timm has no such model, or the model does not accept the options.
    """
    try:
        import timm
    except ImportError as error:
        raise MissingPackageError(f"timm:{name} needs timm: pip install 'gcisg[guides]'") from error
    known = timm.list_models()
    if name.partition(".")[0] not in known:
        raise unknown_name(name, known, "model of timm")
    values: dict[str, Any] = {**(options or {}), "num_classes": 0}
    if state is not None:
        # No model has this number of classes, so timm skips the classifier when it loads weights.
        values |= {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": dict(state), "num_classes": -1}}
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        try:
            return timm.create_model(name, **{"dynamic_img_size": True, **values})
        except TypeError:  # not a transformer: no such argument is needed
            try:
                return timm.create_model(name, **values)
            except TypeError as error:
                raise ValueError(f"timm's {name} does not take {dict(options or {})}: {error}") from error


def fixed_size(network: Any) -> int | None:
    """The only image edge that a model accepts, in pixels; None if it accepts others."""
    if getattr(network, "dynamic_img_size", False) or not network.pretrained_cfg.get("fixed_input_size"):
        return None
    embedded = getattr(getattr(network, "patch_embed", None), "img_size", None)  # of the option `img_size`
    size: int = (embedded or network.pretrained_cfg["input_size"][1:])[0]
    return size


def ends_in_convolution(network: Any, classifier: str) -> bool:
    """Whether the classifier at a path is a 1 x 1 convolution, after which the network flattens its maps."""
    owner = network.get_submodule(classifier.rpartition(".")[0])
    flattens = owner is network and isinstance(getattr(network, "flatten", None), torch.nn.Flatten)
    return flattens or bool(getattr(owner, "use_conv", False))


def read_weights(
    name: str, weights: str, options: Mapping[str, Any] | None = None, key: str = "weights"
) -> dict[str, Tensor]:
    """Read the weights of a model of timm, under its names, with its original classifier.

    Args:
        name: See :func:`create`.
        weights: A file of any form that timm converts (its own, DINOv2's, ...), read without running code in it; or
            a tag of weights (``lvd142m``) or ``DEFAULT`` (the first), from the hub or its cache.
        options: The options with which the model is built.
        key: The config key of the weights, for messages.

    Raises:
        FileNotFoundError: there is no such file or tag, or the hub cannot be reached; the message says what to do.
        DataError: the file belongs to another model.
    """
    network = create(name, options)
    if Path(weights).is_file():
        verify_hash(Path(weights))
        state = read_state_dict(weights)
        return _converted(network, state, weights, partial(create, name, options))
    import timm

    base, _, tag = name.partition(".")
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{base}.*")]
    if weights not in ("DEFAULT", *tags):
        raise FileNotFoundError(
            f"{key} {weights!r} for timm:{name}: no such file, and timm has no weights of that name (it has: "
            f"{', '.join(tags) or 'none'}). Give a state dict file, one of these tags or DEFAULT"
        )
    wanted = f"{base}.{tag if weights == 'DEFAULT' else weights}".rstrip(".")
    try:
        whole: dict[str, Tensor] = timm.create_model(wanted, pretrained=True, **(options or {})).state_dict()
    except (OSError, RuntimeError) as error:
        raise FileNotFoundError(
            f"the weights of timm's {name} could not be loaded ({error}). Download them on a machine with network "
            f"access, into the hub's cache or a file, and give the file as {key}"
        ) from error
    return whole


def _converted(network: Any, state: dict[str, Tensor], file: str, build: Callable[..., Any]) -> dict[str, Tensor]:
    """Convert a state dict with timm's function; tensors of the model that it does not set are left out."""
    prefix = match_names(network, state).prefix
    given = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    try:
        loaded = build(state=given).state_dict()
    except (RuntimeError, KeyError, AttributeError, TypeError) as error:
        what = f"is not for timm's {network.pretrained_cfg['architecture']} ({str(error).splitlines()[0]})"
        raise DataError(file, what, "Give weights of this model, from timm or its authors") from error
    # A constant initial value, such as EdgeNeXt's temperatures, may also be the file's value.
    stated = {key for key, value in given.items() if key in loaded and value.shape == loaded[key].shape}
    untouched = _untouched(network.state_dict(), loaded) - stated
    classifier = network.pretrained_cfg.get("classifier") or ()
    paths = tuple(f"{path}." for path in ([classifier] if isinstance(classifier, str) else classifier))
    original = {key: value for key, value in given.items() if paths and key.startswith(paths)}
    return {key: value for key, value in loaded.items() if key not in untouched} | original


def _untouched(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> set[str]:
    """timm loads what fits and does not report the rest, which keeps its random values; biases follow weights."""
    weights = {key for key, value in after.items() if value.ndim > 1 and value.equal(before[key])}
    owners = {key.removesuffix(".weight") for key in weights if key.endswith(".weight")}
    return weights | {key for key in after if key.rpartition(".")[0] in owners}


def timm_guide(name: str, weights: str) -> TimmGuide:
    """A model of timm by name.

    Args:
        name: See :func:`create`.
        weights: As for :func:`read_weights`; empty: ``DEFAULT``.

    Raises:
        MissingPackageError, ValueError: as :func:`create`.
        FileNotFoundError, DataError: as :func:`read_weights`.
    """
    network = create(name)
    state = read_weights(name, weights or "DEFAULT", key="guide_weights")
    missing = network.load_state_dict(state, strict=False).missing_keys
    if missing:
        raise ValueError(f"guide_weights {weights!r}: it lacks {', '.join(missing[:3])} of timm's {name}")
    return TimmGuide(network, network.pretrained_cfg["mean"], network.pretrained_cfg["std"])


GUIDES["timm"] = timm_guide

"""timm: any of its models as a guide, DINOv2 and the image encoders of CLIP among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gcisg_core.export import verify_hash
from gcisg_core.guides import GUIDES, GuideNetwork
from gcisg_core.lookup import unknown_name


class TimmGuide(GuideNetwork):
    """A model of timm without its head; tokens become a map (B, C, h, w)."""

    def forward(self, images: Tensor) -> Tensor:
        network: Any = self.network
        features: Tensor = network.forward_intermediates(images, indices=1, norm=True, intermediates_only=True)[-1]
        return features


def _create(name: str, weights: str = "", pretrained: bool = False) -> Any:
    """A headless model that takes images of any size if it can, the same start each time."""
    import timm

    overlay = {"file": weights} if weights else None
    options: dict[str, Any] = {"pretrained": pretrained, "num_classes": 0, "pretrained_cfg_overlay": overlay}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            return timm.create_model(name, dynamic_img_size=True, **options)
        except TypeError:  # not a transformer: no such argument is needed
            return timm.create_model(name, **options)


def timm_guide(name: str, weights: str) -> TimmGuide:
    """A model of timm by name.

    Args:
        name: ``vit_small_patch14_dinov2``, ``resnet50``, ...; with a tag after a dot, of particular weights.
        weights: A file (`.pth` or `.safetensors`), read without running any code in it; empty: timm's own.

    Raises:
        ImportError: timm is not installed.
        FileNotFoundError: there is no such file, or timm's own weights cannot be had.
        ValueError: timm has no such model, or the file is another model's.
    """
    try:
        import timm
    except ImportError as error:
        raise ImportError(f"the guide timm:{name} needs timm: pip install 'gcisg[guides]'") from error
    known = timm.list_models()
    if name.partition(".")[0] not in known:
        raise unknown_name(name, known, "model of timm")
    if weights and not Path(weights).is_file():
        raise FileNotFoundError(f"guide_weights {weights!r}: no such file. Give a weights file of {name}, or none")
    if weights:
        verify_hash(Path(weights))
    try:
        fresh, network = _create(name), _create(name, weights=weights, pretrained=True)
    except (OSError, RuntimeError) as error:
        if weights:
            raise ValueError(f"guide_weights {weights!r}: not weights of timm's {name} ({error})") from error
        raise FileNotFoundError(
            f"the weights of timm's {name} could not be had ({error}). Fetch them where there is a net and give the "
            f"file as guide_weights"
        ) from error
    # timm loads what fits and says nothing of the rest.
    before = fresh.state_dict()
    untouched = [key for key, value in network.state_dict().items() if value.ndim > 1 and value.equal(before[key])]
    if untouched:
        raise ValueError(f"guide_weights {weights!r}: {', '.join(untouched[:3])} of timm's {name} are not in it")
    return TimmGuide(network, network.pretrained_cfg["mean"], network.pretrained_cfg["std"])


GUIDES["timm"] = timm_guide

"""Finds the stages of a backbone: from its framework's description or, without one, in a forward pass.

Stages are numbered as in the papers: 0 is the stem (convolution, normalisation, ReLU; before max-pooling) and
1 to 4 are the residual stages, whose strides are 4, 8, 16 and 32 in a ResNet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn

from gcisg_core.probe import Pass, Seen, StageLocation, look

BACKBONES = ("backbone", "image_encoder")  # names of the backbone in task models
# Names of the network with the pretrained weights in wrappers.
INNER = ("bottom_up", "backbone", "net", "body", "timm_model")
SHARE = 1 / 3  # a part with fewer parameters than this share of the largest one of its stride does not end a stage
BLOCKS = 3  # this many blocks of one stride are divided in thirds

_found: WeakKeyDictionary[nn.Module, tuple[list[str], dict[int, StageLocation]]] = WeakKeyDictionary()


def find_backbone(model: nn.Module) -> nn.Module | None:
    """The network in a task model that gets the images, if it has one of the usual names."""
    return next((part for name in BACKBONES if isinstance(part := getattr(model, name, None), nn.Module)), None)


def below_pyramid(backbone: nn.Module) -> nn.Module:
    """The network below a feature pyramid (or a simple one); other networks are returned unchanged."""
    below = getattr(backbone, "bottom_up", getattr(backbone, "net", backbone))
    return below if isinstance(below, nn.Module) else backbone


def find_stages(backbone: nn.Module) -> dict[int, StageLocation]:
    """Find the stages of a backbone.

    Described are the ResNets of torchvision, MMSegmentation and Detectron2 by their names, and timm's networks by their
    ``feature_info``. Others are seen in one pass: the last map of stride 16 is stage 3 and the last of stride 32 is
    stage 4, among the items of the network's own output if both are there, else among its parts. If it has no stride
    32, stage 4 is the deepest: the last item of an output whose strides rise; or, where three blocks or more have the
    deepest stride (plain ViTs, dilated networks), the last of them, stages 2 and 3 being at a third and two thirds of
    them; or the last map of that stride, the stages before having half the stride each.

    Raises:
        ValueError: no stage can be found.
    """
    names = [name for name, _ in backbone.named_modules()]
    known = _found.get(backbone)
    if known is None or known[0] != names:
        known = _found[backbone] = names, _find(backbone)
    return dict(known[1])


def _find(backbone: nn.Module) -> dict[int, StageLocation]:
    inner = next((p for p, m in backbone.named_modules() if p.rpartition(".")[2] in INNER and _has_parts(m)), "")
    prefix = f"{inner}." if inner else ""
    named = _named(backbone.get_submodule(inner))
    if named:
        return {stage: _within(prefix, place) for stage, place in named.items()}
    seen = look(backbone)
    described = [part for part in map(seen.parts.get, _feature_info(backbone, inner)) if part]
    found = (not inner and _by_stride(seen.outputs)) or _by_stride(described)
    found = found or (not inner and _rising(seen.outputs)) or _of_parts(backbone, seen, prefix)
    if not found:
        children = ", ".join(name for name, _ in backbone.named_children()) or "none"
        raise ValueError(
            f"the stages of {type(backbone).__name__} are not known; say where they are: "
            f"stage_locations={{3: 'path.of.submodule', 4: ...}}; its children: {children}"
        )
    return {stage: found[stage].place for stage in sorted(found)}


def _has_parts(module: nn.Module) -> bool:
    """Whether it is a network, and not a layer or a list of networks, which cannot be called."""
    return any(True for _ in module.children()) and not isinstance(module, nn.ModuleList | nn.ModuleDict)


def _within(prefix: str, place: StageLocation) -> StageLocation:
    """Convert a location in the inner network to one in the outer network."""
    text = str(place)
    return text.replace("(", f"({prefix}", 1) if "(" in text else f"{prefix}{text}"


def _path(seen: Seen) -> str:
    """The path of a submodule that returned channels first or last."""
    return str(seen.place).removeprefix("tokens(").removesuffix(")")


def _named(backbone: nn.Module) -> dict[int, StageLocation]:
    """The stages of ResNets of torchvision, MMSegmentation and Detectron2, by the names of their children."""
    children = dict(backbone.named_children())
    # MobileNets have a layer0 or a layer5, and HRNet has a layer1 alone.
    if {"layer1", "layer2"} <= children.keys() and not {"layer0", "layer5"} & children.keys():
        stem = "stem" if "stem" in children else "relu"
        return {0: stem, **{stage: f"layer{stage}" for stage in range(1, 5) if f"layer{stage}" in children}}
    if "res2" in children and "stem" in children:  # stems have one or three convolutions and no ReLU module
        last = [name for name, _ in children["stem"].named_children() if name.startswith("conv")][-1]
        stages = {stage: f"res{stage + 1}" for stage in range(1, 5) if f"res{stage + 1}" in children}
        return {0: f"relu(stem.{last})", **stages}
    return {}


def _feature_info(backbone: nn.Module, inner: str) -> list[str]:
    """The paths of the submodules that timm describes, in their order."""
    info: Any = getattr(backbone.get_submodule(inner), "feature_info", None)
    entries = getattr(info, "info", info)
    if not isinstance(entries, Sequence):
        return []
    names = [entry.get("module", "") for entry in entries if isinstance(entry, dict)]
    return [f"{inner}.{name}" if inner else name for name in names]


def _by_stride(seen: Iterable[Seen]) -> dict[int, Seen]:
    """The last map of each stride, if strides 16 and 32 exist."""
    found = {one.level: one for one in seen if 0 <= one.level <= 4}
    return found if {3, 4} <= found.keys() else {}


def _rising(seen: Sequence[Seen]) -> dict[int, Seen]:
    """The last maps of an output as the last stages, if their strides rise (as in encoders, not in decoders)."""
    levels = [one.level for one in seen]
    return dict(zip((4, 3, 2, 1), reversed(seen), strict=False)) if levels == sorted({*levels}) and levels[1:] else {}


def _of_parts(backbone: nn.Module, seen: Pass, prefix: str) -> dict[int, Seen]:
    """The stages among the submodules with this path prefix."""
    parts = [*_outermost(backbone, seen.parts, prefix).values()]
    levels = {part.level for part in parts if part.level <= 4}
    if not levels:
        return {}
    deepest = max(levels)
    blocks = [part for part in parts if part.level == deepest and part.is_block]
    if not {3, 4} <= levels and len(blocks) >= BLOCKS:
        ends = {stage: blocks[-(-len(blocks) * third // 3) - 1] for stage, third in ((2, 1), (3, 2))}
        return {**ends, 4: _with_norm(parts, blocks[-1])}
    found: dict[int, Seen] = {}
    for level in range(deepest, -1, -1):
        if level not in levels:
            break
        end = _last(parts, level)
        found[level + 4 - deepest] = end
        parts = parts[: parts.index(end)]  # a decoder's later maps are not stages
        levels = {part.level for part in parts}
    return found


def _outermost(backbone: nn.Module, parts: dict[str, Seen], prefix: str) -> dict[str, Seen]:
    """The outermost parts; sequences and encoders are replaced by their parts."""
    modules = dict(backbone.named_modules())
    kinds = Counter(type(modules[path]) for path in parts)

    def is_open(path: str) -> bool:
        once = kinds[type(modules[path])] == 1 or isinstance(modules[path], nn.Sequential)
        return once and _is_opened(modules[path], path, parts)

    closed = {path: part for path, part in parts.items() if path.startswith(prefix) and not is_open(path)}
    return {path: part for path, part in closed.items() if not any(p in closed for p in _parents(path))}


def _parents(path: str) -> list[str]:
    names = path.split(".")
    return [".".join(names[:count]) for count in range(1, len(names))]


def _is_opened(module: nn.Module, path: str, parts: dict[str, Seen]) -> bool:
    """Whether a module is a sequence of blocks or of strides, or holds a chain of equal blocks, as encoders do."""
    if isinstance(module, nn.Sequential):
        inner = [parts[name] for name in (f"{path}.{child}" for child, _ in module.named_children()) if name in parts]
        return any(part.is_block for part in inner) or len({part.level for part in inner}) > 1
    for name, child in module.named_modules():
        if isinstance(child, nn.Sequential | nn.ModuleList):
            chain = [parts.get(f"{path}.{name}.{index}") for index, _ in child.named_children()]
            shapes = {(part.stride, part.channels, part.is_block) if part else None for part in chain}
            if len(chain) >= BLOCKS and len(shapes) == 1 and chain[0] and chain[0].is_block:
                return True
    return False


def _last(parts: Sequence[Seen], level: int) -> Seen:
    """The last large part of a level, with the parts after it."""
    there = [part for part in parts if part.level == level]
    most = max(part.parameters for part in there)
    return _with_norm(there, [part for part in there if part.parameters >= SHARE * most][-1])


def _with_norm(parts: Sequence[Seen], end: Seen) -> Seen:
    """The normalisation or activation of the same stride that follows a part in the same network; else the part."""
    beside = {_above(_path(end)), _above(_above(_path(end)))}
    for part in parts[parts.index(end) + 1 :]:
        if part.is_block or part.level != end.level or _above(_path(part)) not in beside:
            break
        end = part
    return end


def _above(path: str) -> str:
    return path.rpartition(".")[0]

"""Loads initial weights of any common origin into any ResNet.

Names of the file and of the backbone are converted to those of torchvision (with ``stem.0`` to ``stem.7`` for the three
convolutions of a deep stem, as in MMSegmentation). Accepted are the names of torchvision, timm,
MMPretrain, MMSegmentation, Detectron2 and Caffe2 (MSRA), under any prefix (``backbone.``, ``module.encoder_q.``,
``backbone.bottom_up.``). Backbones that are not ResNets need weights under their own names. IBN-Nets accept plain
weights, those of their authors (``bn1.IN``, ``bn1.BN``) and their own.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gcisg_core.config import require
from gcisg_core.ibn import SHARE, added_names, ibn_layers, join_halves
from gcisg_core.problems import DataError
from gcisg_core.ranks import rank

MIN_MATCH_RATIO = 0.9

_ANCHORS = ("layer1.0.", "res2.0.", "res2_0_")  # the first block of a ResNet: torchvision's, Detectron2's, Caffe2's
_AVERAGED = re.compile(r"encoder_k|momentum|target|teacher|ema\b|regularizer")  # copies of the network in the same file
_CAFFE2 = re.compile(r"res(?P<stage>\d)_(?P<block>\d+)_branch(?P<part>1|2[abc])(?P<norm>_bn)?_(?P<tensor>\w+)")
_CAFFE2_TENSORS = {
    "w": "weight", "b": "bias", "s": "weight", "gamma": "weight", "beta": "bias", "rm": "running_mean",
    "riv": "running_var", "running_mean": "running_mean", "running_var": "running_var",
}  # fmt: skip
_STATISTICS = ("running_mean", "running_var")
_NO_WEIGHTS = ("num_batches_tracked", SHARE)


def load_initial_weights(
    backbone: nn.Module, state: Mapping[str, Tensor], file: object, min_match_ratio: float = MIN_MATCH_RATIO
) -> None:
    """Load the tensors that fit, and print which ones matched and which did not.

    Args:
        backbone: Changed in place, unless the weights are refused.
        state: See :func:`gcisg_core.safe_load.read_state_dict`.
        file: The file's name, for messages.
        min_match_ratio: The share of tensors that must match: of the backbone's, and of the file's backbone
            tensors (those of a deeper network do not fit). Another stem is always refused, unless the share is 0,
            which loads whatever fits.

    If the file has no running statistics, weight and bias have absorbed them (MSRA): 0 and 1 are loaded.

    Raises:
        DataError: too few tensors match, or the file is of another kind of network: deep and plain stems differ, or it
            holds an IBN-Net's weights and the backbone is not one.
        ValueError: `min_match_ratio` is not in [0, 1].
    """
    require(0 <= min_match_ratio <= 1, "min_match_ratio", min_match_ratio, "in [0, 1]")
    match = match_names(backbone, state)
    report = f"initial weights {file} for {type(backbone).__name__}: {match}"
    if match.share < min_match_ratio or (match.difference and min_match_ratio > 0):
        why = f"{match.difference}; " if match.difference else ""
        remedy = (
            f"Give weights of this network. To load only what fits, set min_match_ratio to {match.share:.2f} or less "
            f"(0 for another kind of network); it is {min_match_ratio}"
        )
        raise DataError(file, f"is for another network, not for {type(backbone).__name__}: {why}{match}", remedy)
    own = backbone.state_dict()
    kept = {name: own[name] for name in added_names(backbone)}  # tensors that the file lacks are kept and reported
    backbone.load_state_dict(kept | match.state, strict=False)
    if rank() == 0:
        print(report)


@dataclass
class Match:
    """What :func:`match_names` found.

    Attributes:
        state: The tensors that fit, under the backbone's names.
        total: Tensors that had to match.
        prefix: The common prefix of the names in the file.
        wrong: The backbone's names that the file lacks or has in another shape, with the reason.
        unused: Names of the file that were not used.
        difference: Why the file is of another kind of network (stem, IBN-Net); empty if it is not.
        notes: Further remarks.
    """

    state: dict[str, Tensor]
    total: int
    prefix: str
    wrong: list[str]
    unused: list[str]
    difference: str
    notes: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        return len(self.state) / self.total if self.total else 0.0

    def __str__(self) -> str:
        return "; ".join(self._parts())

    def _parts(self) -> Iterator[str]:
        yield f"{len(self.state)} of {self.total} tensors match ({100 * self.share:.0f} %)"
        if self.prefix:
            yield f"prefix {self.prefix!r}"
        for what, names in (("not loaded", self.wrong), ("in the file but not used", self.unused)):
            if names:
                yield f"{what}: {', '.join(names[:4])}{f' and {len(names) - 4} more' if len(names) > 4 else ''}"
        yield from self.notes


def match_names(backbone: nn.Module, state: Mapping[str, Tensor]) -> Match:
    """Find the backbone's tensors in a state dict; nothing is loaded."""
    own, state = backbone.state_dict(), join_halves(state)
    inner = _common_prefix(own)  # of a network in a wrapper (mmseg's TIMMBackbone, Detectron2's SimpleFeaturePyramid)
    canonical = canonical_names(name.removeprefix(inner) for name in own)
    names = {canonical[name.removeprefix(inner)]: name for name in own if not name.endswith(_NO_WEIGHTS)}
    prefix, theirs = _best_prefix(names, state)
    added = added_names(backbone)
    # The file may lack statistics that an IBN-Net does not use.
    unused_here = {name for name in added if name.endswith(_STATISTICS)}
    names = {new: name for new, name in names.items() if new in theirs or name not in unused_here}
    notes = []
    if any(name in added and new not in theirs for new, name in names.items()):
        notes.append("the normalisations that IBN-Net adds start as the identity")
    if added and not ibn_layers(state):
        notes.append("the running statistics of instance normalised channels are not used")
    absorbed = _absorbed(backbone, names, theirs)
    if absorbed:
        notes.append("without running statistics, so 0 and 1 are used")
    found: dict[str, Tensor] = {}
    wrong: list[str] = []
    for new, name in names.items():
        value = absorbed[new] if new in absorbed else state.get(theirs.get(new, ""))
        if value is None:
            wrong.append(name)
        elif value.shape != own[name].shape:
            wrong.append(f"{name} (shape {tuple(value.shape)}, expected {tuple(own[name].shape)})")
        else:
            found[name] = value
    tops = {name.partition(".")[0] for name in names} | {"stem", "conv1", "bn1"}
    of_backbone = [name for name in theirs if name.partition(".")[0] in tops]
    used = {theirs[new] for new, name in names.items() if name in found and new in theirs}
    unused = [name for name in state if name not in used and not name.endswith(_NO_WEIGHTS)]
    if any("res2_0_" in name for name in theirs.values()) and not _stride_in_1x1(backbone):
        notes.append("note: Caffe2's (MSRA's) ResNets take BGR and stride in the 1 x 1 convolution, this one does not")
    total = max(len(names), len(of_backbone) + len(absorbed))
    difference = _stems(names, own, theirs, state) or _ibn_difference(own, prefix, state)
    return Match(found, total, prefix, wrong, unused, difference, notes)


def _common_prefix(names: Iterable[str]) -> str:
    """The common module prefix of all names in a state dict, with a dot at the end; empty if there is none."""
    paths = [name.split(".")[:-1] for name in names]
    shared = itertools.takewhile(lambda parts: len({*parts}) == 1, zip(*paths, strict=False))
    return "".join(f"{parts[0]}." for parts in shared)


def canonical_names(names: Iterable[str]) -> dict[str, str]:
    """Convert a ResNet's names, without prefix, to torchvision's form; other names are not changed."""
    names = list(names)
    deep = any(re.match(r"stem\.(0|conv2)\.|conv1\.0\.", name) for name in names)
    return {name: _canonical(name, deep) for name in names}


def _canonical(name: str, deep: bool) -> str:
    caffe2 = _CAFFE2.fullmatch(name)
    if caffe2:
        part, tensor = caffe2["part"], _CAFFE2_TENSORS.get(caffe2["tensor"], caffe2["tensor"])
        if part == "1":
            layer = f"downsample.{1 if caffe2['norm'] else 0}"
        else:
            layer = ("bn" if caffe2["norm"] else "conv") + str("abc".index(part[1]) + 1)
        return f"layer{int(caffe2['stage']) - 1}.{caffe2['block']}.{layer}.{tensor}"
    if re.fullmatch(r"(res_conv1_bn|conv1)_[a-z_]+", name):
        layer, _, tensor = name.replace("res_conv1_bn_", "bn1 ").replace("conv1_", "conv1 ").partition(" ")
        return f"{layer}.{_CAFFE2_TENSORS.get(tensor, tensor)}"
    if name.startswith(("stem.conv", "res")):  # Detectron2
        name = re.sub(r"^res(\d)\.", lambda match: f"layer{int(match[1]) - 1}.", name)
        name = name.replace(".shortcut.norm.", ".downsample.1.").replace(".shortcut.", ".downsample.0.")
        name = re.sub(r"\bconv(\d)\.norm\.", r"bn\1.", name)
        if not name.startswith("stem."):
            return name
        kind, number, tensor = re.fullmatch(r"stem\.(conv|bn)(\d)\.(.*)", name).groups()  # type: ignore[union-attr]
        return f"stem.{3 * int(number) - 3 + (kind == 'bn')}.{tensor}" if deep else f"{kind}{number}.{tensor}"
    if deep:  # timm has the last normalisation of a deep stem outside of it
        return re.sub(r"^bn1\.", "stem.7.", re.sub(r"^conv1\.(\d)\.", r"stem.\1.", name))
    return name


def _best_prefix(names: Mapping[str, str], state: Mapping[str, Tensor]) -> tuple[str, dict[str, str]]:
    """Return the prefix under which most canonical `names` are found, and canonical name -> name in the file."""
    residual = any(name.startswith(_ANCHORS) for name in names)
    anchors = _ANCHORS if residual else tuple(names)[:1]
    pattern = re.compile(rf"(|.*?\.)({'|'.join(map(re.escape, anchors))})")
    prefixes = dict.fromkeys(match[1] for match in map(pattern.match, state) if match)
    best, score = ("", dict[str, str]()), (False, -1)
    for prefix in prefixes:
        inside = {name[len(prefix) :]: name for name in state if name.startswith(prefix)}
        theirs = {new: inside[name] for name, new in canonical_names(inside).items() if not name.endswith(_NO_WEIGHTS)}
        # The trained network before an averaged copy of it, then the first of those that fit best.
        this = (not _AVERAGED.search(prefix), sum(name in names for name in theirs))
        if this > score:
            best, score = (prefix, theirs), this
    return best


def _absorbed(backbone: nn.Module, names: Mapping[str, str], theirs: Mapping[str, str]) -> dict[str, Tensor]:
    """Statistics that change nothing, as in Detectron2's frozen layers, for a file without any."""
    found: dict[str, Tensor] = {}
    if any(name.endswith(_STATISTICS) for name in theirs):
        return found
    for new, name in names.items():
        layer_name, _, tensor = new.rpartition(".")
        if tensor in _STATISTICS and f"{layer_name}.weight" in theirs:
            layer: Any = backbone.get_submodule(name.rpartition(".")[0])
            value = layer.get_buffer(tensor)
            fill = 0 if tensor == "running_mean" else 1 - layer.eps
            found[new] = torch.full_like(value, fill)
    return found


def _stems(
    names: Mapping[str, str], own: Mapping[str, Tensor], theirs: Mapping[str, str], state: Mapping[str, Tensor]
) -> str:
    """How the stems differ; empty if they do not, or if one side has no stem."""
    here = _stem({new: own[name] for new, name in names.items()})
    there = _stem({new: state[name] for new, name in theirs.items()})
    return f"the file has {there}, the backbone {here}" if here and there and here[:6] != there[:6] else ""


def _ibn_difference(own: Mapping[str, Tensor], prefix: str, state: Mapping[str, Tensor]) -> str:
    """Which IBN-Net layer of the file differs from the backbone's layer; empty if there is none."""
    inside = {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}
    here, there = (
        ibn_layers({new: tensors[name] for name, new in canonical_names(tensors).items()}) for tensors in (own, inside)
    )
    tops = {name.partition(".")[0] for name in canonical_names(own).values()}
    other = [path for path, share in there.items() if path.partition(".")[0] in tops and here.get(path) != share]
    return (
        f"the file is of an IBN-Net with an instance normalisation in {other[0]} (backbone_plugins: ibn), the backbone "
        f"has {'another share of channels' if other[0] in here else 'none'} there"
        if other
        else ""
    )


def _stem(tensors: Mapping[str, Tensor]) -> str:
    if "layer1.0.conv1.weight" not in tensors:
        return ""
    if "stem.3.weight" in tensors:
        return "a deep stem (three 3 x 3 convolutions: ResNetV1c and V1d of MMSegmentation, resnet50d of timm)"
    if "conv1.weight" in tensors:
        size = tensors["conv1.weight"].shape[-1]
        return f"a plain stem (one {size} x {size} convolution: ResNet of torchvision, MMSegmentation, Detectron2)"
    return ""


def _stride_in_1x1(backbone: nn.Module) -> bool:
    """Whether the second stage's first block strides in its first convolution, the only one in basic blocks."""
    for path in ("layer2.0", "res3.0"):
        block: Any = dict(backbone.named_modules()).get(path)
        if block is not None:
            return not hasattr(block, "conv3") or tuple(block.conv1.stride) != (1, 1)
    return True

"""Finds what the parts of a network return, in one pass of a black image; the network is not changed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import product
from typing import Any, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Where a stage's output is: the dotted path of a submodule, "relu(path)" for a ReLU behind it that is not a submodule,
# "tokens(path)" where the submodule returns channels last, or the key or position in the backbone's own output.
StageLocation: TypeAlias = "str | int"

WIDE = ((192, 256), (224, 280))  # not square, so that rows and columns cannot be mistaken for channels
RGB, BANDS = 3, 32  # a convolution of more channels is none of images
CLASS_TOKENS = 8  # a class token and registers: no known network has more
UNEQUAL = 0.2  # how far the strides of both axes may differ (log): convolutions without padding lose a border


class Seen(NamedTuple):
    """The output of a part of a network.

    Attributes:
        place: Location of the output.
        stride: Image pixels per step in the map.
        channels: C.
        parameters: Number of parameters of the part; 0 for an item of the network's output.
        is_block: Whether the part has parts.
    """

    place: StageLocation
    stride: float
    channels: int
    parameters: int = 0
    is_block: bool = False

    @property
    def level(self) -> int:
        """0 for stride 2, 1 for 4, ..., 4 for 32: the stage of a ResNet of that stride, or of one a little smaller."""
        return round(math.log2(self.stride) - 0.1) - 1


class Pass(NamedTuple):
    """The maps in a network's output, and those of its submodules, by path, in order."""

    outputs: list[Seen]
    parts: dict[str, Seen]


def stated_sizes(network: nn.Module) -> list[tuple[int, int]]:
    """Image sizes (H, W) that a network states."""
    sizes = []
    for module in (network, getattr(network, "patch_embed", None)):
        for name in ("img_size", "image_size"):
            size = getattr(module, name, None)
            if isinstance(size, int):
                sizes.append((size, size))
            elif isinstance(size, Sequence) and len(size) == 2:
                sizes.append((int(size[0]), int(size[1])))
    return list(dict.fromkeys(sizes))


def image_sizes(network: nn.Module) -> list[tuple[int, int]]:
    """Sizes (H, W) that a network may accept, the likeliest first, including the sizes that it states."""
    return list(dict.fromkeys([*WIDE, *stated_sizes(network), (224, 224), (512, 512)]))


def takes(network: nn.Module, size: tuple[int, int]) -> bool:
    """Whether an image (H, W) passes through a network."""
    try:
        with unchanged(network):
            network(black_image(network, size))
    except Exception:  # whatever a network of others raises
        return False
    return True


def resized_to_fit(network: nn.Module, images: Tensor) -> Tensor:
    """Resize images (B, C, H, W) to a size that the network states, if it does not accept theirs."""
    own, given = stated_sizes(network), (images.shape[-2], images.shape[-1])
    if not own or given in own or takes(network, given):
        return images
    size = next((size for size in own if takes(network, size)), None)
    return images if size is None else F.interpolate(images, size, mode="bilinear", antialias=True)


@contextmanager
def naming_sizes(network: nn.Module, remedy: str) -> Iterator[None]:
    """Inside the block, a network's error for images of a wrong size names the size that it accepts.

    Args:
        network: A part of the model that runs.
        remedy: The setting to change, with ``{size}`` for (H, W).

    Raises:
        ValueError: replaces the network's own error.
    """
    seen: list[tuple[int, int]] = []
    handle = network.register_forward_pre_hook(lambda _, inputs: seen.extend(tuple(x.shape[-2:]) for x in inputs[:1]))
    try:
        yield
    except (RuntimeError, AssertionError) as error:
        given = seen[-1] if seen else None  # the passes below are seen too
        own = next((size for size in stated_sizes(network) if takes(network, size)), None)
        if given is None or own is None or own == given or takes(network, given):
            raise
        (height, width), (rows, columns) = given, own
        raise ValueError(
            f"{type(network).__name__} takes images of {rows} x {columns} pixels, got {height} x {width}: "
            + remedy.format(size=own)
        ) from error
    finally:
        handle.remove()


@contextmanager
def in_eval_mode(module: nn.Module) -> Iterator[None]:
    """Put the module in eval mode inside the block; afterwards, restore the mode of each part."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


@contextmanager
def same_buffers(network: nn.Module) -> Iterator[None]:
    """Restore the network's buffers after the block."""
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, buffer in network.named_buffers():
                if name in buffers:
                    buffer.copy_(buffers[name])


@contextmanager
def unchanged(network: nn.Module) -> Iterator[None]:
    """Run the block in eval mode without gradients; afterwards, restore the network and the random state."""
    devices = {tensor.device.index for tensor in network.parameters() if tensor.is_cuda}
    with same_buffers(network), in_eval_mode(network), torch.no_grad(), torch.random.fork_rng(devices=devices):
        yield


def black_image(network: nn.Module, size: tuple[int, int]) -> Tensor:
    """Return zeros (1, C, H, W) on the network's device; C is 3, or as the network's first convolution needs."""
    first = next((part.in_channels for part in network.modules() if isinstance(part, nn.Conv2d)), RGB)
    return next(network.parameters()).new_zeros(1, first if first <= BANDS else RGB, *size)


def look(network: nn.Module) -> Pass:
    """Run one pass of a black image of a size that the network accepts.

    Raises:
        ValueError: the network accepts none of the sizes, or needs more than an image.
    """
    errors = []
    for size in image_sizes(network):
        parts: dict[str, Seen] = {}
        handles = [
            module.register_forward_hook(partial(_note, parts, path, size))
            for path, module in network.named_modules()
            if path
        ]
        try:
            with unchanged(network):
                output = network(black_image(network, size))
            return Pass(_outputs(output, size), parts)
        except Exception as error:  # whatever a network of others raises
            errors.append(f"{size[0]} x {size[1]}: {type(error).__name__}: {error}".splitlines()[0])
        finally:
            for handle in handles:
                handle.remove()
    raise ValueError(
        f"the stages of {type(network).__name__} are not known, and no black image passes through it "
        f"({'; '.join(errors)}). Say where they are: stage_locations={{3: 'path.of.submodule', 4: ...}}"
    )


def _note(parts: dict[str, Seen], path: str, size: tuple[int, int], module: nn.Module, _: Any, output: Any) -> None:
    seen = see(path, output, size)
    parts.pop(path, None)  # a module that runs twice counts as it ran last
    if seen is not None:
        count = sum(parameter.numel() for parameter in module.parameters())
        parts[path] = seen._replace(parameters=count, is_block=any(True for _ in module.children()))


def _outputs(output: Any, size: tuple[int, int]) -> list[Seen]:
    """The maps (B, C, H, W) in a list, tuple or dictionary."""
    items = output.items() if isinstance(output, Mapping) else enumerate(output) if isinstance(output, Sequence) else ()
    seen = [see(place, value, size) for place, value in items if isinstance(value, Tensor) and value.ndim == 4]
    return [one for one in seen if one is not None and not str(one.place).startswith("tokens(")]


def see(place: StageLocation, output: Any, size: tuple[int, int]) -> Seen | None:
    """Describe an output as a feature map of an image of the given size; None if it is not a map."""
    if not isinstance(output, Tensor) or output.shape[0] != 1 or output.ndim not in (3, 4):
        return None
    tokens = f"tokens({place})"
    if output.ndim == 3:
        grid = token_grid(output.shape[1], size)
        return Seen(tokens, size[0] / grid[0], output.shape[2]) if grid else None
    first, last = (_strides(output.shape[axes], size) for axes in (slice(2, 4), slice(1, 3)))
    if first[1] <= min(last[1], UNEQUAL):
        return Seen(place, first[0], output.shape[1])
    return Seen(tokens, last[0], output.shape[3]) if last[1] <= UNEQUAL else None


def _strides(shape: Sequence[int], size: tuple[int, int]) -> tuple[float, float]:
    """The stride of a map, and the difference between those of its axes (log); infinite if it is not a map."""
    rows, columns = (pixels / max(steps, 1) for pixels, steps in zip(size, shape, strict=True))
    return math.sqrt(rows * columns), abs(math.log(rows / columns)) if min(rows, columns) >= 1 else math.inf


def token_grid(tokens: int, size: tuple[int, int]) -> tuple[int, int] | None:
    """Rows and columns of the patches of an image (H, W) among its tokens, the first of which may be class tokens.

    Patches are square. If they divide the image, the grid is the largest such one; otherwise the image may be cropped
    or padded to whole patches.
    """
    exact: list[tuple[int, int]] = []
    rounded: list[tuple[int, int]] = []
    for patch, up in product(range(1, max(size) + 1), (0, 1)):
        rows, columns = (-(-pixels // patch) if up else pixels // patch for pixels in size)
        if 0 <= tokens - rows * columns <= CLASS_TOKENS and rows * columns:
            (rounded if size[0] % patch or size[1] % patch else exact).append((rows, columns))
    return max(exact or rounded, key=math.prod, default=None)


def tokens_to_maps(output: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, N, C) without class tokens, or (B, h, w, C), as maps (B, C, h, w) of images of a size (H, W).

    Raises:
        ValueError: the tokens do not fit an image of that size.
    """
    if output.ndim == 4:
        return output.permute(0, 3, 1, 2)
    grid = token_grid(output.shape[1], size) if output.ndim == 3 else None
    if grid is None:
        raise ValueError(f"{tuple(output.shape)} are not tokens (B, N, C) of an image of {size[0]} x {size[1]} pixels")
    return output[:, output.shape[1] - math.prod(grid) :].transpose(1, 2).unflatten(2, grid)

"""The miniature's stand-in for ImageNet: one network that knows 81 other glyphs in the real look, for all three tasks.

It is trained on scenes (which glyph is at each place?) and on pictures of single glyphs (which one is it?), on the
strip of the photographs that no other part of the benchmark shows, and shipped as `reference.safetensors` in
torchvision's form, with the classifier of the single glyphs as `fc`. Make it again:

    python -m gcisg_suite.miniature.reference --output reference.safetensors

One thread, about an hour. The same processor and versions give the same file bit for bit.
"""

from __future__ import annotations

import argparse
import hashlib
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gcisg_core.files import replacing
from gcisg_core.guides import IMAGENET_MEAN, IMAGENET_STD
from gcisg_suite.progress import progress

from .classification import reference_pictures
from .glyphs import GLYPHS, draw_glyph, scanned
from .network import WIDTHS, MiniResNet, one_thread
from .parallel import in_parallel
from .scene import HEIGHT, WIDTH, compose
from .styles import photo_background, real_look

FILE = Path(__file__).with_name("reference.safetensors")
SHA256 = "608a7846f22e05016068fdc6e362a8fbb69d64ce9b38347e2fdc76878fc75760"  # of that file
STREAM = 21  # first word of its random numbers
SIDES = (28, 52)  # smallest and largest side of a glyph in a scene, pixels
STRIDE = 4  # of the labels that the scenes are learnt with
BACKGROUND_WEIGHT = 0.1
MEAN, STD = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))


def reference_scene(seed: int, index: int) -> tuple[np.ndarray, np.ndarray]:
    """A scene of other glyphs: picture (96, 128, 3) uint8 and labels (24, 32) uint8, 0 for the background."""
    rng = np.random.default_rng([STREAM, seed, index])
    shares = dict.fromkeys(range(len(GLYPHS)), 1.0)

    def draw(label: int, side: int) -> np.ndarray:
        return scanned(draw_glyph(GLYPHS[label], rng), side)

    ink, placed = compose(draw, shares, SIDES, rng, whole=False)
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    for label, mask in placed:
        labels[mask] = label + 1
    picture = real_look(photo_background("reference", (HEIGHT, WIDTH), rng), ink, rng)
    return picture, labels[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]


def scenes(seed: int, first: int, count: int) -> tuple[Tensor, Tensor]:
    """Pictures (N, 3, 96, 128) uint8 and labels (N, 24, 32) uint8 of these scenes."""
    drawn = in_parallel(partial(reference_scene, seed), range(first, first + count))
    pictures, labels = zip(*drawn, strict=True)
    return as_batch(np.stack(pictures)), torch.from_numpy(np.stack(labels))


def glyphs(part: str, seed: int, per_class: int) -> tuple[Tensor, Tensor]:
    """Pictures (N, 3, 64, 64) uint8 of single glyphs and labels (N,)."""
    draw = partial(_class, part, seed, per_class)
    pictures = [*in_parallel(draw, range(len(GLYPHS)))]
    return as_batch(np.concatenate(pictures)), torch.arange(len(GLYPHS)).repeat_interleave(per_class)


def _class(part: str, seed: int, per_class: int, label: int) -> np.ndarray:
    return np.stack([*reference_pictures(part, seed, per_class, label)])


def as_batch(pictures: np.ndarray) -> Tensor:
    """(N, H, W, 3) uint8 to (N, 3, H, W)."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2)


def normalise(pixels: Tensor) -> Tensor:
    """uint8 to float with ImageNet's mean and standard deviation."""
    return (pixels / 255 - MEAN) / STD


class SceneHead(nn.Module):
    """A glyph or background at stride 4: three stages brought to one size and added, one convolution."""

    def __init__(self, classes: int, channels: int = 64) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in WIDTHS[1:])
        self.join = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
        )
        self.classify = nn.Conv2d(channels, classes, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps of the four stages -> (B, classes, h, w) at the second one's size."""
        parts = [lateral(x) for lateral, x in zip(self.lateral, maps[1:], strict=True)]
        for x in parts[1:]:
            parts[0] = parts[0] + F.interpolate(x, parts[0].shape[2:], mode="bilinear", align_corners=False)
        scores: Tensor = self.classify(self.join(parts[0]))
        return scores


def shipped_reference(root: Path) -> Path:
    """Put the shipped network into `root` as `reference.pth`, unless it is there; returns its path."""
    goal = root / "reference.pth"
    if not goal.is_file():
        with replacing(goal) as partial_file:
            torch.save(load_file(FILE), partial_file)
    return goal


@one_thread()
def pretrain(
    goal: Path,
    seed: int = 0,
    scenes_count: int = 16000,
    per_class: int = 300,
    iterations: int = 18000,
    every: int = 1000,
    held_out: int = 200,
) -> None:
    """Train the reference: 12 scenes and 24 glyphs a step, SGD-Nesterov 0.1, cosine after a warm-up, decay 5e-4.

    Args:
        goal: the state dict's file, `.safetensors` or torch's; it is written after every evaluation.
        seed: of the pictures, their order and the initial weights.
        scenes_count: scenes that are drawn once and learnt many times.
        per_class: pictures of each single glyph.
        iterations: steps.
        every: steps between two evaluations, which are printed.
        held_out: scenes that it is evaluated on.
    """
    pixels, labels = scenes(seed, 0, scenes_count)
    single, names = glyphs("train", seed, per_class)
    unseen = scenes(seed, scenes_count, held_out), glyphs("val", seed, 5)
    generator = torch.Generator().manual_seed(seed)
    network = MiniResNet(len(GLYPHS), seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = SceneHead(len(GLYPHS) + 1).to(memory_format=torch.channels_last)
    weight = torch.ones(len(GLYPHS) + 1)
    weight[0] = BACKGROUND_WEIGHT
    optimiser = torch.optim.SGD(
        [*network.parameters(), *head.parameters()], 0.1, momentum=0.9, weight_decay=5e-4, nesterov=True
    )
    warm = torch.optim.lr_scheduler.LinearLR(optimiser, 0.01, total_iters=200)
    schedule = torch.optim.lr_scheduler.SequentialLR(
        optimiser, [warm, torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, iterations - 200)], [200]
    )
    for iteration in progress(range(1, iterations + 1), f"reference {seed}", "step"):
        network.train()
        head.train()
        chosen = torch.randint(len(labels), (12,), generator=generator)
        loss = F.cross_entropy(head(network.stages(normalise(pixels[chosen]))), labels[chosen].long(), weight)
        chosen = torch.randint(len(names), (24,), generator=generator)
        loss = loss + F.cross_entropy(network(normalise(single[chosen])), names[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if iteration % every == 0 or iteration == iterations:
            foreground, accuracy = evaluate(network, head, *unseen)
            scores = f"foreground mIoU {foreground:.1f}, accuracy {accuracy:.1f}"
            print(f"step {iteration}: loss {loss:.2f}, {scores}", flush=True)
            state = {name: value.contiguous() for name, value in network.state_dict().items()}
            with replacing(goal) as partial_file:
                (save_file if goal.suffix == ".safetensors" else torch.save)(state, partial_file)


@torch.no_grad()
def evaluate(
    network: MiniResNet, head: SceneHead, held_out: tuple[Tensor, Tensor], single: tuple[Tensor, Tensor]
) -> tuple[float, float]:
    """Mean IoU of the glyphs in scenes and accuracy on single ones, in percent."""
    network.eval()
    head.eval()
    pixels, labels = held_out
    guess = torch.cat([head(network.stages(normalise(part))).argmax(1) for part in pixels.split(50)])
    counts = len(GLYPHS) + 1
    table = torch.bincount((labels.long() * counts + guess).flatten(), minlength=counts**2).view(counts, counts)
    iou = table.diag() / (table.sum(0) + table.sum(1) - table.diag()).clamp(min=1)
    right = torch.cat([network(normalise(part)).argmax(1) for part in single[0].split(100)]) == single[1]
    return 100 * iou[1:].mean().item(), 100 * right.float().mean().item()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="The training of the miniature's reference network.")
    parser.add_argument("--output", type=Path, default=Path("reference.safetensors"), help="the file to write")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives another network")
    parser.add_argument("--scenes", type=int, default=16000, help="scenes that are drawn")
    parser.add_argument("--per-class", type=int, default=300, help="pictures of each single glyph")
    parser.add_argument("--iterations", type=int, default=18000, help="training steps")
    arguments = parser.parse_args()
    pretrain(arguments.output, arguments.seed, arguments.scenes, arguments.per_class, arguments.iterations)
    print(f"{arguments.output}: SHA-256 {hashlib.sha256(arguments.output.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()

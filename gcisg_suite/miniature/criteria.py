"""Re-measure the design criteria of the miniature benchmark; they know nothing of the compared methods.

`python -m gcisg_suite.miniature.criteria --root data/mini/classification` prints a table; 4 to 8 minutes on one
thread. Plain torch and scikit-learn, `dev` split only. Accuracies are means over the classes, in percent.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torchvision.transforms import v2
from tqdm import trange

from gcisg_core.guides import IMAGENET_MEAN, IMAGENET_STD

from .classification import COMPOSITES, prepare, restyled_source_pictures, source_pictures, target_pictures
from .network import MiniResNet, one_thread

MEAN, STD = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
CRITERIA = (  # name of the value, bound, "at least" or "at most"
    ("probe", 92.0, "at least"),
    ("probe - vanilla", 12.0, "at least"),
    ("restyled head", 85.0, "at least"),
    ("restyled head - vanilla", 12.0, "at least"),
    ("vanilla, sd over seeds", 2.0, "at most"),
)


def read_folder(folder: Path) -> tuple[Tensor, Tensor]:
    """All pictures of a folder in VisDA-17's layout: (N, 3, H, W) uint8 and labels (N,)."""
    lines = [line.rsplit(" ", 1) for line in (folder / "image_list.txt").read_text().splitlines()]
    pixels = np.stack([np.asarray(Image.open(folder / path).convert("RGB")) for path, _ in lines])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), torch.tensor([int(label) for _, label in lines])


def stack(pictures: Iterable[tuple[int, np.ndarray]]) -> tuple[Tensor, Tensor]:
    """Pictures from a generator in the form of `read_folder`."""
    labels, pixels = zip(*pictures, strict=True)
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous(), torch.tensor(labels)


def normalise(pixels: Tensor) -> Tensor:
    """uint8 to float with ImageNet's mean and standard deviation."""
    return (pixels / 255 - MEAN) / STD


@torch.no_grad()
def outputs(network: nn.Module, pixels: Tensor) -> Tensor:
    """Evaluation-mode outputs for (N, 3, H, W) uint8, (N, C)."""
    network.eval()
    return torch.cat([network(normalise(part)) for part in pixels.split(500)])


def features(network: MiniResNet, pixels: Tensor) -> np.ndarray:
    """Penultimate features (N, 128)."""
    headless = copy.copy(network)  # shares the weights
    headless._modules = {**network._modules, "fc": nn.Identity()}
    return outputs(headless, pixels).numpy()


def train_reference(pixels: Tensor, labels: Tensor, seed: int = 0, iterations: int = 1200) -> MiniResNet:
    """The reference network: batch 64, SGD-Nesterov 0.1, cosine, weight decay 5e-4; 80 to 200 s on one thread."""
    generator = torch.Generator().manual_seed(seed)
    network = MiniResNet(int(labels.max()) + 1, seed=seed)
    optimiser = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, iterations)
    for _ in trange(iterations, desc=f"reference {seed}", leave=False):
        chosen = torch.randint(len(labels), (64,), generator=generator)
        loss = F.cross_entropy(network(normalise(pixels[chosen])), labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()


def fine_tune(reference: MiniResNet, pixels: Tensor, labels: Tensor, seed: int, iterations: int = 300) -> nn.Module:
    """Vanilla: the reference's backbone with a new head, trained on the source; evaluation weights averaged (0.98)."""
    torch.manual_seed(seed)  # the views draw from the global state
    network = copy.deepcopy(reference)
    network.fc = nn.Linear(network.fc.in_features, 10)
    averaged = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.98), use_buffers=True
    )
    optimiser = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, iterations)
    views = v2.RandAugment(num_ops=1, magnitude=6, num_magnitude_bins=11)
    for _ in trange(iterations, desc=f"vanilla {seed}", leave=False):
        network.train()
        chosen = torch.randint(len(labels), (32,)).repeat(2)
        loss = F.cross_entropy(network(normalise(torch.stack([views(pixels[i]) for i in chosen]))), labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimiser.step()
        schedule.step()
        averaged.update_parameters(network)
    return averaged.module


def measure(reference: MiniResNet, seeds: Iterable[int], per_class: int = 800) -> dict[str, float]:
    """All values of `CRITERIA`, and what they are made of, for one reference network."""
    target, truth = stack(target_pictures("dev"))
    head = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    real = features(reference, target)
    digits = np.arange(len(truth)) // COMPOSITES  # pictures of one digit stay on one side of a split
    probe = balanced_accuracy_score(truth, cross_val_predict(head, real, truth, groups=digits, cv=GroupKFold(5)))
    shapes, names = stack(restyled_source_pictures(0, per_class // 2))
    restyled = balanced_accuracy_score(truth, head.fit(features(reference, shapes), names).predict(real))
    scores = []
    for seed in seeds:
        network = fine_tune(reference, *stack(source_pictures(seed, per_class)), seed)
        scores.append(100 * balanced_accuracy_score(truth, outputs(network, target).argmax(1)))
        print(f"vanilla, seed {seed}: {scores[-1]:.1f}", flush=True)
    vanilla = float(np.mean(scores))
    return {
        "probe": 100 * probe,
        "restyled head": 100 * restyled,
        "vanilla": vanilla,
        "probe - vanilla": 100 * probe - vanilla,
        "restyled head - vanilla": 100 * restyled - vanilla,
        "vanilla, sd over seeds": float(np.std(scores, ddof=1)) if len(scores) > 1 else float("nan"),
    }


@one_thread()
def main() -> None:
    """Command line; writes the data first where they are missing."""
    parser = argparse.ArgumentParser(description="Measure the design criteria of the miniature benchmark (dev split).")
    parser.add_argument("--root", type=Path, default=Path("data/mini/classification"), help="the benchmark's folder")
    parser.add_argument("--seeds", type=int, default=5, help="number of source seeds for the fine-tuning")
    arguments = parser.parse_args()
    root = prepare(arguments.root)
    reference = train_reference(*read_folder(root / "reference" / "train"))
    pixels, labels = read_folder(root / "reference" / "val")
    own = 100 * (outputs(reference, pixels).argmax(1) == labels).float().mean()
    print(f"reference, accuracy on its own val: {own:.1f}")
    values = measure(reference, range(arguments.seeds))
    for name, value in values.items():
        bound = next((f"{how} {limit:g}" for key, limit, how in CRITERIA if key == name), "")
        print(f"{name:28s}{value:7.1f}   {bound}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python
"""The whole of GCISG on plain torch: read it from top to bottom beside the paper (ECCV 2022, Eq. 1 to 10).

Trains a ResNet on a folder of synthetic images and evaluates it on a folder of real ones. On the miniature benchmark:

    python tools/prepare_mini.py --tasks classification
    python examples/gcisg_from_scratch.py
"""

from __future__ import annotations

import argparse
import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from gcisg_suite.miniature.network import MiniResNet  # torchvision's ResNet in small; any of torchvision's would do

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
STAGES = ("layer3", "layer4")


# --- The networks: student f_s, its moving average, the frozen pretrained reference f_r ------------------------------
def stages(network: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Feature maps of the last two stages, (B, C, H, W) each."""
    x = network.maxpool(network.relu(network.bn1(network.conv1(images))))
    x3 = network.layer3(network.layer2(network.layer1(x)))
    return {"layer3": x3, "layer4": network.layer4(x3)}


def projector(channels: int, dim: int = 128) -> nn.Module:
    """h_s: from pooled features to the space in which images are related."""
    return nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, dim))


@torch.no_grad()
def average(momentum_encoder: nn.Module, student: nn.Module, decay: float) -> None:
    """The momentum encoder follows the student slowly; BatchNorm's statistics are its own."""
    for mine, theirs in zip(momentum_encoder.parameters(), student.parameters(), strict=True):
        mine.lerp_(theirs, 1 - decay)


# --- Guidance: stay close to what the pretrained network sees in the image (Eq. 5 to 8) ------------------------------
def self_attention_pool(v: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C): places that resemble the mean feature count more."""
    g = v.mean(dim=(2, 3))
    a = torch.einsum("bchw,bc->bhw", v, g)
    a = a / a.sum(dim=(1, 2), keepdim=True)
    return torch.einsum("bchw,bhw->bc", v, a)


def guidance_loss(student: Tensor, reference: Tensor) -> Tensor:
    u, w = F.normalize(self_attention_pool(student)), F.normalize(self_attention_pool(reference))
    return (u - w).square().sum(dim=1).mean()


# --- Causal invariance: two styles of an image relate alike to other images (Eq. 1 to 3) -----------------------------
def causal_invariance_loss(z: Tensor, z_momentum: Tensor, support: Tensor, tau: float, tau_momentum: float) -> Tensor:
    """Cross-entropy of the relations of z (N, d) to the support set (K, d), given those of z_momentum (N, d)."""
    p_momentum = torch.softmax(z_momentum @ support.T / tau_momentum, dim=1)
    return -(p_momentum * torch.log_softmax(z @ support.T / tau, dim=1)).sum(dim=1).mean()


def embed(head: nn.Module, v: Tensor) -> Tensor:
    return F.normalize(head(v.mean(dim=(2, 3))))


class GCISG:
    """Everything around the student: reference, momentum encoder, projectors, and a queue for each stage."""

    def __init__(self, student: nn.Module, queue: int = 1024, tau: float = 0.12, tau_momentum: float = 0.04) -> None:
        self.student, self.tau, self.tau_momentum = student, tau, tau_momentum
        self.reference = copy.deepcopy(student).eval().requires_grad_(False)
        self.momentum_encoder = copy.deepcopy(student).requires_grad_(False)
        widths = {stage: getattr(student, stage)[-1].conv2.out_channels for stage in STAGES}
        self.heads = nn.ModuleDict({stage: projector(width) for stage, width in widths.items()})
        self.first_heads = copy.deepcopy(self.heads).requires_grad_(False)  # h_i: never updated
        self.queues = {stage: F.normalize(torch.randn(queue, 128)) for stage in STAGES}

    def losses(self, view1: Tensor, view2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Guidance, causal invariance, and the student's pooled features of view 1 for the task's head."""
        ours = stages(self.student, view1), stages(self.student, view2)
        with torch.no_grad():
            reference = stages(self.reference, view1)
            theirs = stages(self.momentum_encoder, view1), stages(self.momentum_encoder, view2)
        guidance = sum(guidance_loss(ours[0][stage], reference[stage]) for stage in STAGES)
        invariance = torch.zeros(())
        for stage in STAGES:
            z = [embed(self.heads[stage], maps[stage]) for maps in ours]
            with torch.no_grad():
                z_momentum = [embed(self.first_heads[stage], maps[stage]) for maps in theirs]
            support = self.queues[stage]
            for mine, other in ((z[0], z_momentum[1]), (z[1], z_momentum[0])):
                loss = causal_invariance_loss(mine, other, support, self.tau, self.tau_momentum)
                invariance = invariance + 0.5 * loss
            self.queues[stage] = torch.cat([*z_momentum[::-1], support])[: len(support)]  # the oldest leave
        return guidance, invariance, ours[0]["layer4"].mean(dim=(2, 3))


# --- Training --------------------------------------------------------------------------------------------------------
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--synthetic", default="data/mini/classification/source", help="one folder per class")
    parser.add_argument("--real", default="data/mini/classification/dev", help="the same classes, for evaluation")
    parser.add_argument("--weights", default="data/mini/reference.pth", help="state dict of the pretrained network")
    parser.add_argument("--iterations", type=int, default=300)
    args = parser.parse_args()

    torch.manual_seed(0)
    to_tensor = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])
    restyle = v2.Compose([v2.RandAugment(num_ops=1, magnitude=6), to_tensor])
    pairs = ImageFolder(args.synthetic, transform=lambda image: (restyle(image), restyle(image)))
    batches = DataLoader(pairs, batch_size=32, shuffle=True, drop_last=True)

    student = MiniResNet(num_classes=81)
    student.load_state_dict(torch.load(args.weights, weights_only=True))
    head = nn.Linear(student.fc.in_features, len(pairs.classes))
    method = GCISG(student.train())
    trained = nn.ModuleList([student, head, method.heads])
    optimizer = torch.optim.SGD(trained.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    step = 0
    while step < args.iterations:
        for (view1, view2), label in batches:
            guidance, invariance, pooled = method.losses(view1, view2)
            task = F.cross_entropy(head(pooled), label)
            optimizer.zero_grad()
            (task + 3.0 * guidance + 0.5 * invariance).backward()
            optimizer.step()
            average(method.momentum_encoder, student, decay=0.99)
            step += 1
            if step % 50 == 0:
                print(f"{step}: task {task:.3f}, guidance {guidance:.3f}, invariance {invariance:.3f}", flush=True)
            if step >= args.iterations:
                break

    student.eval()
    with torch.no_grad():
        real = DataLoader(ImageFolder(args.real, transform=to_tensor), batch_size=256)
        hits = [head(stages(student, x)["layer4"].mean(dim=(2, 3))).argmax(1) == label for x, label in real]
    print(f"accuracy on {args.real}: {torch.cat(hits).float().mean():.1%}")


if __name__ == "__main__":
    main()

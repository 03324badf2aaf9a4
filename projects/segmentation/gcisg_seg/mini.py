"""The miniature benchmark for segmentation: its network as a backbone, and one evaluated run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import ConfigDict
from mmengine.runner import Runner
from mmseg.registry import MODELS
from torch import Tensor, nn

from gcisg_core.initial_weights import MIN_MATCH_RATIO, load_initial_weights
from gcisg_core.integrations.mmengine import build_runner
from gcisg_core.old_names import accept_old_arguments
from gcisg_core.safe_load import read_state_dict
from gcisg_suite.miniature import scenes
from gcisg_suite.miniature.evaluated import HELD_OUT_SEED, evaluated_once
from gcisg_suite.miniature.network import MiniResNet
from gcisg_suite.places import mini_root, project_folder

PROJECT = project_folder(__file__, "segmentation")


@MODELS.register_module()
@accept_old_arguments
class MiniResNetBackbone(MiniResNet):
    """`MiniResNet` without its classifier; its output stride is 16 as it is.

    Args:
        weights: State dict of the reference network; None for random weights.
        norm_eval: BatchNorm keeps its running statistics, as in mmseg's ResNet.
        out_indices: The stages whose maps are returned, counted from 0.
        min_match_ratio: See :func:`gcisg_core.initial_weights.load_initial_weights`.

    Shape:
        (B, 3, H, W) -> maps of 16, 48, 96, 192 channels at strides 2, 4, 8, 16, those of `out_indices`.
    """

    def __init__(
        self,
        weights: str | None = None,
        norm_eval: bool = False,
        out_indices: tuple[int, ...] = (0, 1, 2, 3),
        min_match_ratio: float = MIN_MATCH_RATIO,
    ) -> None:
        super().__init__(num_classes=1)
        del self.fc
        self.weights, self.norm_eval, self.out_indices, self.min_match_ratio = (
            weights,
            norm_eval,
            out_indices,
            min_match_ratio,
        )

    def init_weights(self) -> None:
        """Called by the runner before training. Raises `FileNotFoundError` without the reference network."""
        if self.weights is None:
            return
        if not Path(self.weights).is_file():
            raise FileNotFoundError(f"{self.weights}: no such file. Make the miniature: gcisg prepare")
        load_initial_weights(self, read_state_dict(self.weights), self.weights, self.min_match_ratio)

    def train(self, mode: bool = True) -> MiniResNetBackbone:
        super().train(mode)
        for module in self.modules():
            if self.norm_eval and isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        maps = self.stages(images)
        return tuple(maps[index] for index in self.out_indices)


def train(
    config: str, work_dir: Path, overrides: Sequence[str] = (), seed: int = 0, source: str = "synthetic"
) -> Runner:
    """Train one of the project's configs (``gcisg_mini``), or resume a run that was stopped.

    Each seed has its own scenes; `source` says of which kind, see :data:`gcisg_suite.miniature.scenes.SOURCES`.
    """
    if seed or source != "synthetic":  # the config's own otherwise
        root = scenes.source(mini_root(), seed, source)
        overrides = [*overrides, f"train_dataloader.dataset.dataset.data_root={root / 'gtav'}"]
    runner = build_runner(PROJECT / f"{config}.py", overrides, work_dir, seed, resume=True)
    runner.train()
    return runner


def held_out(loader: ConfigDict) -> dict[str, Any]:
    """A test loader's config, with synthetic scenes that no run trains on."""
    root = scenes.source(mini_root(), HELD_OUT_SEED) / "gtav"
    dataset = dict(loader.dataset, type="GTAVDataset", data_root=str(root), split="all", data_prefix=None)
    return dict(loader, dataset=dataset)


def train_and_evaluate(
    config: str,
    splits: Sequence[str],
    work_dir: Path,
    overrides: Sequence[str] = (),
    seed: int = 0,
    source: str = "synthetic",
) -> dict[str, Any]:
    """Train a config and evaluate it, once; the arguments: :mod:`gcisg_suite.miniature.evaluated`.

    Returns:
        mIoU, foreground_mIoU (without the ground), aAcc and mAcc in per cent for each split, and ``seconds`` of
        training.
    """

    def evaluate(runner: Runner, split: str) -> dict[str, Any]:
        if split == "synthetic":
            runner.test_loop.dataloader = runner.build_dataloader(held_out(runner.cfg.test_dataloader))
        evaluated = runner.val() if split == "dev" else runner.test()
        domain = "gtav" if split == "synthetic" else "cityscapes"
        return {key: evaluated[f"{domain}/{key}"] for key in ("mIoU", "foreground_mIoU", "aAcc", "mAcc")}

    return evaluated_once(work_dir, splits, lambda: train(config, work_dir, overrides, seed, source), evaluate)

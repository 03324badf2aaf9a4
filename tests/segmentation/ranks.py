"""A few steps of training on one or several ranks, for `test_seg_distributed`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from mmengine.model import MMDistributedDataParallel

from gcisg_core.integrations.mmengine import unwrap
from tests.segmentation.segmentors import GCISG, SEGMENTORS, batch, build, sgd

STEPS = 3
HEAD = {**SEGMENTORS["segformer"]["decode_head"], "norm_cfg": None, "dropout_ratio": 0.0}


def train(rank: int, ranks: int, images: int = 4) -> dict[str, Any]:
    """Logs of all steps and the final state; rank r of n trains on its share of the images, without BatchNorm."""
    # K holds a whole number of batches, so the same rows leave whatever the order within a batch.
    model: Any = build("segformer", {**GCISG, "queue_length": 64}, decode_head=HEAD, data_preprocessor=None)
    if ranks > 1:
        model = MMDistributedDataParallel(model)
    optimizer = sgd(unwrap(model))
    logs = []
    for step in range(STEPS):
        data = batch([(64, 64)] * images, seed=step)
        torch.manual_seed(step)
        views = [torch.randn(images, 3, 64, 64) for _ in range(2)]
        mine = slice(rank * images // ranks, (rank + 1) * images // ranks)
        share = {"inputs": [view[mine] for view in views], "data_samples": data["data_samples"][mine]}
        logs.append({name: value.detach() for name, value in model.train_step(share, optimizer).items()})
        unwrap(model).regularizer.after_optimizer_step()
    return {"logs": logs, "state": unwrap(model).state_dict()}


def run(rank: int, ranks: int, folder: str) -> None:
    """One process of several."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=ranks)
    torch.save(train(rank, ranks), Path(folder) / f"{rank}.pth")
    dist.destroy_process_group()

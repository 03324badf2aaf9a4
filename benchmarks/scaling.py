"""Images a second of several processes on one machine, over those of one process: python benchmarks/scaling.py

Each process trains on as many images a step as the single one does (weak scaling), on a thread of its own, with gloo.
Where there are more processes than cores they share them: the efficiency cannot exceed cores / processes, so both are
printed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from _measure import write_table
from torch.nn.parallel import DistributedDataParallel

from gcisg_cls.classifier import SynToRealClassifier

SETTINGS = {"none": {"method": "none"}, "gcisg": {"method": "gcisg"}}


def train(rank: int, ranks: int, method: str, args: argparse.Namespace, folder: str) -> None:
    """Time the steps; rank 0 writes the median."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=ranks)
    torch.manual_seed(0)
    model = SynToRealClassifier(args.backbone, regularizer=SETTINGS[method])
    parallel = DistributedDataParallel(model, broadcast_buffers=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9)
    torch.manual_seed(rank)
    views = [torch.randn(args.batch, 3, args.size, args.size) for _ in range(2)]
    labels = torch.arange(args.batch) % 12
    seconds = []
    for step in range(args.steps + 1):
        dist.barrier()
        start = time.perf_counter()
        model.parse_losses(parallel(views, labels, mode="loss"))[0].backward()
        optimizer.step()
        optimizer.zero_grad()
        model.regularizer.after_optimizer_step()
        if step:
            seconds.append(time.perf_counter() - start)
    if rank == 0:
        Path(folder, "seconds").write_text(str(statistics.median(seconds)))
    dist.destroy_process_group()


def seconds_of(method: str, ranks: int, args: argparse.Namespace) -> float:
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(train, (ranks, method, args, folder), nprocs=ranks)
        return float(Path(folder, "seconds").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--batch", type=int, default=8, help="images a process")
    parser.add_argument("--size", type=int, default=96, help="edge of the images")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    args = parser.parse_args()
    cores, rows = len(os.sched_getaffinity(0)), []
    for method in SETTINGS:
        single = 0.0
        for ranks in args.processes:
            seconds = seconds_of(method, ranks, args)
            rate = ranks * args.batch / seconds
            single = single or rate / ranks
            rows.append([method, ranks, seconds, rate, rate / single / ranks, min(1.0, cores / ranks)])
    heads = ["method", "processes", "s / step", "images / s", "efficiency", "cores / processes"]
    title = f"Several processes on one machine: {args.backbone}, {args.batch} images of {args.size} x {args.size} each"
    notes = (
        f"Efficiency: images a second over those of one process, a process. Medians of {args.steps} steps; {cores} "
        f"cores, one thread a process; load average before the run {os.getloadavg()[1]:.1f} (5 minutes)."
    )
    write_table("scaling", title, rows, heads, notes)


if __name__ == "__main__":
    main()

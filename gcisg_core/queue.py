"""The support samples Q: a ring buffer of the momentum encoder's latest embeddings (GCISG, Section 3.1)."""

from __future__ import annotations

import math
import os

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from gcisg_core.ranks import world_size


class SupportQueue(nn.Module):
    """The last K rows that were enqueued on all ranks, in their order of arrival.

    It starts with random unit vectors, which are the same on every rank. Both buffers are
    part of the state dict, so a resumed run continues with the same support samples.

    Args:
        size: K, the number of rows kept.
        dim: d, the length of a row.
        seed: chooses the first random vectors.

    Shape:
        ``features`` (K, d), float32; ``pointer`` a scalar: the row that is replaced next.

    Raises:
        ValueError: ``size`` or ``dim`` is below 1, or the rows take more memory than the machine has.
    """

    features: Tensor
    pointer: Tensor

    def __init__(self, size: int, dim: int, seed: int = 0) -> None:
        super().__init__()
        if size < 1 or dim < 1:
            raise ValueError(f"size and dim must be at least 1, got size={size}, dim={dim}")
        needed, there = 4 * size * dim, memory_of_machine()
        if needed > there:
            what = f"would take {needed / 1e9:,.1f} GB for each stage, but this machine has {there / 1e9:,.1f} GB"
            raise ValueError(f"queue_length {size} with embedding_dim {dim} {what}. Choose smaller ones")
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("features", F.normalize(torch.randn(size, dim, generator=generator)))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def enqueue(self, keys: Tensor) -> None:
        """Add the rows of all ranks, rank by rank; the oldest rows leave.

        Every rank must call it, with any number of rows; zero and more than K are allowed.

        Args:
            keys: (N, d).

        Raises:
            ValueError: ``keys`` is not (N, d).
        """
        size, dim = self.features.shape
        if keys.ndim != 2 or keys.shape[1] != dim:
            raise ValueError(f"keys must have the shape (N, {dim}), got {tuple(keys.shape)}")
        keys = gather_rows(keys.to(self.features))
        kept = keys[-size:]
        # Positions stay on the device: no synchronisation with the host.
        first = self.pointer + (len(keys) - len(kept))
        self.features[(first + torch.arange(len(kept), device=keys.device)) % size] = kept
        self.pointer.copy_((self.pointer + len(keys)) % size)

    def extra_repr(self) -> str:
        return "size={}, dim={}".format(*self.features.shape)


def memory_of_machine() -> float:
    """Bytes of main memory; infinity if the system does not report it."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return math.inf


def gather_rows(rows: Tensor) -> Tensor:
    """The rows (N_r, d) of all ranks, joined in the order of the ranks; the ranks may hold different N_r.

    Without a process group these are the rows themselves. No gradient passes.
    """
    if world_size() == 1:
        return rows
    count = torch.tensor([len(rows)], device=rows.device)
    counts = [torch.zeros_like(count) for _ in range(world_size())]
    dist.all_gather(counts, count)
    lengths = [int(n) for n in torch.cat(counts)]
    # The collective needs equal shapes: short ranks are padded, and the padding is cut off again.
    padded = rows.new_zeros(max(lengths), rows.shape[1])
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in lengths]
    dist.all_gather(parts, padded)
    return torch.cat([part[:n] for part, n in zip(parts, lengths, strict=True)])

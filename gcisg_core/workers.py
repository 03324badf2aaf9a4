"""The worker processes of torch's data loaders, at the end of a command."""

from __future__ import annotations

import gc
import os
import sys


def end_workers() -> None:
    """End the workers of all loaders of this process now.

    After a data error, the error's frames keep the loader alive in a cycle of references. The garbage collector closes
    the loader's queues before the loader ends, so the workers get no signal to stop: torch waits 5 seconds for each.
    """
    torch_loaders = sys.modules.get("torch.utils.data.dataloader")
    if torch_loaders is None:  # no data were loaded
        return
    kind = torch_loaders._MultiProcessingDataLoaderIter
    for iterator in [found for found in gc.get_objects() if type(found) is kind]:
        # A fork has its parent's loaders, but not their workers.
        if all(worker._parent_pid == os.getpid() for worker in getattr(iterator, "_workers", [])):
            iterator._shutdown_workers()

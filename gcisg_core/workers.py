"""The worker processes of torch's data loaders, at the end of a command."""

from __future__ import annotations

import gc
import os
import sys


def end_workers() -> None:
    """End the workers of all loaders of this process now.

    What a data error stopped is held by the error's own frames, a cycle of references. The garbage collector closes the
    queues of such a loader before it ends the loader, so its workers never hear that they should stop, and torch waits
    5 seconds for each of them.
    """
    torch_loaders = sys.modules.get("torch.utils.data.dataloader")
    if torch_loaders is None:  # nothing has loaded data
        return
    kind = torch_loaders._MultiProcessingDataLoaderIter
    for iterator in [found for found in gc.get_objects() if type(found) is kind]:
        # A fork has the loaders of the process that it is of, but not their workers.
        if all(worker._parent_pid == os.getpid() for worker in getattr(iterator, "_workers", [])):
            iterator._shutdown_workers()

"""Shared by all projects on mmengine: hooks, exact resume, safe and atomic checkpoints, and the entry point.

Importing this package registers what its modules define, and changes three things in mmengine for this process. Files
are written under a temporary name and then renamed; checkpoints are read without running code in them; and the tensors
of `Pretrained` initial weights are renamed to match the model, or refused if too few match.
"""

from gcisg_core.integrations import openmmlab as _openmmlab  # noqa: F401 - plain configs of mmseg need it too
from gcisg_core.integrations import schedules as _schedules  # noqa: F401 - registers them
from gcisg_core.integrations import timm as _timm  # noqa: F401 - registers its guides
from gcisg_core.integrations.mmengine.checkpoints import (
    AtomicLocalBackend,
    InitialWeights,
    check_state,
    load_for_evaluation,
    load_from_local,
    load_from_net,
    unwrap,
)
from gcisg_core.integrations.mmengine.hook import RegularizerHook
from gcisg_core.integrations.mmengine.read import load_config, load_run_config, read_plain
from gcisg_core.integrations.mmengine.resume import SeededDataset, SeededSampler
from gcisg_core.integrations.mmengine.runner import (
    BFloat16OptimWrapper,
    CPUDistributedDataParallel,
    build_runner,
    run,
)

__all__ = [
    "AtomicLocalBackend",
    "BFloat16OptimWrapper",
    "CPUDistributedDataParallel",
    "InitialWeights",
    "RegularizerHook",
    "SeededDataset",
    "SeededSampler",
    "build_runner",
    "check_state",
    "load_config",
    "load_for_evaluation",
    "load_from_local",
    "load_from_net",
    "load_run_config",
    "read_plain",
    "run",
    "unwrap",
]

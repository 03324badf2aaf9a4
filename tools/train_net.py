#!/usr/bin/env python
"""Train or evaluate any config of the projects, or of your own.

A `.py` config runs on mmengine (classification, segmentation), a `.yaml` config on Detectron2 (detection).

    python tools/train_net.py --config projects/classification/gcisg_mini.py
    python tools/train_net.py --config projects/classification/gcisg_mini.py train_cfg.max_iters=100
    python tools/train_net.py --config projects/detection/gcisg_mini.yaml SOLVER.MAX_ITER 100
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import sys
from pathlib import Path

from gcisg_core.nonfinite import NonFiniteError

# Config suffix -> the module whose run(args) does the work.
ENGINES = {".py": "gcisg_core.integrations.mmengine", ".yaml": "gcisg_det.engine"}


def find_config(name: str) -> str:
    """A config file; where there is no checkout, `projects/...` is what the installed package brought along."""
    parts = Path(name).parts
    installed = importlib.util.find_spec("gcisg_configs")
    if not Path(name).exists() and parts[:1] == ("projects",) and installed:
        for folder in installed.submodule_search_locations or ():
            if Path(folder, *parts[1:]).is_file():
                return str(Path(folder, *parts[1:]))
    return name


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, metavar="FILE", help="a .py (mmengine) or .yaml (Detectron2) config")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint of the work directory")
    parser.add_argument("--fresh", action="store_true", help="move an earlier run in the work directory aside")
    parser.add_argument("--eval-only", action="store_true", help="evaluate --checkpoint and stop")
    parser.add_argument("--checkpoint", metavar="FILE", help="the checkpoint for --eval-only")
    parser.add_argument("--seed", type=int, help="the run's random seed (the config's by default)")
    parser.add_argument("--work-dir", metavar="DIR", help="where results go (work_dirs/<config> by default)")
    parser.add_argument("--amp", action="store_true", help="mixed precision: float16 on a GPU, bfloat16 on a CPU")
    parser.add_argument("--num-gpus", type=int, default=1, metavar="N", help="processes on this machine")
    parser.add_argument("--num-machines", type=int, default=1, help="machines (Detectron2; mmengine: use torchrun)")
    parser.add_argument("--machine-rank", type=int, default=0, help="this machine's number, from 0 (Detectron2)")
    parser.add_argument("--dist-url", default="auto", help="where the machines meet (Detectron2)")
    parser.add_argument("overrides", nargs="*", help="key=value (mmengine) or KEY VALUE (Detectron2) config overrides")
    args = parser.parse_intermixed_args(argv)  # overrides may stand between options

    args.config = find_config(args.config)
    suffix = Path(args.config).suffix
    if suffix not in ENGINES:
        parser.error(f"--config {args.config}: expected one of the suffixes {', '.join(ENGINES)}")
    if not Path(args.config).is_file():
        parser.error(f"--config {args.config}: no such file")
    if args.fresh and args.resume:
        parser.error("--fresh and --resume exclude each other")
    if args.eval_only and not args.checkpoint:
        parser.error("--eval-only needs --checkpoint FILE")
    if args.checkpoint and not Path(args.checkpoint).is_file():
        parser.error(f"--checkpoint {args.checkpoint}: no such file")
    if args.num_gpus < 1:
        parser.error(f"--num-gpus {args.num_gpus}: expected at least 1")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    suffix = Path(args.config).suffix
    if suffix == ".py" and args.num_gpus > 1 and "LOCAL_RANK" not in os.environ:
        given = sys.argv[1:] if argv is None else argv
        launcher = ["-m", "torch.distributed.run", f"--nproc-per-node={args.num_gpus}", "--standalone"]
        os.execv(sys.executable, [sys.executable, *launcher, __file__, *given])
    try:
        importlib.import_module(ENGINES[suffix]).run(args)
    except (ValueError, FileNotFoundError, NonFiniteError) as error:
        # What the user can mend is said in one line; everything else keeps its traceback.
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

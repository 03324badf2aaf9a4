#!/usr/bin/env python
"""Export a trained model to the plain framework: without the method, named by its hash, with a config beside it.

    python tools/export.py --config projects/segmentation/gcisg_r50_deeplabv3_gtav2cityscapes.py \\
        --checkpoint work_dirs/gcisg_r50_deeplabv3_gtav2cityscapes/iter_124800.pth --out release

The result is loaded by mmseg's `init_model`, Detectron2's `DefaultPredictor` or torchvision, which need nothing of this
suite: `release/<config>-<hash>.pth`, its config (`.py`, or `.yaml` for Detectron2) and what is known of it (`.json`).
Before it is written, the plain model is built and has to take the tensors strictly.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from train_net import find_config

from gcisg_core.release import Release, save, verify_hash, write_release

PACKAGES = ("gcisg", "torch", "torchvision", "onedl-mmengine", "onedl-mmcv", "onedl-mmsegmentation", "detectron2")


def read(config: str, overrides: list[str], checkpoint: str) -> Release:
    """The release of a config's model; the framework is that of the config's suffix."""
    if config.endswith(".yaml"):
        from gcisg_det.config import read_config
        from gcisg_det.datasets import setup_datasets
        from gcisg_det.release import release

        cfg = read_config(config, [*overrides, "MODEL.DEVICE", "cpu"])
        setup_datasets(cfg)
        return release(cfg, checkpoint)
    from gcisg_core.integrations.mmengine import load_config

    loaded = load_config(config, overrides)
    if loaded.get("default_scope") == "mmseg":
        from gcisg_seg.release import release as release_segmentor

        return release_segmentor(loaded, checkpoint)
    from gcisg_cls.release import release as release_classifier

    return release_classifier(loaded, checkpoint)


def save_safetensors(release: Release, path: Path) -> None:
    """The bare state dict, with what is known of it as JSON in the header."""
    tensors = {name: value.contiguous() for name, value in release.state.items()}
    save_file(tensors, path, {"meta": json.dumps(release.meta)})


WRITERS = {"pth": save, "safetensors": save_safetensors}


def provenance(config: str, metrics: list[str]) -> dict[str, Any]:
    """What made the model: the config, versions, the commit of this suite where there is a checkout, its measures."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    here = Path(__file__).resolve().parent
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    measured = {name: float(value) for name, value in (item.split("=", 1) for item in metrics)}
    return {"config": config, "versions": versions, "commit": commit.stdout.strip(), "metrics": measured}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, metavar="FILE", help="the config that it was trained with")
    parser.add_argument("--checkpoint", required=True, metavar="FILE", help="what training wrote")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="where the files go")
    parser.add_argument("--format", choices=WRITERS, default="pth", help="of the checkpoint")
    parser.add_argument("--metrics", nargs="*", default=[], metavar="NAME=VALUE", help="measures to keep with it")
    parser.add_argument("overrides", nargs="*", help="key=value (mmengine) or KEY VALUE (Detectron2) config overrides")
    args = parser.parse_intermixed_args()
    config = find_config(args.config)
    for file in (config, args.checkpoint):
        if not Path(file).is_file():
            parser.error(f"{file}: no such file")
    try:
        verify_hash(Path(args.checkpoint))
        release = read(config, args.overrides, args.checkpoint)
    except (ValueError, RuntimeError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
    release.meta.update(provenance(args.config, args.metrics))
    print(write_release(release, args.out, Path(config).stem, args.format, WRITERS[args.format]))


if __name__ == "__main__":
    main()

#!/usr/bin/env python
"""Export a trained model to the plain framework: without the method, named by its hash, with a config beside it.

    python tools/export.py --config projects/segmentation/gcisg_r50_deeplabv3_gtav2cityscapes.py \\
        --checkpoint work_dirs/gcisg_r50_deeplabv3_gtav2cityscapes/iter_124800.pth --out release

The result is loaded by mmseg's `init_model`, Detectron2's `DefaultPredictor` or torchvision, which need nothing of this
suite: `release/<config>-<hash>.pth`, its config (`.py`, or `.yaml` for Detectron2) and what is known of it (`.json`).
Before it is written, the plain model is built and has to take the tensors strictly.

`--format pt2` (torch.export, no further package) and `--format onnx` (`pip install 'gcisg[export]'`) hold the
computation itself, from normalised images (B, 3, H, W) of any B to scores. The file is run and compared with the model
before it gets its name. Detectron2's models are no such functions, so for them this is refused.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from train_net import find_config

from gcisg_core.release import Release, save, write_release

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


def save_program(release: Release, path: Path) -> None:
    """torch.export's form, with what is known of it in `meta.json` inside."""
    network, images, batch = graph_inputs(release)
    program = torch.export.export(network, (images,), dynamic_shapes=({0: batch},), strict=False)
    with path.open("wb") as stream:
        torch.export.save(program, stream, extra_files={"meta.json": json.dumps(release.meta)})
    with path.open("rb") as stream:
        loaded = torch.export.load(stream).module()
    compare(network, images[:1], loaded)


def save_onnx(release: Release, path: Path) -> None:
    """ONNX, with what is known of it in the metadata; compared by onnxruntime."""
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise ValueError(f"--format onnx needs {error.name}: pip install 'gcisg[export]'") from error
    network, images, batch = graph_inputs(release)
    program = torch.onnx.export(
        network, (images,), input_names=["images"], output_names=["scores"], dynamic_shapes=({0: batch},), dynamo=True
    )
    assert program is not None
    program.model.metadata_props["meta"] = json.dumps(release.meta)
    program.save(str(path))
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    compare(network, images[:1], lambda one: torch.from_numpy(session.run(None, {"images": one.numpy()})[0]))


def graph_inputs(release: Release) -> tuple[nn.Module, Tensor, Any]:
    """The network, two images to trace it with, and the name of their number."""
    if release.network is None:
        raise ValueError(
            "--format onnx and pt2: Detectron2's models take dictionaries, choose boxes by their values and return "
            "Instances, so they are no function of a tensor. Export pth, and deploy it by Detectron2's own export "
            "(detectron2.export, from a source installation)"
        )
    images = torch.rand(2, 3, *release.size, generator=torch.Generator().manual_seed(0))
    return release.network, images, torch.export.Dim("batch")


@torch.no_grad()
def compare(network: nn.Module, images: Tensor, exported: Callable[[Tensor], Tensor]) -> None:
    """Run both on images of another number than were traced.

    Raises:
        RuntimeError: they differ by more than rounding.
    """
    expected, found = network(images), exported(images)
    difference = (found - expected).abs().max().item() / expected.abs().max().item()
    if not difference <= TOLERANCE:
        raise RuntimeError(f"the exported model differs from the original by {difference:.2g} of the greatest score")
    print(f"greatest difference from the original: {difference:.2g} of the greatest score")


WRITERS = {"pth": save, "safetensors": save_safetensors, "pt2": save_program, "onnx": save_onnx}
TOLERANCE = 1e-4  # of the greatest score


def provenance(config: str, metrics: list[str]) -> dict[str, Any]:
    """What made the model: the config, versions, the commit of this suite where there is a checkout, its measures."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {"config": config, "versions": versions, "commit": commit(), "metrics": dict(map(measure, metrics))}


def commit() -> str:
    """This suite's commit, ending in `-dirty` where files were changed; empty without a checkout of its own."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return ""
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False).stdout.strip()


def measure(item: str) -> tuple[str, float]:
    """`NAME=VALUE`."""
    name, _, value = item.partition("=")
    try:
        return name, float(value)
    except ValueError as error:
        raise ValueError(f"--metrics {item!r} must be NAME=VALUE with a number") from error


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
        about = provenance(args.config, args.metrics)
        release = read(config, args.overrides, args.checkpoint)
        release.meta.update(about)
        print(write_release(release, args.out, Path(config).stem, args.format, WRITERS[args.format]))
    except (ValueError, RuntimeError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

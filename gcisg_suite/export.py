"""Trained models for the plain framework: without the method, named by their hash, with a config beside them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from gcisg_core.export import Export, save
from gcisg_core.integrations.openmmlab import installed
from gcisg_suite.about import PACKAGES
from gcisg_suite.tasks import read_config, task_of


def read(config: str, overrides: list[str], checkpoint: str) -> Export:
    """A config's model, ready for export."""
    loaded = read_config(config, overrides)
    found: Export = task_of(loaded).door("export")(loaded, checkpoint)
    return found


def save_safetensors(exported: Export, path: Path) -> None:
    """The bare state dict, with its metadata as JSON in the header."""
    tensors = {name: value.contiguous() for name, value in exported.state.items()}
    save_file(tensors, path, {"meta": json.dumps(exported.meta)})


def save_program(exported: Export, path: Path) -> None:
    """torch.export's format, with the metadata in `meta.json` inside."""
    network, images, batch = graph_inputs(exported)
    program = torch.export.export(network, (images,), dynamic_shapes=({0: batch},), strict=False)
    with path.open("wb") as stream:
        torch.export.save(program, stream, extra_files={"meta.json": json.dumps(exported.meta)})
    with path.open("rb") as stream:
        loaded = torch.export.load(stream).module()
    compare(network, images[:1], loaded)


def save_onnx(exported: Export, path: Path) -> None:
    """ONNX, with the metadata in the file; compared by onnxruntime."""
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise ValueError(f"--format onnx needs {error.name}: pip install 'gcisg[export]'") from error
    network, images, batch = graph_inputs(exported)
    program = torch.onnx.export(
        network, (images,), input_names=["images"], output_names=["scores"], dynamic_shapes=({0: batch},), dynamo=True
    )
    assert program is not None
    program.model.metadata_props["meta"] = json.dumps(exported.meta)
    program.save(str(path))
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    compare(network, images[:1], lambda one: torch.from_numpy(session.run(None, {"images": one.numpy()})[0]))


def graph_inputs(exported: Export) -> tuple[nn.Module, Tensor, Any]:
    """The network, two images to trace it with, and the name of the batch dimension."""
    if exported.network is None:
        raise ValueError(
            "--format onnx and pt2: Detectron2's models take dictionaries, choose boxes by their values and return "
            "Instances, so they are not a function of a tensor. Export pth, and deploy it by Detectron2's own export "
            "(detectron2.export, from a source installation)"
        )
    images = torch.rand(2, 3, *exported.size, generator=torch.Generator().manual_seed(0))
    return exported.network, images, torch.export.Dim("batch")


@torch.no_grad()
def compare(network: nn.Module, images: Tensor, exported: Callable[[Tensor], Tensor]) -> None:
    """Compare both on a batch size other than the traced one.

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
    """What made the model: the config, versions, the commit of this suite where there is a checkout, its metrics."""
    return {
        "config": config,
        "versions": installed(PACKAGES),
        "commit": commit(),
        "metrics": dict(map(parse_metric, metrics)),
    }


def commit() -> str:
    """This suite's commit, with `-dirty` if files were changed; empty outside a checkout."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return ""
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False).stdout.strip()


def parse_metric(item: str) -> tuple[str, float]:
    """`NAME=VALUE`."""
    name, _, value = item.partition("=")
    try:
        return name, float(value)
    except ValueError as error:
        raise ValueError(f"--metrics {item!r} must be NAME=VALUE with a number") from error

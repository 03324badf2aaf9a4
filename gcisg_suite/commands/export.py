"""`gcisg export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from gcisg_suite.commands.arguments import Config, Overrides, Several, check_file, check_folder, config_file


def export(
    *overrides: Overrides,
    config: Config,
    checkpoint: str,
    output: Path,
    format: Literal["pth", "safetensors", "pt2", "onnx"] = "pth",
    metrics: Annotated[list[str] | None, Several] = None,
) -> None:
    """Export a trained model to the plain framework: without the method, named by its hash, with a config beside it.

    For example:

        gcisg export --config projects/detection/gcisg_r101_fpn.yaml \\
            --checkpoint work_dirs/gcisg_r101_fpn/model_final.pth --output release

    mmseg's `init_model`, Detectron2's `DefaultPredictor` or torchvision load the result without this suite. It is
    `release/<config>-<hash>.pth`, its config (.py, or .yaml for Detectron2), and what is known about it (.json). Before
    it is written, the plain model is built and the tensors are loaded into it with strict=True.

    --format pt2 (torch.export, no further package) and --format onnx (pip install 'gcisg[export]') store the
    computation itself, from normalised images (B, 3, H, W) of any B to scores. The file is run and compared with the
    model before it gets its name. Detectron2's models cannot be stored in this way, so they are refused.

    Args:
        checkpoint: A checkpoint of training.
        output: Folder of the files.
        format: Format of the checkpoint.
        metrics: Metrics to store with it, each as NAME=VALUE.
    """
    file = config_file(config)
    check_file("--checkpoint", checkpoint)
    check_folder("--output", output)

    from gcisg_core.export import write_export
    from gcisg_suite.export import WRITERS, provenance, read
    from gcisg_suite.progress import Progress

    try:
        about = provenance(config, metrics or [])
        with Progress("loading and converting", 1, "model"):
            exported = read(file, list(overrides), checkpoint)
            exported.meta.update(about)
            written = write_export(exported, output, Path(file).stem, format, WRITERS[format])
        print(written)
    except RuntimeError as error:  # the plain model does not take the tensors, or the graph computes something else
        raise ValueError(str(error)) from error

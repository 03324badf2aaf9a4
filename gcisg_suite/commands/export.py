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
    """Export a trained model so that it loads in the plain framework, without this suite.

    For example:

        gcisg export --config projects/detection/gcisg_r101_fpn.yaml \\
            --checkpoint work_dirs/gcisg_r101_fpn/model_final.pth --output release

    This writes three files: the checkpoint without the method's state, `release/<config>-<hash>.pth`; its config (.py,
    or .yaml for Detectron2); and a .json with what is known about the model. mmseg's `init_model`, Detectron2's
    `DefaultPredictor` or torchvision loads them. Before anything is written, the plain model is built and the tensors
    are loaded into it with strict=True.

    --format pt2 (torch.export, needs no additional package) and --format onnx (needs pip install 'gcisg[export]') store
    the computation itself, from normalised images (B, 3, H, W), with any B, to scores. Before the file gets its final
    name, it is run and compared with the model. Detectron2's models cannot be stored in this way, so they are refused.

    Args:
        checkpoint: A checkpoint of a training run.
        output: Folder to write the files to.
        format: Format of the exported checkpoint.
        metrics: Metrics to record in the .json, each as NAME=VALUE.
    """
    file = config_file(config)
    check_file("--checkpoint", checkpoint)
    check_folder("--output", output)

    from gcisg_core.export import write_export
    from gcisg_suite.export import WRITERS, provenance, read
    from gcisg_suite.progress import Progress

    try:
        about = provenance(config, metrics or [])
        with Progress("loading and converting", None, "model", expected="up to a minute"):
            exported = read(file, list(overrides), checkpoint)
            exported.meta.update(about)
            written = write_export(exported, output, Path(file).stem, format, WRITERS[format])
        print(written)
    except RuntimeError as error:  # the plain model does not take the tensors, or the graph computes something else
        raise ValueError(str(error)) from error

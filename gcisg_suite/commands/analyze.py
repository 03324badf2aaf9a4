"""`gcisg analyze`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from gcisg_suite.commands.arguments import (
    Config,
    Device,
    Overrides,
    Several,
    UsageError,
    check_exists,
    check_folder,
    chosen_device,
    config_file,
)


def analyze(
    *overrides: Overrides,
    config: Config,
    checkpoint: Annotated[list[str], Several],
    output: Path,
    reference: str | None = None,
    data: str | None = None,
    imagenet: str | None = None,
    imagenet_size: int = 224,
    energy: Literal["published", "textbook"] = "published",
    device: Device = None,
) -> None:
    """Analyse trained models: how much they depend on style, what they forgot from pretraining, and where they look.

    For example:

        gcisg analyze --config projects/classification/gcisg_mini.py \\
            --checkpoint baseline=runs/baseline/iter_210.pth \\
            gcisg=runs/gcisg/iter_210.pth --output runs/analysis

    Writes analysis.html, a single page that works offline, and analysis.json (docs/analysis.md). The checkpoints may be
    this suite's or a plain framework's: with a classification config, the state dict of a torchvision ResNet with its
    own `fc`; with a plain config of MMSegmentation or Detectron2, a checkpoint of that config.

    Args:
        checkpoint: The models, each as [NAME=]FILE; all are compared with the first. Files with the same NAME are seeds
            of one method.
        output: Folder of the page.
        reference: Weights of the pretrained network (default: the config's own).
        data: Data to evaluate on (default: the config's test data). Classification: a folder with one folder for each
            class, like VisDA-17's parts. Segmentation: the root of a data set in the layout of the config's.
            Detection: the folder that contains cityscapes/, or a COCO .json file in a folder above its images.
        imagenet: Validation images of the pretraining's data (ImageNet), with one folder for each class. They are
            needed only for Acc_IN, how much accuracy on the pretraining's task is left.
        imagenet_size: Size of these images in segmentation and detection, in pixels.
        energy: Formula of the energy (docs/analysis.md).
    """
    file = config_file(config)
    named = [name_and_file(given) for given in checkpoint]
    check_exists("--data", data)
    check_exists("--imagenet", imagenet)
    check_folder("--output", output)

    from gcisg_suite.progress import brief

    with brief("loading config and data"):
        from gcisg_suite.analysis.analyze import Checkpoint
        from gcisg_suite.analysis.analyze import analyze as analyze_all
        from gcisg_suite.analysis.task import Options
        from gcisg_suite.tasks import read_config, task_of

        options = Options(reference, data, imagenet, imagenet_size, energy, chosen_device(device))
        loaded = read_config(file, overrides)
        task = task_of(loaded).door("analysis")(loaded, options)
    print(analyze_all(task, file, [Checkpoint(*pair) for pair in named], output))


def name_and_file(given: str) -> tuple[str, str]:
    """`NAME=FILE` or `FILE`, which is then called by its folder and its own name."""
    name, equals, path = given.partition("=")
    if not equals or Path(given).exists():
        name, path = "/".join(Path(given).with_suffix("").parts[-2:]), given
    if not Path(path).is_file():
        raise UsageError(f"--checkpoint {path}: no such file")
    return name, path

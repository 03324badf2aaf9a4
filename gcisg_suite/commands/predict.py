"""`gcisg predict`."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from gcisg_suite.commands.arguments import (
    Config,
    Device,
    UsageError,
    check_at_least,
    check_exists,
    check_file,
    check_folder,
    chosen_device,
)
from gcisg_suite.places import did_you_mean, find_config
from gcisg_suite.tasks import FRAMEWORKS, framework_of


def predict(
    *inputs: Annotated[str, Parameter(name="INPUT")],
    config: Config,
    checkpoint: str,
    output: Path,
    batch_size: int = 1,
    score: float = 0.5,
    device: Device = None,
) -> None:
    """Run a trained model of any task on images, folders and videos, and draw its predictions.

    For example:

        gcisg predict --config projects/classification/gcisg_r101_visda17.py \\
            --checkpoint work_dirs/gcisg_r101_visda17/iter_71430.pth \\
            photos/ --output predictions
        gcisg predict --config projects/detection/gcisg_r101_fpn.yaml \\
            --checkpoint model_final.pth drive.mp4 --output predictions --batch-size 4
        gcisg predict --config resnet50 --checkpoint resnet50-11ad3fa6.pth \\
            cat.jpg --output predictions

    Config and checkpoint may be this suite's, or plain ones of mmseg or Detectron2. For a plain classifier, give its
    name (resnet50, torchvision:NAME, timm:NAME) as the config, and its state dict.

    For images it writes overlays (`overlays/<name>.png`); predictions.json with one entry for each box (COCO's results)
    or image; images.json with ids, names, sizes and categories (COCO's form); and in segmentation label maps
    (`labels/<name>.png`, whose values are the labels). For a video `<name>` it writes `<name>.mp4` with overlays, and
    `<name>.jsonl` with one line for each frame. Files that cannot be read are listed, and the exit code is then 1.

    Args:
        inputs: Images, folders of them, videos; and config overrides, key=value (mmengine) or KEY VALUE (Detectron2).
        checkpoint: A checkpoint of a training run, or one that `gcisg export` wrote.
        output: Folder of the results.
        batch_size: Images or frames in one forward pass.
        score: Lowest score of the boxes that are drawn.
    """
    file = find_config(config)
    check_at_least("--batch-size", batch_size)
    if not Path(file).is_file() and not re.fullmatch(r"res\w+|(torchvision|timm):[\w.]+", file):
        names = "nor a ResNet of torchvision, torchvision:NAME or timm:NAME"
        raise UsageError(f"--config {file}: no such file, {names}{did_you_mean(file)}")
    check_file("--checkpoint", checkpoint)
    check_folder("--output", output)
    paths, overrides = split(inputs, file)
    if not paths:
        raise UsageError("INPUT: name at least one image, folder or video")
    for path in paths:
        check_exists("INPUT", path)

    from gcisg_suite.predict import Inputs, build_predictor
    from gcisg_suite.predict import predict as predict_all
    from gcisg_suite.progress import brief

    found = Inputs(paths, output)
    with brief("loading the model"):
        predictor = build_predictor(file, overrides, checkpoint, chosen_device(device), score)
    problems = predict_all(found, predictor, output, batch_size)
    if problems:
        sys.exit("\n".join(f"error: {problem}" for problem in problems))


def split(words: Sequence[str], config: str) -> tuple[list[str], list[str]]:
    """Paths, and overrides in the form of the config's framework; what is there is a path."""
    known = any(Path(config).suffix in framework.suffixes for framework in FRAMEWORKS.values())
    framework = framework_of(config) if known else None
    paths, overrides = [], []
    rest = iter(words)
    for word in rest:
        if framework and not Path(word).exists() and re.fullmatch(framework.key, word):
            overrides += [word, *([next(rest, "")] if framework.pairs else [])]
        else:
            paths.append(word)
    return paths, overrides

"""Families of models, shrunk and taken through a user's commands; `python -m tests.families` writes docs/models.md.

What is written there was run: train two steps, resume from the first and end in the same weights, evaluate, export and
load into the plain framework with equal outputs under the config as exported, predict.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from tests.families_list import CLASSIFICATION, DETECTION, TASKS, detector, is_lazy, segmentation, segmentor
from tests.families_plain import PLAIN, weights
from tests.test_own_data import make_classification, make_detection, make_segmentation, noise

ROOT = Path(__file__).parents[1]
DATA, PAGE = ROOT / "docs/models.yml", ROOT / "docs/models.md"
STEPS = ("train", "resume", "evaluate", "export equal", "predict")
SECONDS = 300  # for a family
YES = "yes"


def gcisg(*words: object) -> None:
    """A command, as typed."""
    from gcisg_suite.cli import main

    main([str(word) for word in words])


def newest(folder: Path) -> Path:
    return max(folder.glob("*.pth"), key=lambda path: (path.name == "model_final.pth", path.name))


def resume(config: Path, folder: Path) -> None:
    """Resume from the first step's checkpoint: the weights must be those of the run that was not stopped."""
    last = newest(folder)
    expected = weights(last)
    (first,) = (path for path in folder.glob("*.pth") if re.search(r"(iter_1|_0000000)\.pth$", path.name))
    for path in folder.glob("*.pth"):
        if path != first:
            path.unlink()
    (folder / "last_checkpoint").write_text(first.name if first.name.startswith("model_") else str(first))
    gcisg("train", "--config", config, "--output", folder, "--resume")
    found = weights(newest(folder))
    differing = [name for name, value in expected.items() if not torch.equal(torch.as_tensor(value), found[name])]
    if differing:
        raise ValueError(f"{len(differing)} tensors differ from the run that was not stopped, {differing[0]} first")


def export_equal(task: str, config: Path, checkpoint: Path, picture: np.ndarray) -> None:
    """The plain framework under the exported config, and this suite under the run's: equal outputs for an image."""
    gcisg("export", "--config", config, "--checkpoint", checkpoint, "--output", config.parent / "release")
    (path,) = (config.parent / "release").glob("*.pth")
    ours, theirs = PLAIN[task](config, checkpoint, path, picture)
    if ours.shape != theirs.shape or not torch.equal(ours, theirs):
        raise ValueError(f"the outputs differ by {(ours - theirs).abs().max():.2g}" if ours.shape == theirs.shape else
                         f"the outputs have other shapes: {tuple(ours.shape)}, {tuple(theirs.shape)}")  # fmt: skip


def add_masks(file: Path) -> None:
    """Give each box the triangle below its diagonal as its mask."""
    content = json.loads(file.read_text())
    for entry in content["annotations"]:
        x, y, width, height = entry["bbox"]
        entry["segmentation"] = [[x, y, x + width, y + height, x, y + height]]
    file.write_text(json.dumps(content))


def write_config(task: str, name: str, folder: Path) -> Path:
    """The family's config, on own data in ``folder``."""
    rng = np.random.default_rng(0)
    make = {"segmentation": make_segmentation, "detection": make_detection, "classification": make_classification}
    make[task](folder / "data", rng)
    if task == "detection":
        add_masks(folder / "data/annotations.json")
    if task == "classification":
        text, suffix = CLASSIFICATION[name].replace("DATA", str(folder / "data")), ".py"
    elif task == "segmentation":
        text, suffix = segmentor(name, folder / "data"), ".py"
    else:
        text, suffix = detector(name, folder / "data"), ".py" if is_lazy(name) else ".yaml"
    file = folder / f"family{suffix}"
    file.write_text(text)
    return file


def take(task: str, name: str, folder: Path) -> dict[str, str]:
    """Step -> `yes`, or why not in one line; what follows a training that fails is not tried."""
    picture = np.random.default_rng(1).integers(0, 256, (96, 128, 3), np.uint8)
    noise(folder / "picture.png", np.random.default_rng(1), (96, 128))
    runs = folder / "run"
    said: dict[str, str] = {}
    state: dict[str, Path] = {}

    def train() -> None:
        state["config"] = write_config(task, name, folder)
        gcisg("train", "--config", state["config"], "--output", runs)

    def predict() -> None:
        out = ("--output", folder / "predictions")
        gcisg("predict", folder / "picture.png", "--config", state["config"], "--checkpoint", newest(runs), *out)
        assert (folder / "predictions/predictions.json").is_file()

    evaluation = ("--output", folder / "evaluation")
    steps: dict[str, Callable[[], None]] = {
        "train": train,
        "resume": lambda: resume(state["config"], runs),
        "evaluate": lambda: gcisg("eval", "--config", state["config"], "--checkpoint", newest(runs), *evaluation),
        "export equal": lambda: export_equal(task, state["config"], newest(runs), picture),
        "predict": predict,
    }
    for step, run in steps.items():
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            try:
                run()
                said[step] = YES
            except (Exception, SystemExit) as error:
                said[step] = reason(error, folder)
        if said["train"] != YES:
            break
    return said


def reason(error: BaseException, folder: Path) -> str:
    text = str(error).partition(", the current sys.path is")[0].strip() or type(error).__name__
    text = " ".join(text.replace(str(folder), "").replace(sys.prefix, "").split()).removeprefix("error: ")
    return text if len(text) < 220 else text[:217] + "..."


def _in_process(task: str, name: str, pipe: Any) -> None:
    folder = Path(tempfile.mkdtemp(prefix="family "))
    torch.set_num_threads(1)
    os.chdir(folder)
    try:
        pipe.send(take(task, name, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_family(task: str, name: str) -> dict[str, str]:
    """:func:`take` in a process of its own."""
    context = multiprocessing.get_context("fork")  # the imports are made once
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_in_process, args=(task, name, send))
    process.start()
    send.close()
    try:
        return receive.recv() if receive.poll(SECONDS) else {"train": f"no end after {SECONDS} s"}
    except EOFError:
        return {"train": "the process ended"}
    finally:
        process.terminate()
        process.join()


def page(data: dict[str, dict[str, dict[str, str]]]) -> str:
    """The document."""
    lines = [
        "# Models",
        "",
        "These are the model families that the suite was tested with. A small version of each was run on a CPU, with",
        "the method `gcisg` and without `stage_locations`:",
        "",
        "- *train*: two training steps;",
        "- *resume*: resuming after the first step, which leads to the same weights, bit for bit;",
        "- *evaluate*: the evaluation;",
        "- *export equal*: the export; the exported model, built by the plain framework from the exported config,",
        "  gives the same outputs as the run's model;",
        "- *predict*: a prediction.",
        "",
        "Where something does not work, a note below the table gives the reason. MMSegmentation's families have the",
        "names used in its `_base_/models` or its model zoo.",
        "",
        "`python -m tests.families` runs everything and writes this page. Followed by names, it runs only those",
        "families; followed by `new`, it runs only those without a row. Mask2Former and MaskFormer need mmdetection;",
        "ConvNeXt and PoolFormer need mmpretrain ([install](install.md)).",
    ]
    for task, families in data.items():
        lines += [
            "",
            f"## {TASKS[task]}",
            "",
            "| family | " + " | ".join(STEPS) + " |",
            "|---" * (len(STEPS) + 1) + "|",
        ]
        notes: list[str] = []
        for name, said in families.items():
            cells = []
            for step in STEPS:
                value = said.get(step, "")
                if value not in (YES, ""):
                    if value not in notes:
                        notes.append(value)
                    value = f"no ({notes.index(value) + 1})"
                cells.append(value or "-")
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines += ["", *(f"{number}. {_escaped(note)}" for number, note in enumerate(notes, start=1))] if notes else []
    return "\n".join(lines) + "\n"


def _escaped(note: str) -> str:
    return f"`{note.replace('`', chr(39))}`"


def read() -> dict[str, dict[str, dict[str, str]]]:
    found: dict[str, dict[str, dict[str, str]]] = yaml.safe_load(DATA.read_text()) if DATA.is_file() else {}
    return found


def main(names: list[str]) -> None:
    """Run families (all of them by default, ``new`` for those without a row) and write data and page after each."""
    for module in ("gcisg_cls.classifier", "gcisg_seg.predict", "gcisg_seg.registry", "gcisg_det.engine", "mmseg.apis"):
        importlib.import_module(module)
    data = {
        task: {name: row for name, row in read().get(task, {}).items() if name in of} for task, of in known().items()
    }
    for task, families in known().items():
        for name in families:
            if not names or name in names or (names == ["new"] and name not in data[task]):
                data[task][name] = run_family(task, name)
                data[task] = {one: data[task][one] for one in families if one in data[task]}
                print(task, name, data[task][name], flush=True)
                DATA.write_text(yaml.safe_dump(data, sort_keys=False, width=110))
                PAGE.write_text(page(data))


def known() -> dict[str, list[str]]:
    """The families of each task, in the order of the page."""
    return {"segmentation": segmentation(), "detection": [*DETECTION], "classification": [*CLASSIFICATION]}


if __name__ == "__main__":
    main(sys.argv[1:])

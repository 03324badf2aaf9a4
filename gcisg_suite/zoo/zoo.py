"""`gcisg zoo`: lists the models, downloads checkpoints, and verifies their hashes and metrics."""

from __future__ import annotations

import functools
import hashlib
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from urllib.error import URLError

import yaml

from gcisg_core.lookup import choose
from gcisg_core.problems import DataError
from gcisg_core.shell import gcisg_command
from gcisg_suite.places import data_root, find_config, zoo_folder
from gcisg_suite.progress import brief, named, training_bars
from gcisg_suite.tasks import framework_of

Model = dict[str, Any]
TOLERANCE = 0.5  # points; results differ slightly between versions of torch, which sum in different orders


def read_models(folder: Path) -> dict[str, Model]:
    """The models of `metafile.yml` by name."""
    content = yaml.safe_load((folder / "metafile.yml").read_text(encoding="utf-8"))
    return {model["Name"]: model for model in content["Models"]}


def choose_model(name: str) -> Model:
    """The model with this name.

    Raises:
        ValueError: there is no such model; the message names the nearest.
    """
    return choose(read_models(zoo_folder()), name, "model of the zoo")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@functools.cache
def _work_folder() -> tempfile.TemporaryDirectory:
    """A temporary folder for all evaluations of this process.

    It must not be deleted between them: mmengine writes into the folder of a run that began in the same second.
    """
    return tempfile.TemporaryDirectory()


def load_and_evaluate(config: str, checkpoint: str, with_metrics: bool = True) -> dict[str, float]:
    """Load a checkpoint strictly and, if asked, evaluate it on the test data of its config.

    Raises:
        DataError, ValueError: the file is damaged or belongs to another model, or the data cannot be used.
    """
    evaluate = framework_of(config).door("evaluate")
    metrics: dict[str, float] = evaluate(config, checkpoint, with_metrics, _work_folder().name)
    return metrics


def verify(folder: Path, model: Model) -> str:
    """Check one model's file; returns a summary of what was checked.

    Raises:
        DataError: the file is missing, altered, or does not reach the stated metrics.
    """
    stated = model["Checkpoint"]
    path = folder / stated["File"]
    fetch = gcisg_command("zoo", "download", model["Name"], "--base-url", "URL", "--output", folder)
    remedy = f"Restore it from the repository, or fetch it: {fetch}"
    if not path.is_file():
        raise DataError(path, "no such file", remedy)
    if sha256(path) != stated["SHA-256"]:
        raise DataError(path, f"its SHA-256 is {sha256(path)}, expected {stated['SHA-256']}", remedy)
    needed = data_root() / stated["Data"]
    evaluated = load_and_evaluate(find_config(model["Config"]), str(path), needed.is_dir())
    if not evaluated:
        return f"hash and strict load are correct; not evaluated: {needed} does not exist (gcisg prepare)"
    for key, value in stated["Metrics"].items():
        if abs(evaluated[key] - value) > TOLERANCE:
            what = f"{key} is {evaluated[key]:.2f}, expected {value:.2f} ± {TOLERANCE}"
            raise DataError(path, what, "If the data were made by another version, make them again: gcisg prepare")
    found = ", ".join(f"{key} {evaluated[key]:.2f}" for key in stated["Metrics"])
    return f"hash, strict load and metrics are correct: {found}"


def download(model: Model, base_url: str | None, out: Path) -> Path:
    """Fetch a checkpoint under a temporary name, compare its SHA-256, then give it its name.

    Args:
        model: An entry of the metafile.
        base_url: The folder of the files, as a URL or a local path; by default the address of publication.
        out: The folder to write to.

    Raises:
        DataError: the model has no checkpoint, it cannot be downloaded, or its hash is wrong.
    """
    stated, train = model.get("Checkpoint"), gcisg_command("train", "--config", model["Config"])
    if not stated:
        raise DataError(model["Name"], "has no checkpoint", f"Train it: {train}")
    base = base_url or stated["Published At"]
    if not base:
        what = "is not published at any address yet"
        remedy = f"It is in the repository, zoo/{stated['File']}; or give --base-url, or train it: {train}"
        raise DataError(model["Name"], what, remedy)
    url = f"{base.rstrip('/')}/{stated['File']}" if "://" in base else (Path(base).resolve() / stated["File"]).as_uri()
    import torch  # only needed here

    out.mkdir(parents=True, exist_ok=True)
    try:
        # It writes to a temporary file, compares the hash, and renames; it has a bar of its own on a terminal.
        has_bar = sys.stderr.isatty()
        with nullcontext() if has_bar else brief(f"downloading {url}"):
            torch.hub.download_url_to_file(url, str(out / stated["File"]), stated["SHA-256"], has_bar)
    except (OSError, URLError) as error:
        raise DataError(url, f"cannot be fetched ({error})", "Check the address, or give another --base-url") from error
    except RuntimeError as error:
        raise DataError(url, f"is not the file that the metafile lists ({error})", "Fetch it from elsewhere") from error
    return out / stated["File"]


def rows(models: dict[str, Model]) -> list[list[str]]:
    """The rows of `gcisg zoo list`: name, our results, and the file."""
    found = []
    for name, model in models.items():
        results = ", ".join(
            f"{metric} {value}" for item in model.get("Results", []) for metric, value in item["Metrics"].items()
        )
        file = model["Checkpoint"]["File"] if "Checkpoint" in model else "no checkpoint: train it, see `show`"
        found.append([name, results or ("not evaluated" if name.endswith("_mini") else "not trained by us"), file])
    return found


def verify_all(names: Sequence[str]) -> int:
    """Verify these models (by default all that have a file) and print a line for each; returns 1 if any is wrong."""
    folder = zoo_folder()
    models = read_models(folder)
    chosen = {name: choose(models, name, "model of the zoo") for name in names or models}
    failed = 0
    for name, model in chosen.items():
        if "Checkpoint" not in model:
            if names:
                print(f"{name}: has no checkpoint; train it: {model['Command']}")
            continue
        try:
            with training_bars(), named(name):
                found = verify(folder, model)
            print(f"{name}: {found}", flush=True)
        except ValueError as error:
            failed += 1
            print(f"{name}: WRONG: {error}", flush=True)
    return 1 if failed else 0

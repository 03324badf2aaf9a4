#!/usr/bin/env python
"""The model zoo: what there is, whether its files are whole and as good as stated, and how to get them.

    python tools/zoo.py list
    python tools/zoo.py show classification/gcisg_mini
    python tools/zoo.py verify                                  # hashes, strict loads, and the metrics where data are
    python tools/zoo.py download classification/gcisg_mini --out weights

MODEL_ZOO.md shows the same. `tools/zoo_write.py` makes both from `zoo/rows.yml`.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
import yaml
from tabulate import tabulate
from train_net import find_config

from gcisg_core.lookup import choose
from gcisg_core.problems import DataError

Model = dict[str, Any]
TOLERANCE = 0.5  # points: other versions of torch sum in another order


def zoo_folder() -> Path:
    """The folder of the metafile and the checkpoints: the checkout's, or what the installed package brought along."""
    folder = Path(__file__).resolve().parents[1] / "zoo"
    installed = importlib.util.find_spec("gcisg_configs")
    if not folder.is_dir() and installed:
        return Path(next(iter(installed.submodule_search_locations or ()))) / "zoo"
    return folder


def read_models(folder: Path) -> dict[str, Model]:
    """The models of `metafile.yml` by name."""
    content = yaml.safe_load((folder / "metafile.yml").read_text(encoding="utf-8"))
    return {model["Name"]: model for model in content["Models"]}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@functools.cache
def _work_folder() -> tempfile.TemporaryDirectory:
    """One for the process: mmengine writes on in the folder of a run that began in the same second."""
    return tempfile.TemporaryDirectory()


def load_and_measure(config: str, checkpoint: str, measure: bool = True) -> dict[str, float]:
    """Load a checkpoint strictly and, if asked, evaluate it on the test data of its config.

    Raises:
        DataError, ValueError: The file is damaged or not of this config's model, or the data cannot be used.
    """
    work = _work_folder().name
    if config.endswith(".yaml"):
        from gcisg_det.checkpoint import SafeCheckpointer
        from gcisg_det.config import read_config
        from gcisg_det.datasets import setup_datasets
        from gcisg_det.engine import Trainer

        cfg = read_config(config, ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", "OUTPUT_DIR", work])
        cfg.DATASETS.TEST = cfg.DATASETS.TEST[-1:]  # what is reported
        setup_datasets(cfg)
        detector = Trainer.build_model(cfg)
        SafeCheckpointer(detector, cfg=cfg, strict=True).load(checkpoint)
        return Trainer.test(cfg, detector)[cfg.DATASETS.TEST[0]]["bbox"] if measure else {}
    from gcisg_core.integrations.mmengine import build_runner, load_for_evaluation, unwrap

    # By default a name of config and second, which two tasks can share, and with it the registries' scope.
    settings = ["log_level=WARNING", f"experiment_name={Path(checkpoint).stem}"]
    runner = build_runner(config, settings, work)
    load_for_evaluation(unwrap(runner.model), checkpoint)
    metrics: dict[str, float] = runner.test() if measure else {}
    return metrics


def verify(folder: Path, model: Model) -> str:
    """Check one model's file; returns what was found in order.

    Raises:
        DataError: The file is absent, altered, or does not reach its metrics.
    """
    stated = model["Checkpoint"]
    path = folder / stated["File"]
    remedy = "Restore it from the repository, or fetch it: tools/zoo.py download"
    if not path.is_file():
        raise DataError(path, "no such file", remedy)
    if sha256(path) != stated["SHA-256"]:
        raise DataError(path, f"its SHA-256 is {sha256(path)}, expected {stated['SHA-256']}", remedy)
    needed = Path(os.environ.get("GCISG_DATA") or "data") / stated["Data"]
    measured = load_and_measure(find_config(model["Config"]), str(path), needed.is_dir())
    if not measured:
        return f"hash and strict load in order; not measured: {needed} is not there (python tools/prepare_mini.py)"
    for key, value in stated["Metrics"].items():
        if abs(measured[key] - value) > TOLERANCE:
            what = f"{key} is {measured[key]:.2f}, stated are {value:.2f} ± {TOLERANCE}"
            raise DataError(path, what, "Were the data made by this version? python tools/prepare_mini.py")
    found = ", ".join(f"{key} {measured[key]:.2f}" for key in stated["Metrics"])
    return f"hash, strict load and metrics in order: {found}"


def download(model: Model, base_url: str | None, out: Path) -> Path:
    """Fetch a checkpoint under a temporary name, compare its SHA-256, then give it its name.

    Args:
        model: An entry of the metafile.
        base_url: The folder of the files, a URL or a local path; by default where they are published.
        out: The folder that it goes to.

    Raises:
        DataError: There is none, it cannot be fetched, or it is not the file that the metafile means.
    """
    stated = model.get("Checkpoint")
    if not stated:
        raise DataError(model["Name"], "has no checkpoint", f"Train it: {model['Command']}")
    base = base_url or stated["Published At"]
    if not base:
        what = "is not published at any address yet"
        remedy = f"It is in the repository, zoo/{stated['File']}; or give --base-url, or train it: {model['Command']}"
        raise DataError(model["Name"], what, remedy)
    url = f"{base.rstrip('/')}/{stated['File']}" if "://" in base else (Path(base).resolve() / stated["File"]).as_uri()
    out.mkdir(parents=True, exist_ok=True)
    try:
        # Writes under a temporary name, compares, renames.
        torch.hub.download_url_to_file(url, str(out / stated["File"]), stated["SHA-256"], sys.stderr.isatty())
    except (OSError, URLError) as error:
        raise DataError(url, f"cannot be fetched ({error})", "Check the address, or give another --base-url") from error
    except RuntimeError as error:
        raise DataError(url, f"is not the file of the metafile ({error})", "Fetch it from elsewhere") from error
    return out / stated["File"]


def rows(models: dict[str, Model]) -> list[list[str]]:
    """The lines of `list`: name, what it reached here, and its file."""
    found = []
    for name, model in models.items():
        results = ", ".join(
            f"{metric} {value}" for item in model.get("Results", []) for metric, value in item["Metrics"].items()
        )
        file = model["Checkpoint"]["File"] if "Checkpoint" in model else "no checkpoint: train it, see `show`"
        found.append([name, results or ("not measured" if name.endswith("_mini") else "not trained by us"), file])
    return found


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="every model, its metrics and its file")
    shown = commands.add_parser("show", help="all that is known of a model, the command that trains it included")
    verified = commands.add_parser("verify", help="hash, strict load and, where the data are, metrics of the files")
    fetched = commands.add_parser("download", help="fetch a checkpoint and compare its hash")
    shown.add_argument("name")
    verified.add_argument("names", nargs="*", metavar="name", help="these alone (all that have a file)")
    fetched.add_argument("name")
    fetched.add_argument("--out", type=Path, default=Path("weights"), metavar="DIR", help="where it goes (weights)")
    fetched.add_argument("--base-url", metavar="URL|DIR", help="where the files are (as the metafile says)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    folder = zoo_folder()
    models = read_models(folder)
    try:
        if args.command == "list":
            print(tabulate(rows(models), headers=("model", "measured", "checkpoint"), disable_numparse=True))
        elif args.command == "show":
            model = choose(models, args.name, "model of the zoo")
            print(yaml.safe_dump(model, sort_keys=False, allow_unicode=True, width=120), end="")
        elif args.command == "download":
            print(download(choose(models, args.name, "model of the zoo"), args.base_url, args.out))
        else:
            return _verify_all(folder, models, args.names)
    except ValueError as error:
        sys.exit(f"error: {error}")
    return 0


def _verify_all(folder: Path, models: dict[str, Model], names: list[str]) -> int:
    chosen = {name: choose(models, name, "model of the zoo") for name in names or models}
    failed = 0
    for name, model in chosen.items():
        if "Checkpoint" not in model:
            if names:
                print(f"{name}: has no checkpoint; train it: {model['Command']}")
            continue
        try:
            print(f"{name}: {verify(folder, model)}", flush=True)
        except ValueError as error:
            failed += 1
            print(f"{name}: WRONG: {error}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Writes the model zoo's files, `zoo/metafile.yml`, `MODEL_ZOO.md` and `docs/recipes.md`, and packs checkpoints.

Packing keeps only the task model, stores its weights as 8-bit floats (a quarter of the size; loading converts them to
32 bits), compresses the file, names it by its hash, and evaluates both the packed and the original checkpoint.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from mmengine.runner import CheckpointLoader
from tabulate import tabulate
from torch import Tensor

import gcisg_core.integrations.mmengine  # noqa: F401 - checkpoints are read without running code
from gcisg_core.export import without_method, write_hashed
from gcisg_core.files import write_text
from gcisg_suite.report import seeds
from gcisg_suite.sweep.run import read_runs

from . import recipes
from .zoo import Model, load_and_evaluate, sha256

PACKED = torch.float8_e4m3fn
LARGE = 200_000  # weights with more values keep two of the three mantissa bits, to keep the zoo small
INTRODUCTION = """\
# Model zoo

{verdicts}

```
# train the config of a row; evaluate its checkpoint; verify all checkpoints
python tools/train_net.py --config CONFIG
python tools/train_net.py --config CONFIG --eval-only --checkpoint zoo/FILE
python tools/zoo.py verify
```

- **We did not train the papers' settings.** If a recipe follows a paper, the column *paper's* has that paper's figure,
  which is not ours. The last column shows whose recipe it is; [docs/recipes.md](docs/recipes.md) has the origin of each
  setting.
- **We trained the configs named `_mini`**, on the [miniature](docs/miniature.md). Their figures are the mean ± standard
  deviation on the test split, over seeds that change the data, their order and the initial heads. Time and memory (the
  peak of the process) are those of one run on one CPU core.
- **A checkpoint** contains the task's model from one seed, with its weights as 8-bit floats. Its link is followed by
  the metrics of the file and, in brackets, those of the model before packing. The files are in `zoo/`; they are not
  published at any address yet.
- `verify` compares hashes, loads each file with `strict=True`, and evaluates it again if the miniature's data exist
  (`python tools/prepare_mini.py`). `show` and `download` take names of the form `<task>/<config>`.

Written by `python tools/zoo_write.py` from `zoo/rows.yml`, `docs/recipes.yml`, the sweeps and `zoo/checkpoints.json`.
`zoo/metafile.yml` holds the same rows for programs (OpenMMLab's model index).
"""
NONE = "-"
COSTS = (("Training Time (s)", "s"), ("Training Memory (GB)", "GB"), ("Seeds", ""))  # key, unit


def runs_of(config: str, sweep: Path) -> list[dict[str, Any]]:
    """The finished runs of a config without overrides."""
    name = Path(config).stem
    return [run for run in read_runs(sweep) if run["config"] == name and not run["overrides"] and "test" in run]


def models(content: dict[str, Any], checkpoints: dict[str, Any], whose: dict[str, str], root: Path) -> Iterator[Model]:
    """The entries of the metafile, in the order of the rows. `whose`: full-size model -> whose recipe it is."""
    for name, task in content["tasks"].items():
        for row in task["rows"]:
            model_name = f"{name}/{Path(row['config']).stem}"
            data = row.get("data") or task["data"]["mini" if model_name.endswith("_mini") else "paper"]
            metadata = {"Architecture": row["backbone"], "Schedule": row["schedule"], "Data": data}
            model: Model = {
                "Name": model_name,
                "In Collection": row["collection"],
                "Config": row["config"],
                "Command": f"python tools/train_net.py --config {row['config']}",
                "Metadata": metadata,
            }
            if model_name in whose:
                metadata["Recipe"] = whose[model_name]
            if runs := runs_of(row["config"], root / row.get("sweep", task["sweep"])):
                metadata["Training Memory (GB)"] = round(max(run["peak_mb"] for run in runs) / 1024, 2)
                metadata["Training Time (s)"] = round(statistics.mean(run["seconds"] for run in runs))
                metadata["Seeds"] = len(runs)
                values = {metric["head"]: [run["test"][key] for run in runs] for key, metric in task["metrics"].items()}
                means = {head: round(statistics.mean(numbers), 2) for head, numbers in values.items()}
                result = {"Task": task["task"], "Dataset": data, "Metrics": means}
                if len(runs) > 1:
                    spreads = {head: round(statistics.stdev(numbers), 2) for head, numbers in values.items()}
                    result["Standard Deviations"] = spreads
                model["Results"] = [result]
            if "paper" in row:
                heads = [metric["head"] for metric in task["metrics"].values()]
                model["Paper's Figures"] = {**dict(zip(heads, row["paper"], strict=True)), "Source": row["source"]}
            if model_name in checkpoints:
                packed = checkpoints[model_name]
                model["Weights"] = f"{content['base_url'] or 'zoo'}/{packed['File']}"
                model["Checkpoint"] = {**packed, "Data": task["needs"], "Published At": content["base_url"]}
            yield model


def verdict(name: str, content: dict[str, Any], root: Path) -> str:
    """The gain of GCISG over the baseline in a task's miniature, with the versions of the runs; "" without runs."""
    task = content["tasks"][name]
    rows = {Path(row["config"]).stem: row for row in task["rows"]}
    found = {
        method: {
            run["seed"]: run for run in runs_of(rows[stem]["config"], root / rows[stem].get("sweep", task["sweep"]))
        }
        for method, stem in (("baseline", "baseline_mini"), ("GCISG", "gcisg_mini"))
        if stem in rows
    }
    shared = sorted(set.intersection(*(set(runs) for runs in found.values()))) if len(found) > 1 else []
    if not shared:
        return ""
    metric, about = next(iter(task["metrics"].items()))
    results = {method: [runs[seed]["test"] for seed in shared] for method, runs in found.items()}
    (text,) = seeds.verdicts(results, metric, about["head"].removesuffix(" %"))
    stated = [run.get("versions", {}) for runs in found.values() for run in runs.values()]
    versions = sorted({f"{what} {version}" for each in stated for what, version in each.items()})
    return f"- **{task['title']}, miniature:** {text}" + (f" Made with {', '.join(versions)}." if versions else "")


def table(name: str, content: dict[str, Any], entries: list[Model]) -> str:
    """A task's section of MODEL_ZOO.md."""
    task = content["tasks"][name]
    metrics = [metric["head"] for metric in task["metrics"].values()]
    lines = []
    for model in sorted(entries, key=lambda model: "Checkpoint" not in model):
        data = model["Metadata"]
        paper = model.get("Paper's Figures")
        lines.append([
            f"[{Path(model['Config']).stem}]({model['Config']})",
            f"{' / '.join(str(paper[m]) for m in metrics)} ({paper['Source']})" if paper else NONE,
            evaluated(model) or ("not evaluated" if model["Name"].endswith("_mini") else "not trained by us"),
            _file_cell(model),
            f"[log](zoo/{model['Checkpoint']['Log']})" if "Checkpoint" in model else NONE,
            *(f"{data[key]} {unit}".rstrip() if key in data else NONE for key, unit in COSTS),
            data["Architecture"],
            data["Schedule"],
            f"[{data['Recipe']}](docs/recipes.md#{Path(model['Config']).stem})" if "Recipe" in data else NONE,
        ])  # fmt: skip
    heads = ["config", "paper's", f"ours: {' / '.join(metrics)}", "checkpoint", "log", "time", "memory", "seeds"]
    heads += ["backbone", "schedule", "recipe"]
    text = f"## {task['title']}\n\nMiniature: {task['data']['mini']}. Paper: {task['data']['paper']}.\n\n"
    return text + tabulate(lines, headers=heads, tablefmt="github", disable_numparse=True) + "\n"


def evaluated(model: Model) -> str:
    """`mean ± standard deviation` of each metric, of one run only the value; empty if there are no runs."""
    if "Results" not in model:
        return ""
    (result,) = model["Results"]
    spreads = {head: f" ± {value:.1f}" for head, value in result.get("Standard Deviations", {}).items()}
    return " / ".join(f"{mean:.1f}{spreads.get(head, '')}" for head, mean in result["Metrics"].items())


def _file_cell(model: Model) -> str:
    if "Checkpoint" not in model:
        return NONE
    packed = model["Checkpoint"]
    own, before = (
        " / ".join(f"{value:.1f}" for value in packed[key].values()) for key in ("Metrics", "Metrics Before Packing")
    )
    return f"[{packed['Bytes'] / 1e6:.2f} MB]({model['Weights']}), seed {packed['Seed']}: {own} ({before})"


def contents(folder: Path) -> dict[Path, str]:
    """File -> text of all generated files; writes nothing."""
    content = yaml.safe_load((folder / "rows.yml").read_text(encoding="utf-8"))
    checkpoints = json.loads((folder / "checkpoints.json").read_text(encoding="utf-8"))
    known = recipes.read(folder.parent)
    whose = {name: f"{recipe.follows}'s" if recipe.follows else "ours" for name, recipe in known.items()}
    found = list(models(content, checkpoints, whose, folder.parent))
    collections = [{"Name": name, **values} for name, values in content["collections"].items()]
    meta = yaml.safe_dump({"Collections": collections, "Models": found}, sort_keys=False, allow_unicode=True, width=120)
    sections = [
        table(name, content, [model for model in found if model["Name"].startswith(f"{name}/")])
        for name in content["tasks"]
    ]
    verdicts = "\n".join(filter(None, (verdict(name, content, folder.parent) for name in content["tasks"])))
    head = "# Written by tools/zoo_write.py from rows.yml, docs/recipes.yml, checkpoints.json and the sweeps.\n"
    return {
        folder / "metafile.yml": head + meta,
        folder.parent / "MODEL_ZOO.md": "\n".join([INTRODUCTION.format(verdicts=verdicts), *sections]),
        folder.parent / "docs" / "recipes.md": recipes.page(folder.parent, known),
    }


def _small(weight: Tensor) -> Tensor:
    coarse = weight.to(torch.float8_e5m2).float() if weight.numel() > LARGE else weight
    return coarse.to(PACKED)


def pack(source: Path, goal: Path, meta: dict[str, Any]) -> Path:
    """Write the task model of a training checkpoint in packed form; returns `<goal>-<hash>.pth`."""
    loaded = CheckpointLoader.load_checkpoint(str(source), map_location="cpu")
    key = "state_dict" if "state_dict" in loaded else "model"
    small = {
        name: _small(value) if name.endswith(".weight") and value.ndim > 1 else value
        for name, value in without_method(loaded[key]).items()
    }

    def write(path: Path) -> None:
        with tempfile.TemporaryDirectory() as work:
            torch.save({key: small, "meta": meta}, Path(work) / goal.name)
            with zipfile.ZipFile(Path(work) / goal.name) as plain, zipfile.ZipFile(path, "w") as packed:
                for name in plain.namelist():
                    packed.writestr(zipfile.ZipInfo(name), plain.read(name), zipfile.ZIP_DEFLATED, 9)

    return write_hashed(goal.with_name(f"{goal.name}.pth"), write)


def add(folder: Path, name: str, checkpoint: Path, log: Path, seed: int) -> None:
    """Pack a checkpoint and its log into the zoo, evaluate it, and add it to `checkpoints.json`."""
    content = yaml.safe_load((folder / "rows.yml").read_text(encoding="utf-8"))
    task = content["tasks"][name.partition("/")[0]]
    config = next(row["config"] for row in task["rows"] if Path(row["config"]).stem == name.partition("/")[2])
    keys = [metric["key"] for metric in task["metrics"].values()]
    for old in folder.glob(f"{name.replace('/', '_')}-*"):
        old.unlink()
    path = pack(checkpoint, folder / name.replace("/", "_"), {"config": config, "seed": seed})
    write_text(path.with_suffix(".log.jsonl"), log.read_text())
    own, before = (load_and_evaluate(config, str(file)) for file in (path, checkpoint))
    known = folder / "checkpoints.json"
    entries = json.loads(known.read_text()) if known.is_file() else {}
    entries[name] = {
        "File": path.name,
        "SHA-256": sha256(path),
        "Bytes": path.stat().st_size,
        "Log": path.with_suffix(".log.jsonl").name,
        "Seed": seed,
        "Metrics": {key: round(float(own[key]), 2) for key in keys},
        "Metrics Before Packing": {key: round(float(before[key]), 2) for key in keys},
    }
    write_text(known, json.dumps(dict(sorted(entries.items())), indent=1) + "\n")

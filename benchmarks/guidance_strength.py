"""How strong the guidance of each full-size recipe is beside the authors' form: python benchmarks/guidance_strength.py

Each `gcisg_*` recipe lends its losses and its batch of a process to the miniature of its task (data, network,
optimiser), which is trained for 300 steps; so do the defaults of the preset `paper` at the authors' batch. In the first
and the last ten steps the gradient of the guidance is compared to that of the authors' form on the same features: the
norm of the whole batch's difference matrix, with a weight of 1.

First: python tools/prepare_mini.py
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import geometric_mean, mean
from typing import Any, NamedTuple

import gcisg_det  # noqa: F401  registers the parts, and repairs Detectron2 0.5 before it is imported

# isort: split
import torch
import yaml
from _measure import write_table
from detectron2.engine import default_setup
from mmengine.config import Config
from torch import Tensor

from gcisg_core.integrations.detectron2 import lower_keys
from gcisg_core.integrations.mmengine import build_runner, unwrap
from gcisg_core.losses import guidance_loss
from gcisg_core.padding import mask_at
from gcisg_core.regularizers.base import Terms
from gcisg_det.config import read_config
from gcisg_det.datasets import setup_datasets
from gcisg_det.engine import Trainer

PROJECTS = Path(__file__).parents[1] / "projects"
STEPS, WINDOW = 300, 10
AUTHORS_BATCH = 32
# What does not fit the miniature: a queue of 65,536, a slow average for 300 steps, 8 x 8 patches of 12 x 12 positions.
SMALL = {"queue_length": 1024, "decay": 0.99}
CELLS = {"classification": (1, 1), "segmentation": (4, 4), "detection": (1, 1)}


class Strength:
    """Notes, in the first and the last steps, both forms' gradients and the mean distance F / sqrt(B) of each stage.

    The gradients are taken in the student's weights, of all stages together: what the optimiser gets, and one number
    where the stages share weights. In one stage alone the two are multiples of each other, by B / (2 F) and the weight.
    """

    def __init__(self, regularizer: Any) -> None:
        self.weights = [parameter for parameter in regularizer.student.parameters() if parameter.requires_grad]
        self.count = 0
        self.ratios: list[float] = []
        self.distances: list[dict[int, float]] = []
        regularizer.register_forward_hook(self)

    def _length(self, losses: Iterable[Tensor]) -> float:
        gradients = torch.autograd.grad(
            torch.stack([*losses]).sum(), self.weights, retain_graph=True, allow_unused=True
        )
        return torch.stack([g.norm() for g in gradients if g is not None]).norm().item()

    def __call__(self, regularizer: Any, args: tuple[Any, ...], terms: Terms) -> None:
        self.count += 1
        if WINDOW < self.count <= STEPS - WINDOW:
            return
        views, features, mask = args
        view = regularizer.settings.task_view
        reference = regularizer.reference(views[view])
        norms = {}
        for stage in regularizer.guidance_weights:
            student = features[view][stage]
            inside = mask_at(mask, student)
            norms[stage] = guidance_loss(student, reference[stage], reduction="frobenius", mask=inside)
        own = [loss for name, loss in terms.losses.items() if "guidance" in name]
        self.ratios.append(self._length(own) / self._length(norms.values()))
        self.distances.append({stage: norm.item() / len(views[view]) ** 0.5 for stage, norm in norms.items()})


def train_mmengine(task: str, settings: dict[str, Any], batch: int, folder: Path) -> Strength:
    config = folder / "shrunk.py"
    config.write_text(
        f"_base_ = {str(PROJECTS / task / 'gcisg_mini.py')!r}\n"
        f"model = dict(regularizer=dict(_delete_=True, **{settings!r}))\n"
        f"train_dataloader = dict(batch_size={batch})\n"
        f"train_cfg = dict(max_iters={STEPS})\n"
        f"param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=False, T_max={STEPS})]\n"
        "val_dataloader = val_cfg = val_evaluator = None\n"
    )
    runner = build_runner(config, work_dir=folder)
    strength = Strength(unwrap(runner.model).regularizer)
    runner.train()
    return strength


def train_detectron2(task: str, settings: dict[str, Any], batch: int, folder: Path) -> Strength:
    config = folder / "shrunk.yaml"
    content = {
        "_BASE_": str(PROJECTS / task / "Base-mini.yaml"),
        "REGULARIZER": {key.upper(): [*v] if isinstance(v, tuple) else v for key, v in settings.items()},
        "SOLVER": {"IMS_PER_BATCH": batch, "MAX_ITER": STEPS},
        "DATASETS": {"TEST": []},
        "OUTPUT_DIR": str(folder),
    }
    config.write_text(yaml.safe_dump(content))
    cfg = read_config(config, [] if torch.cuda.is_available() else ["MODEL.DEVICE", "cpu"])
    setup_datasets(cfg)
    default_setup(cfg, argparse.Namespace(config_file="", eval_only=False))
    trainer: Any = Trainer(cfg)
    trainer.resume_or_load(resume=False)
    strength = Strength(trainer.model.regularizer)
    trainer.train()
    return strength


class Recipe(NamedTuple):
    """The settings and batch of a process that one or more configs have in common."""

    task: str
    names: str
    settings: dict[str, Any]
    batch: int


def read(path: Path) -> tuple[dict[str, Any], int]:
    """The method's settings and the batch of one process."""
    if path.suffix == ".yaml":
        cfg = read_config(path)
        return lower_keys(cfg.REGULARIZER), cfg.SOLVER.IMS_PER_BATCH
    config = Config.fromfile(path)
    return config.model.regularizer.to_dict(), config.train_dataloader.batch_size


def recipes() -> list[Recipe]:
    """Every full-size recipe, those that differ in their backbone alone together, and the defaults beside them."""
    found: list[Recipe] = []
    for path in sorted(PROJECTS.glob("*/gcisg_r*.*")):
        settings, batch = read(path)
        task, name = path.parent.name, path.stem
        for index, other in enumerate(found):
            if (other.task, other.settings, other.batch) == (task, settings, batch):
                found[index] = other._replace(names=f"{other.names}, {name}")
                break
        else:
            found.append(Recipe(task, name, settings, batch))
    return [*found, Recipe("classification", "preset paper", {"method": "gcisg"}, AUTHORS_BATCH)]


def rows_of(recipe: Recipe) -> Iterator[list[object]]:
    settings = recipe.settings | SMALL | {"patches": CELLS[recipe.task]}
    train = train_detectron2 if recipe.task == "detection" else train_mmengine
    with tempfile.TemporaryDirectory() as folder:
        strength = train(recipe.task, settings, recipe.batch, Path(folder))
    for first in (0, WINDOW):
        window = slice(first, first + WINDOW)
        distances = [mean(step[stage] for step in strength.distances[window]) for stage in (3, 4)]
        equal = [recipe.batch**0.5 / (2 * distance) for distance in distances]
        steps = "1-10" if not first else f"{STEPS - WINDOW + 1}-{STEPS}"
        yield [*recipe[:2], recipe.batch, steps, *distances, *equal, geometric_mean(strength.ratios[window])]


NOTES = """\
Distance: of the pooled unit features of student and reference, root mean square over the batch, F / sqrt(B), mean of
ten steps. B / (2 F): the weight that gives Eq. 8 the gradient of the norm F. Ratio: gradient of the recipe's guidance
over that of the authors' form with a weight of 1, in the student's weights, geometric mean of ten steps. The student
differs from the reference from the first step on where BatchNorm trains, as the reference keeps its running statistics;
where BatchNorm is frozen (detection) the distance grows from nothing, so the start is ten steps and not the first.
`preset paper`: Eq. 8 with the weight of its defaults. Recipes that differ in their backbone alone are one row."""


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    rows = [row for recipe in recipes() for row in rows_of(recipe)]
    distances = [f"{what}, stage {stage}" for what in ("distance", "B / (2 F)") for stage in (3, 4)]
    heads = ["task", "recipe", "batch", "steps", *distances, "ratio"]
    title = "The guidance of GCISG's full-size recipes beside the authors' form, on the miniature"
    write_table("guidance_strength", title, rows, heads, NOTES)


if __name__ == "__main__":
    main()

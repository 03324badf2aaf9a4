"""From checkpoints to `analysis.json` and `analysis.html`; `docs/analysis.md` explains both."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from torch import Tensor

from gcisg_core.files import write_text
from gcisg_core.model_metrics import ModelMetrics, Value
from gcisg_suite.progress import named, progress
from gcisg_suite.report.page import Picture, Section, write_report
from gcisg_suite.report.seeds import labels

from .compare import difference, over_images, over_seeds
from .page import page_sections, text
from .pictures import (
    REFERENCE,
    attention_figure,
    chosen,
    confusion_figure,
    density_figure,
    failures_figure,
    grad_cam_figure,
)
from .task import EvalTask

SCHEMA = 1


class Checkpoint(NamedTuple):
    """A file, and its name on the page; checkpoints that share a name are seeds of one method."""

    name: str
    path: str


def labels_of(checkpoints: Sequence[Checkpoint]) -> list[str]:
    """A unique name for each checkpoint: seeds of one method are numbered from 0."""
    return labels([checkpoint.name for checkpoint in checkpoints])


def analyze(task: EvalTask, config: str, checkpoints: Sequence[Checkpoint], out: Path) -> Path:
    """Evaluate the checkpoints, compare them with the first, and write `analysis.json` and `analysis.html`.

    Returns:
        Path of the page.

    Raises:
        ValueError: a checkpoint is unusable.
    """
    names = labels_of(checkpoints)
    pairs = list(zip(names, checkpoints, strict=True))
    models = {name: task.load(checkpoint.path) for name, checkpoint in progress(pairs, "loading", "checkpoint")}
    evaluated: dict[str, ModelMetrics] = {}
    for name, model in models.items():
        with named(name):
            evaluated[name] = task.evaluate(model)
            evaluated[name].values["acc_in"] = task.acc_in(task.backbone(model))
    first, *others = names
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "task": task.title,
        "config": config,
        "data": {"name": task.data, "images": len(task)},
        "energy_form": task.options.form,
        "score": task.score,
        "reference": {"weights": task.weights, "metrics": _of_reference(task, evaluated[first])},
        "checkpoints": [
            {"name": name, "file": checkpoint.path, **_as_json(evaluated[name])}
            for name, checkpoint in zip(names, checkpoints, strict=True)
        ],
        "differences": [
            {
                "name": name,
                "to": first,
                "metrics": difference(evaluated[name].values, evaluated[first].values),
                "paired_over_images": over_images(evaluated[name], evaluated[first]),
            }
            for name in others
        ],
        "paired_over_seeds": over_seeds(
            [checkpoint.name for checkpoint in checkpoints], [evaluated[name].values for name in names]
        ),
    }
    write_text(out / "analysis.json", json.dumps(content, indent=1, allow_nan=False) + "\n")
    # The pictures show the first seed of each method.
    shown = {
        name: models[name]
        for position, name in enumerate(names)
        if checkpoints[position].name not in [earlier.name for earlier in checkpoints[:position]]
    }
    sections = [*page_sections(content, task.heads), *_pictures(task, shown, evaluated, content)]
    return write_report(out / "analysis.html", f"Analysis: {task.title}", sections)


def _of_reference(task: EvalTask, evaluated: ModelMetrics) -> dict[str, Value]:
    if task.reference is None:
        return {"reference": task.no_reference}
    headless = "the pretrained network has no head for this task"
    values: dict[str, Value] = dict.fromkeys([*task.heads, "match_rate"], headless)
    itself = ModelMetrics(
        values,
        sample=evaluated.reference,
        reference=evaluated.reference,
        alignments=dict.fromkeys(evaluated.alignments, 1.0),
        form=task.options.form,
    )
    return {**itself.values, "acc_in": task.acc_in(task.reference)}


def _as_json(evaluated: ModelMetrics) -> dict[str, Any]:
    counts = evaluated.confusion
    return {
        "metrics": evaluated.values,
        "per_class": evaluated.per_class,
        "confusion": {"axes": [*evaluated.axes], "counts": counts.tolist()} if isinstance(counts, Tensor) else counts,
    }


def _pictures(
    task: EvalTask, models: Mapping[str, Any], evaluated: Mapping[str, ModelMetrics], content: Mapping[str, Any]
) -> list[Section]:
    indices = chosen(len(task))
    backbones = {name: task.backbone(model) for name, model in models.items()}
    samples = {name: evaluated[name].sample for name in models}
    results = {name: evaluated[name].values for name in models}
    reason = "" if task.reference is not None else f" The reference is not shown: {task.no_reference}."
    if task.reference is not None:
        backbones[REFERENCE] = task.reference
        samples[REFERENCE] = next(iter(evaluated.values())).reference
        results[REFERENCE] = content["reference"]["metrics"]
        if task.classifier is None:
            reason = " The reference is not shown: its weights hold no classifier to explain."
    explained = "" if reason else "; for the reference, for the prediction of its own classifier"
    images = f"{len(indices)} images, evenly spaced through the data"
    energy = {name: _energy_text(values) for name, values in results.items()}
    drawings: list[tuple[str, Callable[[], Figure], str]] = [
        (
            "Where the models look",
            lambda: grad_cam_figure(task, models, indices),
            f"Grad-CAM (in the form of HiResCAM) at stage {task.explained_stage(next(iter(backbones.values())))}, over "
            f"the image in grey. Yellow marks what matters most for {task.cam}{explained}. {images}.{reason}",
        ),
        (
            "Where self-attention pooling puts its weight",
            lambda: attention_figure(task, backbones, indices),
            f"Guidance pools stages 3 and 4 with this attention (GCISG, Eq. 6). It is shown for every network, also "
            f"for those that were not trained with it. Yellow is the largest weight of each map. {images}.",
        ),
        (
            "How diverse the features are",
            lambda: density_figure(samples, energy),
            "Penultimate features, l2-normalised, projected onto their first two principal components (computed for "
            "each network), and l2-normalised again, so that they lie on a circle. Brighter is denser (Gaussian kernel "
            "density, Scott's rule). The energies are those of the features before the projection: lower means more "
            "diverse.",
        ),
        (
            "Which classes are confused",
            lambda: confusion_figure({name: evaluated[name] for name in models}),
            "Confusion matrices. Each row is a true class; its cells show the percentage predicted as each column.",
        ),
    ]
    drawings += [
        (
            f"The worst failures of {name}",
            partial(failures_figure, task, model, evaluated[name].failure),
            "Top: the truth. Bottom: the prediction, with its confidence. The worst image comes first. An "
            f"image is judged by {task.score}{task.failure}.",
        )
        for name, model in models.items()
    ]
    return [_section(*drawing) for drawing in progress(drawings, "drawing", "picture")]


def _energy_text(values: Mapping[str, Value]) -> str:
    names = {power: f"energy_{power}" for power in (0, 1, 2)}
    return "\n".join(f"power {power}: {text(values, name)}" for power, name in names.items() if name in values)


def _section(title: str, draw: Callable[[], Figure], caption: str) -> Section:
    """A section with a picture, or with a sentence that says why it could not be drawn."""
    try:
        return Section(title, [], pictures=[Picture(draw(), caption)])
    except ValueError as error:
        return Section(title, [f"No picture: {error}."])

"""The tables of the analysis page, made from the content of `analysis.json`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from gcisg_core.model_metrics import METRICS, Value
from gcisg_suite.report import seeds
from gcisg_suite.report.page import Section

# Metric -> its name on the page; the task's own metrics come before them.
HEADS = {
    "match_rate": "match rate %",
    "acc_in": "Acc_IN %",
    **{name: metric.head for name, metric in METRICS.items()},
}
DASH = "-"  # in a cell without a number
INTERVAL = "95 % interval (Student's t)"


def text(values: Mapping[str, Value], name: str, signed: bool = False) -> str:
    """A metric as the text of a table cell, with its standard error if it has one."""
    value = values.get(name, "not evaluated")
    if isinstance(value, str):
        return value
    digits = _digits(name)
    error = values.get(f"{name}_error", 0.0)
    value = round(value, digits) + 0.0  # no -0.00
    shown = f"{value:{'+' if signed else ''}.{digits}f}"
    return f"{shown} ± {error:.{digits}f}" if isinstance(error, float) and error else shown


def _digits(name: str) -> int:
    """Decimals to print; percentages get two."""
    return METRICS[name].digits if name in METRICS else 2


def metric_rows(
    columns: Mapping[str, Mapping[str, Value]],
    heads: Mapping[str, str],
    differences: Mapping[str, Mapping[str, Value]] | None = None,
) -> list[list[str]]:
    """One row for each metric that any column has; the differences follow the columns, with their sign.

    A cell without a number has a dash; :func:`missing` gives the reasons.
    """
    return [
        [
            head,
            *(_cell(values, name) for values in columns.values()),
            *(_cell(values, name, signed=True) for values in (differences or {}).values()),
        ]
        for name, head in heads.items()
        if any(name in values for values in columns.values())
    ]


def _cell(values: Mapping[str, Value], name: str, signed: bool = False) -> str:
    return DASH if isinstance(values.get(name, ""), str) else text(values, name, signed)


def missing(columns: Mapping[str, Mapping[str, Value]], heads: Mapping[str, str]) -> str:
    """A sentence for each reason why metrics have no number in some columns; empty if all have one."""
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for name, head in heads.items():
        reasons: dict[str, list[str]] = {}
        for column, values in columns.items():
            if isinstance(reason := values.get(name), str):
                reasons.setdefault(reason, []).append(column)
        for reason, names in reasons.items():
            found.setdefault((reason, tuple(names)), []).append(head)
    sentences = []
    for (reason, which), metrics in found.items():
        whose = "" if len(which) == len(columns) else f" ({', '.join(which)})"
        what = "; ".join(re.sub(r",? %$", "", head) for head in metrics)  # a name may have a comma
        sentences.append(f"No {what}{whose}: {reason}.")
    return " ".join(sentences)


def verdicts(content: Mapping[str, Any], heads: Mapping[str, str]) -> list[str]:
    """The result by the task's first metric: a sentence for each model but the first, or for the only one."""
    metric, head = next(iter(heads.items()))
    head = head.removesuffix(" %").partition(",")[0]
    runs: dict[str, list[Mapping[str, Any]]] = {}
    for entry in content["checkpoints"]:
        runs.setdefault(entry["name"].rpartition(" #")[0] or entry["name"], []).append(entry["metrics"])
    where = f"on {content['data']['images']} images"
    found = seeds.verdicts(runs, metric, head, where)
    if len(found) != len(content["differences"]):  # several seeds: the verdict states their interval already
        return found
    images = [entry["paired_over_images"]["score"] for entry in content["differences"]]
    return [
        text if isinstance(paired, str) else f"{text} {_images_text(paired)}"
        for text, paired in zip(found, images, strict=True)
    ]


def _images_text(paired: Mapping[str, float]) -> str:
    return (
        f"Over the {paired['pairs']:.0f} images the score differs by {paired['difference']:+.1f}, 95 % interval "
        f"{paired['low']:+.1f} to {paired['high']:+.1f}. The interval does not cover the spread between training runs."
    )


def page_sections(content: Mapping[str, Any], task_heads: Mapping[str, str]) -> list[Section]:
    """The tables: all metrics, paired differences, and metrics for each class."""
    heads = {**task_heads, **HEADS}
    columns = {entry["name"]: entry["metrics"] for entry in content["checkpoints"]}
    later = {f"{entry['name']} - {entry['to']}": entry["metrics"] for entry in content["differences"]}
    shown = {"reference": content["reference"]["metrics"], **columns}
    rows, reasons = metric_rows(shown, heads, later), missing(shown, heads)
    absent = shown["reference"].get("reference", "")  # why there is no reference
    sections = [
        Section(
            "Metrics",
            [
                f"{content['data']['images']} images of {content['data']['name']}. Reference: "
                f"{content['reference']['weights'] or 'none'}{f' ({absent})' if absent else ''}.",
                "Match rate: the share of predictions that stay the same when colour and sharpness change. CKA: the "
                "similarity of the features to those of the pretrained network (1: equal up to rotation and scale). "
                "Acc_IN: the accuracy of the pretrained network's own classifier on these features. Energy "
                f"({content['energy_form']} form): lower means more diverse features. docs/analysis.md has the "
                "definitions.",
                *([reasons] if reasons else []),
            ],
            ["metric", "reference", *columns, *later],
            rows,
            verdicts=verdicts(content, task_heads),
            split=f"{content['data']['name']}, {content['data']['images']} images; config {content['config']}",
        )
    ]
    if content["differences"]:
        sections.append(_over_images(content))
    if content["paired_over_seeds"]:
        sections.append(_over_seeds(content, heads))
    classes = _classes(content)
    return [*sections, classes] if classes else sections


def _paired_text(entry: Any, digits: int = 2) -> list[str]:
    if isinstance(entry, str):
        return [entry, ""]
    low, high = entry["low"], entry["high"]
    return [f"{entry['difference']:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]", f"{entry['pairs']}"]


def _over_images(content: Mapping[str, Any]) -> Section:
    names = {"match_rate": "match rate", "score": "score"}
    rows = [
        [f"{entry['name']} - {entry['to']}", names[name], *_paired_text(paired)]
        for entry in content["differences"]
        for name, paired in entry["paired_over_images"].items()
    ]
    note = (
        "Both models were evaluated on the same images. The table has the mean of the differences over the images, in "
        f"percentage points, and its {INTERVAL}. The interval covers the choice of images, not the spread between "
        f"training runs. The score of an image is {content['score']}."
    )
    return Section("Differences on the same images", [note], ["models", "metric", "difference", "images"], rows)


def _over_seeds(content: Mapping[str, Any], heads: Mapping[str, str]) -> Section:
    rows = [
        [name, heads.get(metric, metric), *_paired_text(paired, _digits(metric))]
        for name, metrics in content["paired_over_seeds"].items()
        for metric, paired in metrics.items()
    ]
    note = f"The k-th checkpoint of a name is compared with the k-th of the first name. {INTERVAL}."
    return Section("Differences over seeds", [note], ["method", "metric", "difference", "seeds"], rows)


def _classes(content: Mapping[str, Any]) -> Section | None:
    entries: Sequence[Any] = [entry for entry in content["checkpoints"] if entry["per_class"]]
    if not entries:
        return None
    names = entries[0]["per_class"]
    metrics = list(next(iter(names.values())))
    shared = [name for name in metrics if name in ("images", "pixels")]
    own = [name for name in metrics if name not in shared]
    rows = [
        [
            label,
            *(f"{names[label][name]:.0f}" for name in shared),
            *(text(entry["per_class"][label], name) for entry in entries for name in own),
        ]
        for label in names
    ]
    columns = ["class", *shared, *(f"{entry['name']}, {name}" for entry in entries for name in own)]
    return Section("Classes", [], columns, rows)

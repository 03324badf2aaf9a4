"""The criteria: what they say of scores, on numbers that are known."""

from __future__ import annotations

import numpy as np
import pytest

from gcisg_suite.miniature.criteria import CRITERIA, KINDS, ON_SYNTHETIC, table

GOOD = {
    "vanilla": [30.0, 31, 29, 30],
    ON_SYNTHETIC: [66.5] * 4,
    "restyled": [50.0] * 4,
    "real bound": [70.0] * 4,
    "probe": [60.0] * 4,
}


def scores(**changed: list[float]) -> dict[str, np.ndarray]:
    assert {*GOOD} == {*KINDS, ON_SYNTHETIC}
    named = {name.replace("_", " "): values for name, values in changed.items()}
    return {kind: np.array(values) for kind, values in {**GOOD, **named}.items()}


def test_a_good_benchmark_meets_them_all() -> None:
    text, met = table({"classification": scores()})
    assert met
    assert "missed" not in text
    assert [criterion.value(scores()) for criterion in CRITERIA] == pytest.approx(
        [40, 20, 42.857, 0.8165, 10, 95], abs=1e-3
    )


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("real bound - vanilla", {"real_bound": [54.0] * 4}),
        ("restyled - vanilla", {"restyled": [41.0] * 4}),
        ("vanilla, % of the real bound", {"vanilla": [10.0, 10, 10, 10]}),
        ("vanilla, sd over seeds", {"vanilla": [26.0, 34, 30, 30]}),
        ("real bound - probe", {"probe": [54.0] * 4}),
        ("vanilla on synthetic, % of the real bound", {"vanilla_on_synthetic": [62.0] * 4}),
    ],
)
def test_each_is_missed_where_it_should_be(name: str, changed: dict[str, list[float]]) -> None:
    text, met = table({"good": scores(), "bad": scores(**changed)})
    assert not met
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {name} ")]
    assert line.count("(missed)") == 1
    assert line.index("(missed)") > len(line) / 2


def test_one_seed_has_no_spread() -> None:
    assert not table({"segmentation": scores(vanilla=[30.0])})[1]

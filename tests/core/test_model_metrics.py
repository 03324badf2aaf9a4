import pytest
import torch

from gcisg_core.metrics import LinearCKA, hyperspherical_energy
from gcisg_core.model_metrics import METRICS, FeatureMetrics, Metric, ModelMetrics, known, values_alone


def maps(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {stage: torch.rand(count, 4 * stage, 3, 5, generator=generator) for stage in (3, 4)}


def values_of(measures):
    return ModelMetrics(**measures.found()).values


def test_batches_give_what_the_whole_gives():
    mine, theirs = maps(20), maps(20, seed=1)
    measures = FeatureMetrics()
    for start in range(0, 20, 6):
        part = slice(start, start + 6)
        measures.update({s: m[part] for s, m in mine.items()}, {s: m[part] for s, m in theirs.items()})
    values = values_of(measures)
    for stage in (3, 4):
        cka = LinearCKA()
        cka.update(mine[stage].mean((2, 3)), theirs[stage].mean((2, 3)))
        assert values[f"cka_stage{stage}"] == pytest.approx(cka.compute())
    assert values["cka"] == values["cka_stage4"]
    assert values["energy_1"] == pytest.approx(hyperspherical_energy(mine[4].mean((2, 3)), 1))
    assert values["energy_1_error"] == 0
    torch.testing.assert_close(measures.reference.rows, theirs[4].mean((2, 3)))


def test_memory_does_not_grow_with_the_images():
    measures = FeatureMetrics(sample_size=8)
    sizes = []
    for seed in range(5):
        measures.update(maps(50, seed), maps(50, seed + 9))
        sums = sum(value.numel() for cka in measures._cka.values() for value in cka._sums)
        sizes.append((sums, measures.sample.rows.numel(), measures.reference.rows.numel()))
    assert len(set(sizes)) == 1
    assert values_of(measures)["energy_0_error"] > 0


def test_what_has_no_meaning_says_why():
    one, equal, alone = FeatureMetrics(), FeatureMetrics(), FeatureMetrics()
    one.update(maps(1), maps(1))
    assert values_of(one)["cka"] == values_of(one)["energy_0"] == "needs at least 2 images"
    equal.update({4: torch.ones(3, 2, 1, 1)}, {4: torch.rand(3, 2, 1, 1)})
    assert values_of(equal)["cka"] == "the features do not vary"
    assert values_of(equal)["energy_2"] == "infinite: two images have the same features"
    alone.update(maps(3))
    assert values_of(alone)["cka"] == "no pretrained network to compare with"
    assert values_alone(values_of(alone)).keys() >= {"energy_0", "energy_0_error"}
    assert "cka" not in values_alone(values_of(alone))


def test_a_row_is_all_that_a_metric_needs(monkeypatch):
    monkeypatch.setitem(METRICS, "images", Metric("images", lambda measured: float(measured.sample.seen)))
    monkeypatch.setitem(METRICS, "pole", Metric("pole", lambda _: float("inf"), not_finite="a pole"))
    monkeypatch.setitem(METRICS, "none", Metric("none", lambda _: None))
    measures = FeatureMetrics()
    measures.update(maps(3))
    values = ModelMetrics({"accuracy": 1.0, "energy_0": 2.0}, **measures.found()).values
    assert values["images"] == 3
    assert values["pole"] == "a pole"
    assert "none" not in values
    assert (values["accuracy"], values["energy_0"]) == (1, 2)  # the task's own stay
    assert "energy_0_error" not in values


def test_only_finite_numbers_are_known():
    assert known(2.0, "no") == 2.0
    assert [known(float(name), "no") for name in ("nan", "inf", "-inf")] == ["no"] * 3

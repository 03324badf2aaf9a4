import pytest
import torch

from gcisg_core.measures import FeatureMeasures, known, values_alone
from gcisg_core.metrics import LinearCKA, hyperspherical_energy


def maps(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {stage: torch.rand(count, 4 * stage, 3, 5, generator=generator) for stage in (3, 4)}


def test_batches_give_what_the_whole_gives():
    mine, theirs = maps(20), maps(20, seed=1)
    measures = FeatureMeasures()
    for start in range(0, 20, 6):
        part = slice(start, start + 6)
        measures.update({s: m[part] for s, m in mine.items()}, {s: m[part] for s, m in theirs.items()})
    values = measures.values()
    for stage in (3, 4):
        cka = LinearCKA()
        cka.update(mine[stage].mean((2, 3)), theirs[stage].mean((2, 3)))
        assert values[f"cka_stage{stage}"] == pytest.approx(cka.compute())
    assert values["cka"] == values["cka_stage4"]
    assert values["energy_1"] == pytest.approx(hyperspherical_energy(mine[4].mean((2, 3)), 1))
    assert values["energy_1_error"] == 0
    torch.testing.assert_close(measures.reference.rows, theirs[4].mean((2, 3)))


def test_memory_does_not_grow_with_the_images():
    measures = FeatureMeasures(sample_size=8)
    sizes = []
    for seed in range(5):
        measures.update(maps(50, seed), maps(50, seed + 9))
        sums = sum(value.numel() for cka in measures._cka.values() for value in cka._sums)
        sizes.append((sums, measures.sample.rows.numel(), measures.reference.rows.numel()))
    assert len(set(sizes)) == 1
    assert measures.values()["energy_0_error"] > 0


def test_what_has_no_meaning_says_why():
    one, equal, alone = FeatureMeasures(), FeatureMeasures(), FeatureMeasures()
    one.update(maps(1), maps(1))
    assert one.values()["cka"] == one.values()["energy_0"] == "needs at least 2 images"
    equal.update({4: torch.ones(3, 2, 1, 1)}, {4: torch.rand(3, 2, 1, 1)})
    assert equal.values()["cka"] == "the features do not vary"
    assert equal.values()["energy_2"] == "infinite: two images have the same features"
    alone.update(maps(3))
    assert alone.values()["cka"] == "no pretrained network to compare with"
    assert values_alone(alone.values()).keys() >= {"energy_0", "energy_0_error"}
    assert "cka" not in values_alone(alone.values())


def test_only_finite_numbers_are_known():
    assert known(2.0, "no") == 2.0
    assert [known(float(name), "no") for name in ("nan", "inf", "-inf")] == ["no"] * 3

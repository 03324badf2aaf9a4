import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.distance import pdist

from gcisg_core.metrics import FeatureSample, LinearCKA, estimate_energies, hyperspherical_energy, match_rate


def naive_cka(x, y):
    """The N x N form of Kornblith et al.: HSIC of the centred Gram matrices."""
    n = len(x)
    centre = np.eye(n) - 1 / n
    k, m = (centre @ (a @ a.T) @ centre for a in (x, y))
    return np.trace(k @ m) / math.sqrt(np.trace(k @ k) * np.trace(m @ m))


def cka(x, y, batch=None):
    measure = LinearCKA()
    for a, b in zip(x.split(batch or len(x)), y.split(batch or len(x)), strict=True):
        measure.update(a, b)
    return measure.compute()


class TestCKA:
    def test_equals_the_naive_form_in_any_batches(self):
        x, y = torch.randn(50, 7) + 3, torch.randn(50, 4).exp()
        y[:, :2] += x[:, :2]
        expected = naive_cka(x.double().numpy(), y.double().numpy())
        for batch in (50, 16, 1):
            assert cka(x, y, batch) == pytest.approx(expected, rel=1e-6)

    def test_is_one_for_a_rotation_and_scaling(self):
        x = torch.randn(40, 6)
        rotation = torch.linalg.qr(torch.randn(6, 6)).Q
        assert cka(x, 3 * x @ rotation + 5) == pytest.approx(1, abs=1e-6)

    def test_is_small_for_independent_features(self):
        assert cka(torch.randn(5000, 5), torch.randn(5000, 5)) < 0.01

    def test_refuses_what_does_not_fit(self):
        with pytest.raises(ValueError, match=r"x and y must be \(n, d1\) and \(n, d2\)"):
            LinearCKA().update(torch.zeros(3, 2), torch.zeros(4, 2))
        with pytest.raises(ValueError, match="at least 2 images"):
            LinearCKA().compute()


class TestMatchRate:
    def test_counts_what_stays(self):
        assert match_rate(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 1, 2])) == 0.75

    def test_refuses_nothing_and_different_numbers(self):
        with pytest.raises(ValueError, match="one shape"):
            match_rate(torch.zeros(0), torch.zeros(0))
        with pytest.raises(ValueError, match="one shape"):
            match_rate(torch.zeros(2), torch.zeros(3))


class TestEnergy:
    @pytest.mark.parametrize(
        ("form", "zero"), [("published", lambda d: -math.log(d**2)), ("textbook", lambda d: -math.log(d))]
    )
    def test_equals_a_loop_over_pairs(self, form, zero):
        features = torch.randn(9, 4, dtype=torch.float64)
        unit = F.normalize(features)
        distances = [(unit[i] - unit[j]).norm().item() for i in range(9) for j in range(9) if i != j]
        for power, energy in enumerate([zero, lambda d: 1 / d, lambda d: d**-2]):
            expected = np.mean([energy(d) for d in distances])
            assert hyperspherical_energy(features, power, form) == pytest.approx(expected)

    @pytest.mark.parametrize("power", [0, 1, 2])
    def test_a_simplex_has_the_least(self, power):
        simplex = torch.eye(5) - 0.2
        others = [torch.randn(5, 5) for _ in range(20)]
        assert all(hyperspherical_energy(simplex, power) < hyperspherical_energy(other, power) for other in others)

    def test_refuses_unknown_powers_and_single_features(self):
        with pytest.raises(ValueError, match="power must be 0, 1 or 2"):
            hyperspherical_energy(torch.randn(3, 2), 3)
        with pytest.raises(ValueError, match="N of at least 2"):
            hyperspherical_energy(torch.randn(1, 2))

    def test_equals_scipys_distances(self):
        features = torch.randn(60, 8)
        distances = pdist(F.normalize(features.double()).numpy())
        energies = estimate_energies(features, 60)
        for power, expected in enumerate([-np.log(distances**2), 1 / distances, distances**-2]):
            assert energies[power].value == pytest.approx(expected.mean())
            assert energies[power].error == 0
            assert hyperspherical_energy(features, power) == pytest.approx(expected.mean())

    def test_coinciding_features_make_it_infinite(self):
        assert hyperspherical_energy(torch.ones(3, 2)) == math.inf

    def test_a_samples_error_is_its_spread(self):
        """Samples of one population: they scatter around its energy as widely as their errors say."""
        generator = torch.Generator().manual_seed(0)
        population = torch.randn(600, 6, generator=generator) + torch.rand(600, 1, generator=generator) * 3
        for power, form in ((0, "textbook"), (1, "published")):
            exact = hyperspherical_energy(population, power, form)
            found = []
            for seed in range(200):
                sample = FeatureSample(120, seed)
                sample.update(population)
                found.append(estimate_energies(sample.rows, sample.seen, form)[power])
            values, errors = np.array(found).T
            assert abs(values.mean() - exact) < 4 * errors.mean() / math.sqrt(len(found))
            assert values.std() == pytest.approx(errors.mean(), rel=0.15)

    def test_refuses_a_population_smaller_than_its_sample(self):
        with pytest.raises(ValueError, match="population must be at least the sample's 3 features, got 2"):
            estimate_energies(torch.randn(3, 2), 2)


class TestFeatureSample:
    def test_few_rows_are_all_kept_in_order(self):
        sample = FeatureSample(10)
        rows = torch.randn(7, 3)
        for part in rows.split(3):
            sample.update(part)
        assert torch.equal(sample.rows, rows)
        assert sample.indices == list(range(7))

    def test_the_choice_depends_on_the_number_of_rows_alone(self):
        samples = [FeatureSample(5, seed=1), FeatureSample(5, seed=1)]
        rows = torch.arange(40.0)[:, None]
        samples[0].update(rows)
        for row in rows.split(1):
            samples[1].update(-row)
        assert samples[0].indices == samples[1].indices
        assert torch.equal(samples[0].rows, -samples[1].rows)
        assert torch.equal(samples[0].rows[:, 0], torch.tensor(samples[0].indices).float())

    def test_each_row_is_as_likely(self):
        counts = np.zeros(20)
        for seed in range(600):
            sample = FeatureSample(5, seed)
            sample.update(torch.zeros(20, 1))
            counts[sample.indices] += 1
        # 600 draws of 5 in 20: 150 each, standard deviation sqrt(600 x 1/4 x 3/4) = 10.6.
        assert np.abs(counts - 150).max() < 4 * 10.6

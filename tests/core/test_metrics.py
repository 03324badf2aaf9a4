import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gcisg_core.metrics import LinearCKA, hyperspherical_energy, match_rate


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

"""Both losses over the queue."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gcisg_core import losses
from gcisg_core.losses import causal_invariance_loss, info_nce_loss


def unit(*shape, dtype=torch.float64, seed=0):
    return F.normalize(torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed)))


def slow_ci_loss(z, z_momentum, support, tau, tau_momentum):
    """Eq. 1 and 2, term by term."""
    total = 0.0
    for row, target in zip(z.tolist(), z_momentum.tolist(), strict=True):
        dots = [sum(a * b for a, b in zip(row, q, strict=True)) for q in support.tolist()]
        target_dots = [sum(a * b for a, b in zip(target, q, strict=True)) for q in support.tolist()]
        normaliser = math.log(sum(math.exp(dot / tau) for dot in dots))
        target_sum = sum(math.exp(dot / tau_momentum) for dot in target_dots)
        total -= sum(
            math.exp(t / tau_momentum) / target_sum * (dot / tau - normaliser)
            for dot, t in zip(dots, target_dots, strict=True)
        )
    return total / len(z)


def plain_ci_loss(z, z_momentum, support, tau=0.12, tau_momentum=0.04):
    return F.cross_entropy(z @ support.T / tau, torch.softmax(z_momentum @ support.T / tau_momentum, dim=1))


def plain_info_nce_loss(anchor, positive, negatives, tau=0.07):
    logits = torch.cat([(anchor * positive).sum(1, keepdim=True), anchor @ negatives.T], dim=1) / tau
    return F.cross_entropy(logits, logits.new_zeros(len(anchor), dtype=torch.long))


# Both losses over the queue: name -> (ours, the plain form), each a function of rows, partners, keys, temperature.
QUEUE_LOSSES = {
    "causal invariance": (
        lambda *tensors, tau: causal_invariance_loss(*tensors, tau, tau / 3),
        lambda *tensors, tau: plain_ci_loss(*tensors, tau, tau / 3),
    ),
    "InfoNCE": (info_nce_loss, plain_info_nce_loss),
}


@pytest.mark.parametrize("name", QUEUE_LOSSES)
class TestQueueLosses:
    @pytest.fixture(autouse=True)
    def small_tiles(self, monkeypatch):
        """Several tiles of rows and of keys."""
        monkeypatch.setitem(losses.TILES, "cpu", (8, 64))

    # One tile, whole tiles, unequal last tiles, and fewer keys than a tile has.
    @pytest.mark.parametrize(("rows", "length"), [(8, 64), (16, 192), (19, 200), (3, 5)])
    @pytest.mark.parametrize("tau", [0.01, 0.03, 0.07, 0.12, 1.0])
    def test_equals_its_plain_form_in_value_and_gradient(self, name, rows, length, tau):
        def evaluate(loss, dtype):
            z, *others = (
                unit(*shape, seed=i).to(dtype) for i, shape in enumerate([(rows, 16), (rows, 16), (length, 16)])
            )
            value = loss(z.requires_grad_(), *others, tau=tau)
            (3 * value).backward()
            return value.detach().double(), z.grad.double()

        loss, plain = QUEUE_LOSSES[name]
        exact = evaluate(plain, torch.float64)
        for mine, expected in zip(evaluate(loss, torch.float64), exact, strict=True):
            torch.testing.assert_close(mine, expected, rtol=1e-10, atol=1e-12)
        # In float32 to 1e-6, or as near as the plain form where the temperature magnifies the rounding.
        single, plain_single = evaluate(loss, torch.float32), evaluate(plain, torch.float32)
        for mine, theirs, expected in zip(single, plain_single, exact, strict=True):
            scale = expected.abs().max().clamp(min=1)
            assert (mine - expected).abs().max() <= torch.maximum(1e-6 * scale, 2 * (theirs - expected).abs().max())

    def test_passes_gradcheck(self, name):
        loss, _ = QUEUE_LOSSES[name]
        z = unit(11, 6).requires_grad_()
        assert torch.autograd.gradcheck(lambda z: loss(z, unit(11, 6, seed=1), unit(70, 6, seed=2), tau=0.1), z)

    def test_is_stable_where_the_exponentials_would_overflow(self, name):
        z, partner, keys = (unit(*shape, seed=i).float() for i, shape in enumerate([(4, 8), (4, 8), (150, 8)]))
        z = (1e3 * z).requires_grad_()
        loss = QUEUE_LOSSES[name][0](z, 1e3 * partner, keys, tau=0.1)
        loss.backward()
        assert loss.isfinite()
        assert z.grad.isfinite().all()
        assert z.grad.abs().sum() > 0

    def test_only_the_rows_take_a_gradient_even_if_the_queue_changes(self, name):
        tensors = z, partner, keys = [
            unit(*shape, seed=i).requires_grad_() for i, shape in enumerate([(3, 4), (3, 4), (6, 4)])
        ]
        loss = QUEUE_LOSSES[name][0](*tensors, tau=0.1)
        expected = torch.autograd.grad(QUEUE_LOSSES[name][1](z, partner.detach(), keys.detach(), tau=0.1), z)[0]
        with torch.no_grad():
            keys.zero_()
        loss.backward()
        torch.testing.assert_close(z.grad, expected)
        assert partner.grad is None
        assert keys.grad is None

    def test_never_holds_the_similarities_of_a_row_block_to_the_whole_queue(self, name):
        """The largest tensor that is made is a tile."""
        sizes = []

        class Watch(torch.utils._python_dispatch.TorchDispatchMode):
            def __torch_dispatch__(self, func, types, args=(), kwargs=None):
                result = func(*args, **(kwargs or {}))
                storages = {
                    t.untyped_storage().data_ptr()
                    for t in torch.utils._pytree.tree_leaves(args)
                    if isinstance(t, torch.Tensor)
                }
                sizes.extend(
                    t.numel()
                    for t in torch.utils._pytree.tree_leaves(result)
                    if isinstance(t, torch.Tensor) and t.untyped_storage().data_ptr() not in storages
                )
                return result

        tensors = unit(24, 8).requires_grad_(), unit(24, 8, seed=1), unit(640, 8, seed=2)
        with Watch():
            QUEUE_LOSSES[name][0](*tensors, tau=0.1).backward()
        assert max(sizes) == 8 * 64

    def test_compiles_to_one_graph(self, name):
        """No value is read from the device: a graph break would be an error."""
        loss, _ = QUEUE_LOSSES[name]
        tensors = [unit(*shape, seed=i).float() for i, shape in enumerate([(19, 16), (19, 16), (200, 16)])]
        z, compiled_z = (tensors[0].clone().requires_grad_() for _ in range(2))
        compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
        value, expected = compiled(compiled_z, *tensors[1:], tau=0.1), loss(z, *tensors[1:], tau=0.1)
        value.backward()
        expected.backward()
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(compiled_z.grad, z.grad)


class TestCausalInvarianceLoss:
    def test_equals_the_paper_term_by_term(self):
        z, z_momentum, support = unit(3, 4), unit(3, 4, seed=1), unit(7, 4, seed=2)
        expected = slow_ci_loss(z, z_momentum, support, 0.12, 0.04)
        assert causal_invariance_loss(z, z_momentum, support).item() == pytest.approx(expected, rel=1e-12)

    def test_computes_in_float32_under_autocast(self):
        projector = nn.Linear(8, 8)
        x, z_momentum, support = (
            unit(6, 8, dtype=torch.float32),
            unit(6, 8, dtype=torch.float32, seed=1),
            unit(40, 8, dtype=torch.float32, seed=2),
        )
        with torch.autocast("cpu", dtype=torch.bfloat16):
            z = projector(x)
            loss = causal_invariance_loss(z, z_momentum, support)
        assert z.dtype is torch.bfloat16
        assert loss.dtype is torch.float32
        torch.testing.assert_close(loss, plain_ci_loss(z.float(), z_momentum, support))
        loss.backward()
        assert projector.weight.grad.abs().sum() > 0

    def test_permuted_targets_increase_the_loss(self):
        z = unit(32, 16)
        assert causal_invariance_loss(z, z, unit(500, 16, seed=1)) < causal_invariance_loss(
            z, z.flip(0), unit(500, 16, seed=1)
        )

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((unit(3, 4), unit(2, 4), unit(5, 4)), r"z_momentum must have the shape of z \(3, 4\), got \(2, 4\)"),
            ((unit(3, 4), unit(3, 4), unit(5, 6)), r"support must have the d = 4 of z, got \(5, 6\)"),
            ((unit(3, 4)[0], unit(3, 4), unit(5, 4)), r"z must have the shape \(rows, d\)"),
            ((unit(3, 4)[:0], unit(3, 4)[:0], unit(5, 4)), "at least one row"),
            ((unit(3, 4), unit(3, 4), unit(5, 4), 0.0), "tau must be above 0, got 0.0"),
            ((unit(3, 4), unit(3, 4), unit(5, 4), 0.1, -0.1), "tau_momentum must be above 0, got -0.1"),
        ],
    )
    def test_refuses_what_does_not_fit(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            causal_invariance_loss(*arguments)

    def test_float32_on_a_device_agrees_with_float64(self, device):
        tensors = [unit(*shape, seed=i) for i, shape in enumerate([(300, 64), (300, 64), (4096, 64)])]
        exact, found = tensors[0].clone().requires_grad_(), tensors[0].float().to(device).requires_grad_()
        values = (
            causal_invariance_loss(exact, *tensors[1:]),
            causal_invariance_loss(found, *(t.float().to(device) for t in tensors[1:])),
        )
        for value in values:
            value.backward()
        torch.testing.assert_close(values[1].double().cpu(), values[0], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(found.grad.double().cpu(), exact.grad, rtol=1e-4, atol=1e-7)


class TestInfoNCE:
    def test_equals_its_definition(self):
        z, positive, negatives = unit(3, 4), unit(3, 4, seed=1), unit(6, 4, seed=2)
        expected = 0.0
        for row, partner in zip(z, positive, strict=True):
            hit = math.exp(row @ partner / 0.07)
            expected -= math.log(hit / (hit + sum(math.exp(row @ q / 0.07) for q in negatives))) / 3
        assert info_nce_loss(z, positive, negatives).item() == pytest.approx(expected, rel=1e-9)

    def test_refuses_a_temperature_of_zero(self):
        with pytest.raises(ValueError, match="tau"):
            info_nce_loss(unit(3, 4), unit(3, 4), unit(5, 4), tau=0)

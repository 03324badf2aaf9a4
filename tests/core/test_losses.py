import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gcisg_core.losses import causal_invariance_loss, guidance_loss, info_nce_loss
from gcisg_core.pooling import POOLINGS


def unit(*shape, dtype=torch.float64, seed=0):
    return F.normalize(torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed)))


def slow_ci_loss(z, z_target, support, tau, tau_target):
    """Eq. 1 and 2, term by term."""
    total = 0.0
    for row, target in zip(z.tolist(), z_target.tolist(), strict=True):
        dots = [sum(a * b for a, b in zip(row, q, strict=True)) for q in support.tolist()]
        target_dots = [sum(a * b for a, b in zip(target, q, strict=True)) for q in support.tolist()]
        normaliser = math.log(sum(math.exp(dot / tau) for dot in dots))
        target_sum = sum(math.exp(dot / tau_target) for dot in target_dots)
        total -= sum(
            math.exp(t / tau_target) / target_sum * (dot / tau - normaliser)
            for dot, t in zip(dots, target_dots, strict=True)
        )
    return total / len(z)


def plain_ci_loss(z, z_target, support, tau=0.12, tau_target=0.04):
    return F.cross_entropy(z @ support.T / tau, torch.softmax(z_target @ support.T / tau_target, dim=1))


class TestCausalInvarianceLoss:
    def test_equals_the_paper_term_by_term(self):
        z, z_target, support = unit(3, 4), unit(3, 4, seed=1), unit(7, 4, seed=2)
        expected = slow_ci_loss(z, z_target, support, 0.12, 0.04)
        assert causal_invariance_loss(z, z_target, support).item() == pytest.approx(expected, rel=1e-12)

    @pytest.mark.parametrize("chunk_size", [None, 1, 4, 5, 100])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_equals_the_plain_softmax_form_in_value_and_gradient(self, chunk_size, dtype):
        z, z_target, support = (unit(*s, dtype=dtype, seed=i) for i, s in enumerate([(9, 16), (9, 16), (200, 16)]))
        mine, plain = z.clone().requires_grad_(), z.clone().requires_grad_()
        value, expected = (
            causal_invariance_loss(mine, z_target, support, chunk_size=chunk_size),
            plain_ci_loss(plain, z_target, support),
        )
        (3 * value).backward()
        (3 * expected).backward()
        torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(mine.grad, plain.grad, rtol=1e-5, atol=1e-6)

    def test_passes_gradcheck(self):
        z = unit(5, 6).requires_grad_()
        assert torch.autograd.gradcheck(
            lambda z: causal_invariance_loss(z, unit(5, 6, seed=1), unit(11, 6, seed=2), chunk_size=2), z
        )

    def test_is_stable_where_the_exponentials_would_overflow(self):
        z = (1e3 * unit(4, 8, dtype=torch.float32)).requires_grad_()
        loss = causal_invariance_loss(
            z, 1e3 * unit(4, 8, dtype=torch.float32, seed=1), unit(50, 8, dtype=torch.float32, seed=2)
        )
        loss.backward()
        assert loss.isfinite()
        assert z.grad.isfinite().all()

    def test_gives_no_gradient_to_target_or_support(self):
        z, z_target, support = (unit(*shape).requires_grad_() for shape in [(3, 4), (3, 4), (5, 4)])
        causal_invariance_loss(z, z_target, support).backward()
        assert z.grad.abs().sum() > 0
        assert z_target.grad is None
        assert support.grad is None

    def test_computes_in_float32_under_autocast(self):
        projector = nn.Linear(8, 8)
        x, z_target, support = (
            unit(6, 8, dtype=torch.float32),
            unit(6, 8, dtype=torch.float32, seed=1),
            unit(40, 8, dtype=torch.float32, seed=2),
        )
        with torch.autocast("cpu", dtype=torch.bfloat16):
            z = projector(x)
            loss = causal_invariance_loss(z, z_target, support)
        assert z.dtype is torch.bfloat16
        assert loss.dtype is torch.float32
        torch.testing.assert_close(loss, plain_ci_loss(z.float(), z_target, support))
        loss.backward()
        assert projector.weight.grad.abs().sum() > 0

    def test_the_queue_may_change_before_backward(self):
        z, support = unit(3, 4).requires_grad_(), unit(5, 4, seed=2)
        loss = causal_invariance_loss(z, unit(3, 4, seed=1), support)
        support.zero_()
        loss.backward()
        assert z.grad.abs().sum() > 0

    def test_never_holds_the_whole_relation(self):
        """The largest tensor that exists in the forward pass stays below (N, K)."""
        rows, length, dim = 64, 4096, 16
        sizes = []

        class Watch(torch.utils._python_dispatch.TorchDispatchMode):
            def __torch_dispatch__(self, func, types, args=(), kwargs=None):
                result = func(*args, **(kwargs or {}))
                sizes.append(
                    max(
                        (t.numel() for t in torch.utils._pytree.tree_leaves(result) if isinstance(t, torch.Tensor)),
                        default=0,
                    )
                )
                return result

        with Watch():
            causal_invariance_loss(
                unit(rows, dim).requires_grad_(), unit(rows, dim, seed=1), unit(length, dim, seed=2)
            ).backward()
        assert max(sizes) == length * dim  # the support itself; a chunk has half of that

    def test_permuted_targets_increase_the_loss(self):
        z = unit(32, 16)
        assert causal_invariance_loss(z, z, unit(500, 16, seed=1)) < causal_invariance_loss(
            z, z.flip(0), unit(500, 16, seed=1)
        )

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((unit(3, 4), unit(2, 4), unit(5, 4)), r"z_target must have the shape of z \(3, 4\), got \(2, 4\)"),
            ((unit(3, 4), unit(3, 4), unit(5, 6)), r"support must have the d = 4 of z, got \(5, 6\)"),
            ((unit(3, 4)[0], unit(3, 4), unit(5, 4)), r"z must have the shape \(rows, d\)"),
            ((unit(3, 4)[:0], unit(3, 4)[:0], unit(5, 4)), "at least one row"),
            ((unit(3, 4), unit(3, 4), unit(5, 4), 0.0), "tau must be above 0, got 0.0"),
            ((unit(3, 4), unit(3, 4), unit(5, 4), 0.1, 0.1, 0), "chunk_size must be above 0"),
        ],
    )
    def test_refuses_what_does_not_fit(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            causal_invariance_loss(*arguments)

    @pytest.mark.gpu
    def test_cuda_agrees_with_the_cpu(self):
        tensors = [
            unit(*shape, dtype=torch.float32, seed=i) for i, shape in enumerate([(300, 64), (300, 64), (4096, 64)])
        ]
        on_cpu, on_gpu = tensors[0].clone().requires_grad_(), tensors[0].cuda().requires_grad_()
        values = (
            causal_invariance_loss(on_cpu, *tensors[1:]),
            causal_invariance_loss(on_gpu, *(t.cuda() for t in tensors[1:])),
        )
        for value in values:
            value.backward()
        torch.testing.assert_close(values[1].cpu(), values[0], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(on_gpu.grad.cpu(), on_cpu.grad, rtol=1e-4, atol=1e-7)


class TestInfoNCE:
    def test_equals_its_definition(self):
        z, positive, negatives = unit(3, 4), unit(3, 4, seed=1), unit(6, 4, seed=2)
        expected = 0.0
        for row, partner in zip(z, positive, strict=True):
            hit = math.exp(row @ partner / 0.07)
            expected -= math.log(hit / (hit + sum(math.exp(row @ q / 0.07) for q in negatives))) / 3
        assert info_nce_loss(z, positive, negatives).item() == pytest.approx(expected, rel=1e-9)

    def test_only_the_anchor_takes_a_gradient_even_if_the_queue_changes(self):
        z, positive, negatives = (unit(*shape).requires_grad_() for shape in [(3, 4), (3, 4), (6, 4)])
        loss = info_nce_loss(z, positive, negatives)
        with torch.no_grad():
            negatives.zero_()
        loss.backward()
        assert z.grad.abs().sum() > 0
        assert positive.grad is None
        assert negatives.grad is None

    def test_refuses_a_temperature_of_zero(self):
        with pytest.raises(ValueError, match="tau"):
            info_nce_loss(unit(3, 4), unit(3, 4), unit(5, 4), tau=0)


class TestGuidanceLoss:
    def test_equals_equation_8(self):
        student, reference = torch.rand(2, 3, 4, 5, dtype=torch.float64), torch.rand(2, 3, 4, 5, dtype=torch.float64)

        def pooled(v):
            g = v.mean(dim=(1, 2))
            a = torch.stack([torch.stack([v[:, h, w] @ g for w in range(5)]) for h in range(4)])
            a = a / a.sum()
            p = sum(v[:, h, w] * a[h, w] for h in range(4) for w in range(5))
            return p / p.norm()

        differences = torch.stack([pooled(s) - pooled(r) for s, r in zip(student, reference, strict=True)])
        torch.testing.assert_close(guidance_loss(student, reference), differences.square().sum(1).mean())
        torch.testing.assert_close(guidance_loss(student, reference, reduction="frobenius"), differences.norm())

    @pytest.mark.parametrize("pooling", POOLINGS)
    @pytest.mark.parametrize("reduction", ["batch_mean", "frobenius"])
    def test_is_zero_with_a_finite_gradient_for_equal_features(self, pooling, reduction):
        student = torch.rand(2, 3, 4, 4, requires_grad=True)
        loss = guidance_loss(student, student.detach().clone(), pooling, reduction)
        loss.backward()
        assert loss.item() == pytest.approx(0, abs=1e-6)
        assert student.grad.isfinite().all()

    def test_scale_does_not_matter(self):
        student, reference = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
        torch.testing.assert_close(guidance_loss(5 * student, reference), guidance_loss(student, 0.1 * reference))

    def test_only_the_student_takes_a_gradient(self):
        student, reference = (torch.rand(2, 3, 4, 4, requires_grad=True) for _ in range(2))
        guidance_loss(student, reference).backward()
        assert student.grad.abs().sum() > 0
        assert reference.grad is None

    def test_takes_a_pooling_of_the_users_own(self):
        student, reference = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
        peak = lambda features, mask=None: features.amax(dim=(2, 3))  # noqa: E731
        expected = (F.normalize(student.amax((2, 3))) - F.normalize(reference.amax((2, 3)))).square().sum(1).mean()
        torch.testing.assert_close(guidance_loss(student, reference, peak), expected)

    def test_half_precision_is_computed_in_float32(self):
        student, reference = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
        halves = student.bfloat16(), reference.bfloat16()
        loss = guidance_loss(*halves)
        assert loss.dtype is torch.float32
        torch.testing.assert_close(loss, guidance_loss(*(half.float() for half in halves)))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("self_atention",), "Did you mean 'self_attention'"),
            (("none", "mean"), "unknown reduction 'mean'"),
        ],
    )
    def test_refuses_unknown_names(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            guidance_loss(torch.rand(1, 2, 3, 3), torch.rand(1, 2, 3, 3), *arguments)

    def test_refuses_features_of_two_shapes(self):
        with pytest.raises(ValueError, match="reference must have the shape of student"):
            guidance_loss(torch.rand(1, 2, 3, 3), torch.rand(1, 2, 4, 4))

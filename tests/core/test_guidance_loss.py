"""The guidance loss."""

import pytest
import torch
import torch.nn.functional as F

from gcisg_core.losses import guidance_loss
from gcisg_core.pooling import POOLINGS


def test_equals_equation_8():
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
def test_is_zero_with_a_finite_gradient_for_equal_features(pooling, reduction):
    student = torch.rand(2, 3, 4, 4, requires_grad=True)
    loss = guidance_loss(student, student.detach().clone(), pooling, reduction)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert student.grad.isfinite().all()


def test_scale_does_not_matter():
    student, reference = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(guidance_loss(5 * student, reference), guidance_loss(student, 0.1 * reference))


def test_only_the_student_takes_a_gradient():
    student, reference = (torch.rand(2, 3, 4, 4, requires_grad=True) for _ in range(2))
    guidance_loss(student, reference).backward()
    assert student.grad.abs().sum() > 0
    assert reference.grad is None


def test_takes_a_pooling_of_the_users_own():
    student, reference = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    peak = lambda features, mask=None: features.amax(dim=(2, 3))  # noqa: E731
    expected = (F.normalize(student.amax((2, 3))) - F.normalize(reference.amax((2, 3)))).square().sum(1).mean()
    torch.testing.assert_close(guidance_loss(student, reference, peak), expected)


def test_half_precision_is_computed_in_float32():
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
def test_refuses_unknown_names(arguments, message):
    with pytest.raises(ValueError, match=message):
        guidance_loss(torch.rand(1, 2, 3, 3), torch.rand(1, 2, 3, 3), *arguments)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("reduction", ["batch_mean", "frobenius"])
@pytest.mark.parametrize("padded", [False, True])
def test_patches_are_compared_one_by_one(pooling, reduction, padded):
    """A loop over images and cells, which looks at no padded position; cells of padding count for nothing."""
    generator = torch.Generator().manual_seed(0)
    student, reference = (torch.rand(2, 3, 6, 8, dtype=torch.float64, generator=generator) for _ in range(2))
    student.requires_grad_()
    sizes = [(6, 8), (4, 5)] if padded else [(6, 8), (6, 8)]  # 3 x 4 cells of 2 x 2; of the second, 6 with images
    mask = torch.zeros(2, 6, 8, dtype=torch.bool)
    for inside, (height, width) in zip(mask, sizes, strict=True):
        inside[:height, :width] = True
    differences = []
    for image, (height, width) in enumerate(sizes):
        for top in range(0, height, 2):
            for left in range(0, width, 2):
                cells = [maps[image, :, top : top + 2, left : left + 2].clone() for maps in (student, reference)]
                inside = mask[image, top : top + 2, left : left + 2]
                rows = [POOLINGS[pooling](cell[None], mask=inside[None])[0] for cell in cells]
                differences.append(rows[0] / rows[0].norm() - rows[1] / rows[1].norm())
    assert len(differences) == (12 + 6 if padded else 24)
    squares = torch.stack([difference.square().sum() for difference in differences])
    expected = squares.mean() if reduction == "batch_mean" else squares.sum().sqrt()
    filled = torch.where(mask.unsqueeze(1), student, 9.0)
    found = guidance_loss(filled, reference, pooling, reduction, mask=mask if padded else None, patches=(3, 4))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    for ours, loop in zip(*(torch.autograd.grad(v, student) for v in (found, expected)), strict=True):
        torch.testing.assert_close(ours, loop, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("padded", [False, True])
def test_one_patch_is_the_pooled_form(padded):
    maps, mask = [torch.rand(2, 3, 5, 4) for _ in range(2)], torch.ones(2, 5, 4, dtype=torch.bool)
    mask[1, 3:] = False
    given = {"mask": mask if padded else None}
    u, w = (F.normalize(POOLINGS["self_attention"](features, **given)) for features in maps)
    expected = (u - w).square().sum(dim=1).mean()
    assert guidance_loss(*maps, **given, patches=(1, 1)) == guidance_loss(*maps, **given) == expected


def test_refuses_features_of_two_shapes():
    with pytest.raises(ValueError, match="reference must have the shape of student"):
        guidance_loss(torch.rand(1, 2, 3, 3), torch.rand(1, 2, 4, 4))

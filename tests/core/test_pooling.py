import pytest
import torch

from gcisg_core.pooling import (
    POOLINGS,
    channel_pool,
    global_average_pool,
    no_pool,
    self_attention,
    self_attention_pool,
    spatial_pool,
)


@pytest.fixture
def features():
    return torch.rand(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_shapes(features):
    expected = {
        "self_attention": (2, 3),
        "global_average": (2, 3),
        "channel": (2, 20),
        "spatial": (2, 27),
        "channel_squared": (2, 20),
        "spatial_squared": (2, 27),
        "none": (2, 60),
    }
    assert {name: tuple(pool(features).shape) for name, pool in POOLINGS.items()} == expected


def podnet(name, features):
    """PODNet's terms written out, image by image: squares, sums, then unit length."""
    rows = []
    for image in features.square():
        channels, height, width = image.shape
        over_width = [sum(image[c, h, w] for w in range(width)) for c in range(channels) for h in range(height)]
        over_height = [sum(image[c, h, w] for h in range(height)) for c in range(channels) for w in range(width)]
        over_channels = [sum(image[c, h, w] for c in range(channels)) for h in range(height) for w in range(width)]
        vector = torch.stack(over_channels if name == "channel" else over_width + over_height)
        rows.append(vector / vector.norm())
    return torch.stack(rows)


@pytest.mark.parametrize("name", ["channel", "spatial"])
def test_squared_poolings_are_podnets_on_square_maps(features, name):
    square = features[..., :4]
    unit = torch.nn.functional.normalize(POOLINGS[f"{name}_squared"](square))
    torch.testing.assert_close(unit, podnet(name, square))
    torch.testing.assert_close(POOLINGS[name](square.square()), POOLINGS[f"{name}_squared"](square))
    assert not torch.allclose(torch.nn.functional.normalize(POOLINGS[name](square)), unit)


@pytest.mark.parametrize("name", ["spatial", "spatial_squared"])
def test_both_halves_of_the_spatial_pooling_weigh_alike_on_maps_that_are_not_square(features, name):
    """A constant map has the same value in both halves, and a transposed map has its halves exchanged."""
    pool = POOLINGS[name]
    torch.testing.assert_close(
        pool(torch.full((1, 3, 2, 8), 2.0)).unique(), pool(torch.full((1, 3, 4, 4), 2.0)).unique()
    )
    pooled, turned = pool(features), pool(features.mT)
    torch.testing.assert_close(torch.cat([pooled[:, 12:], pooled[:, :12]], dim=1), turned)


def test_self_attention_weighs_positions_by_their_likeness_to_the_mean():
    """One position holds all the mass: it gets all the weight, where the plain mean would thin it out."""
    features = torch.zeros(1, 2, 2, 2)
    features[0, :, 0, 1] = torch.tensor([3.0, 4.0])
    torch.testing.assert_close(self_attention_pool(features), torch.tensor([[3.0, 4.0]]))


def test_the_attention_alone_sums_to_one_and_is_what_pools(features):
    attention = self_attention(features)
    torch.testing.assert_close(attention.sum((1, 2)), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(torch.einsum("bchw,bhw->bc", features, attention), self_attention_pool(features))


def test_attention_can_come_from_other_features(features):
    other = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    g = other.mean((2, 3))
    a = torch.einsum("bchw,bc->bhw", other, g)
    a = a / a.sum((1, 2), keepdim=True)
    torch.testing.assert_close(self_attention_pool(features, other), torch.einsum("bchw,bhw->bc", features, a))


def test_attention_is_not_detached(features):
    features.requires_grad_()
    assert torch.autograd.gradcheck(self_attention_pool, features)


@pytest.mark.parametrize(
    "features",
    [
        torch.zeros(2, 3, 4, 4),
        torch.randn(2, 3, 4, 4),
        torch.randn(2, 3, 4, 4) - 5,
        torch.cat([torch.ones(1, 3, 4, 2), -torch.ones(1, 3, 4, 2)], dim=3),  # mean of exactly zero
        1e-20 * torch.rand(2, 3, 4, 4),
    ],
    ids=["zero", "around zero", "negative", "mean zero", "tiny"],
)
def test_self_attention_is_finite_on_any_features(features):
    features.requires_grad_()
    pooled = self_attention_pool(features)
    pooled.sum().backward()
    assert pooled.isfinite().all()
    assert features.grad.isfinite().all()


def test_where_the_mean_vanishes_the_plain_mean_is_taken():
    features = torch.cat([torch.ones(1, 3, 4, 2), -torch.ones(1, 3, 4, 2)], dim=3)
    torch.testing.assert_close(self_attention_pool(features), global_average_pool(features))


@pytest.mark.parametrize("pool", [self_attention_pool, global_average_pool])
def test_padding_does_not_enter(features, pool):
    mask = torch.zeros(2, 4, 5, dtype=torch.bool)
    mask[0, :3, :2] = mask[1, :2, :4] = True
    torch.testing.assert_close(pool(features, mask=mask)[0], pool(features[:1, :, :3, :2])[0])
    torch.testing.assert_close(pool(features, mask=mask)[1], pool(features[1:, :, :2, :4])[0])


@pytest.mark.parametrize("pool", [channel_pool, spatial_pool, no_pool, POOLINGS["spatial_squared"]])
def test_what_the_padding_holds_does_not_matter(features, pool):
    mask = torch.zeros(2, 4, 5, dtype=torch.bool)
    mask[:, :3, :2] = True
    other = features.clone()
    other[:, :, 3:] = other[:, :, :, 2:] = 77
    torch.testing.assert_close(pool(features, mask=mask), pool(other, mask=mask))


def test_refuses_wrong_shapes(features):
    with pytest.raises(ValueError, match=r"features must have the shape \(B, C, H, W\), got \(3, 4, 5\)"):
        self_attention_pool(features[0])
    with pytest.raises(ValueError, match="attention_from must have the shape of features"):
        self_attention_pool(features, features[:1])
    with pytest.raises(ValueError, match=r"mask must have the shape \(B, H, W\) = \(2, 4, 5\)"):
        global_average_pool(features, mask=torch.ones(2, 4))

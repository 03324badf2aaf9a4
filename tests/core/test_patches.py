import pytest
import torch

from gcisg_core.patches import cut_alike, cut_patches, pool_patches


def test_patches_are_pooled_images_first_then_rows_then_columns():
    features = torch.rand(2, 3, 8, 12)
    patches = pool_patches(features, (2, 3))
    assert patches.shape == (12, 3)
    expected = [
        features[b, :, 4 * r : 4 * r + 4, 4 * c : 4 * c + 4].mean((1, 2))
        for b in range(2)
        for r in range(2)
        for c in range(3)
    ]
    torch.testing.assert_close(patches, torch.stack(expected))


def test_cut_patches_have_the_same_order_and_means():
    features = torch.rand(2, 3, 8, 12)
    patches = cut_patches(features, (2, 3))
    assert patches.shape == (12, 3, 4, 4)
    torch.testing.assert_close(patches.mean((2, 3)), pool_patches(features, (2, 3)))


def test_a_map_that_is_no_multiple_of_the_patches_is_resampled():
    assert cut_patches(torch.rand(1, 2, 9, 13), (2, 3)).shape == (6, 2, 5, 5)
    assert pool_patches(torch.rand(1, 2, 9, 13), (2, 3)).shape == (6, 2)


def test_padding_does_not_enter_and_patches_of_padding_alone_leave():
    features, mask = torch.rand(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.bool)
    mask[0, :2, :3] = mask[1] = True
    patches = pool_patches(features, (2, 2), mask)
    assert patches.shape == (6, 3)
    torch.testing.assert_close(patches[0], features[0, :, :2, :2].mean((1, 2)))
    torch.testing.assert_close(patches[1], features[0, :, :2, 2].mean(1))
    torch.testing.assert_close(patches[2:], pool_patches(features[1:], (2, 2)))


# In the second the maps are resampled, and the first image reaches into the lower cells.
@pytest.mark.parametrize(("size", "cells"), [((8, 12), (2, 6, 2)), ((7, 11), (4, 6, 2))])
def test_maps_are_cut_alike_and_padding_enters_no_cell(size, cells):
    maps, mask = torch.rand(3, 2, *size), torch.zeros(3, *size, dtype=torch.bool)
    mask[0, :4, :5] = mask[1] = mask[2, :, :3] = True
    changed = torch.where(mask.unsqueeze(1), maps, torch.full((), 9.0))
    (first, second), inside = cut_alike([maps, changed], (2, 3), mask)
    assert first.shape == (sum(cells), 2, 4, 4)
    assert inside.shape == (sum(cells), 4, 4)
    torch.testing.assert_close(*(values.movedim(1, -1)[inside] for values in (first, second)))
    whole, nothing = cut_alike([maps[1:2]], (2, 3))
    torch.testing.assert_close(first[cells[0] : cells[0] + 6], whole[0])
    assert nothing is None


@pytest.mark.remedy("use larger crops, fewer patches or an earlier stage")
@pytest.mark.parametrize("cut", [pool_patches, cut_patches])
def test_a_map_smaller_than_the_patches_is_an_error(cut):
    with pytest.raises(ValueError, match="4 x 9 positions cannot be cut into 8 x 8 patches"):
        cut(torch.rand(1, 2, 4, 9), (8, 8))
    for size, patches in (((8, 18), (8, 8)), ((4, 9), (4, 8))):  # of a larger crop or an earlier stage; fewer patches
        assert len(cut(torch.rand(1, 2, *size), patches))

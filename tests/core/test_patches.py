import pytest
import torch

from gcisg_core.patches import cut_cells, pool_cells


def test_cells_are_pooled_images_first_then_rows_then_columns():
    features = torch.rand(2, 3, 8, 12)
    cells = pool_cells(features, (2, 3))
    assert cells.shape == (12, 3)
    expected = [
        features[b, :, 4 * r : 4 * r + 4, 4 * c : 4 * c + 4].mean((1, 2))
        for b in range(2)
        for r in range(2)
        for c in range(3)
    ]
    torch.testing.assert_close(cells, torch.stack(expected))


def test_cut_cells_have_the_same_order_and_means():
    features = torch.rand(2, 3, 8, 12)
    cells = cut_cells(features, (2, 3))
    assert cells.shape == (12, 3, 4, 4)
    torch.testing.assert_close(cells.mean((2, 3)), pool_cells(features, (2, 3)))


def test_a_map_that_is_no_multiple_of_the_grid_is_resampled():
    assert cut_cells(torch.rand(1, 2, 9, 13), (2, 3)).shape == (6, 2, 5, 5)
    assert pool_cells(torch.rand(1, 2, 9, 13), (2, 3)).shape == (6, 2)


def test_padding_does_not_enter_and_cells_of_padding_alone_leave():
    features, mask = torch.rand(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.bool)
    mask[0, :2, :3] = mask[1] = True
    cells = pool_cells(features, (2, 2), mask)
    assert cells.shape == (6, 3)
    torch.testing.assert_close(cells[0], features[0, :, :2, :2].mean((1, 2)))
    torch.testing.assert_close(cells[1], features[0, :, :2, 2].mean(1))
    torch.testing.assert_close(cells[2:], pool_cells(features[1:], (2, 2)))


@pytest.mark.parametrize("cut", [pool_cells, cut_cells])
def test_a_map_smaller_than_the_grid_is_an_error(cut):
    with pytest.raises(ValueError, match="4 x 9 positions cannot be cut into 8 x 8 cells"):
        cut(torch.rand(1, 2, 4, 9), (8, 8))

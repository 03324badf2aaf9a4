import torch

from gcisg_core.channels import in_rgb, swap_bgr

BGR = torch.arange(24.0).view(2, 3, 2, 2)


def test_channels_are_swapped_of_one_image_and_of_a_batch():
    assert torch.equal(swap_bgr(BGR[0])[0], BGR[0, 2])
    assert torch.equal(swap_bgr(BGR)[:, 2], BGR[:, 0])
    assert torch.equal(swap_bgr(BGR, is_bgr=False), BGR)


def test_a_change_of_red_changes_the_last_channel_of_bgr_and_the_first_of_rgb():
    def redder(images):
        assert images.shape == BGR.shape
        return images + torch.tensor([1.0, 0, 0])[:, None, None]

    assert torch.equal(in_rgb(redder, BGR, is_bgr=True) - BGR, torch.tensor([0, 0, 1.0])[:, None, None].expand_as(BGR))
    assert torch.equal(in_rgb(redder, BGR, is_bgr=False) - BGR, torch.tensor([1.0, 0, 0])[:, None, None].expand_as(BGR))

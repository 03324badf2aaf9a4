"""Photometric views of a batch: geometry, colours, padding, precision."""

from __future__ import annotations

import pytest
import torch
from mmseg.models import EncoderDecoder, SegDataPreProcessor

from gcisg_core.padding import padding_mask
from gcisg_core.views import PhotometricView
from gcisg_seg.preprocessor import PhotometricSegDataPreProcessor
from tests.fake_cuda import finish_step, no_waiting, on_fake_cuda
from tests.segmentation.segmentors import GCISG, PREPROCESSOR, SEGMENTORS, batch, build, sgd

MMSEG = {key: value for key, value in PREPROCESSOR.items() if key != "type"}
STILL = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
SMALL = ((64, 64), (40, 50))


def draw(preprocessor, image):
    """A draw of the task's view."""
    return preprocessor.draw(image, preprocessor.view)


def make(**kwargs) -> PhotometricSegDataPreProcessor:
    return PhotometricSegDataPreProcessor(**{**MMSEG, **kwargs})


@pytest.mark.parametrize("views", [1, 2])
def test_without_jitter_every_view_is_mmsegs_batch(views):
    expected = SegDataPreProcessor(**MMSEG)(batch(SMALL), training=True)
    ours = make(views=views, photometric=STILL)(batch(SMALL), training=True)
    assert len(ours["inputs"]) == views
    for view in ours["inputs"]:
        torch.testing.assert_close(view, expected["inputs"], rtol=0, atol=1e-5)
    for sample, theirs in zip(ours["data_samples"], expected["data_samples"], strict=True):
        assert torch.equal(sample.gt_sem_seg.data, theirs.gt_sem_seg.data)
        assert sample.metainfo == theirs.metainfo


@pytest.mark.parametrize("views", [0, 2])
def test_evaluation_and_no_views_are_mmsegs(views):
    training = views == 0
    ours, theirs = (net(batch(), training)["inputs"] for net in (make(views=views), SegDataPreProcessor(**MMSEG)))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("order", ["bgr_to_rgb", "rgb_to_bgr", None])
def test_jitter_sees_rgb_and_the_network_its_own_order(order):
    data = batch(((64, 64),))
    loaded = data["inputs"][0].float() / 255
    rgb = loaded if order == "rgb_to_bgr" else loaded.flip(0)
    torch.manual_seed(3)
    drawn = PhotometricView()(rgb[None])[0]
    network_order = drawn if order == "bgr_to_rgb" else drawn.flip(0)
    conversion = {"bgr_to_rgb": False, **({order: True} if order else {})}
    torch.manual_seed(3)
    ours = make(views=1, mean=[0.0] * 3, std=[255.0] * 3, **conversion)(data, training=True)["inputs"][0]
    torch.testing.assert_close(ours[0], network_order)


def test_views_and_images_are_drawn_independently():
    data = batch()
    data["inputs"][1] = data["inputs"][0]
    first, second = make()(data, training=True)["inputs"]
    assert not torch.allclose(first, second)
    assert not torch.allclose(first[0], first[1])


def test_a_plain_view_is_mmsegs_and_the_other_is_drawn():
    data = batch(SMALL)
    expected = SegDataPreProcessor(**MMSEG)(data, training=True)["inputs"]
    torch.manual_seed(1)
    plain, drawn = make(plain_views=(0,))(data, training=True)["inputs"]
    assert torch.equal(plain, expected)
    torch.manual_seed(1)
    (alone,) = make(views=1)(data, training=True)["inputs"]
    assert torch.equal(drawn, alone)
    assert not torch.allclose(drawn, plain)
    with pytest.raises(ValueError, match="plain_views"):
        make(plain_views=(-1,))


def follow(**settings):
    """A preprocessor that follows a method, and its views of the same draws."""
    net = make(**settings.pop("preprocessor", {}))
    net.follow({"method": "csg", **settings})
    torch.manual_seed(5)
    return net(batch(SMALL), training=True)["inputs"]


@pytest.mark.parametrize("task_view", [0, 1])
def test_identical_views_are_equal(task_view):
    views = follow(other_view="identical", task_view=task_view)
    assert len(views) == 2
    assert torch.equal(*views)


def test_another_style_has_the_images_geometry_and_the_tasks_view_stays():
    task, other = follow(other_view="style_only")
    assert torch.equal(task, follow()[0])  # as it is with two draws of the task's transform
    plain = SegDataPreProcessor(**MMSEG)(batch(SMALL), training=True)["inputs"]
    assert not torch.allclose(other, plain)
    still = follow(other_view={**STILL, "blur": 0.0}, task_view=1)
    torch.testing.assert_close(still[0], plain, rtol=0, atol=1e-5)
    assert not torch.allclose(still[1], plain)


def test_the_plain_task_view_goes_with_another_style_and_a_plain_other_view_does_not():
    plain = SegDataPreProcessor(**MMSEG)(batch(SMALL), training=True)["inputs"]
    task, other = follow(other_view="style_only", preprocessor={"plain_views": (0,)})
    assert torch.equal(task, plain)
    assert not torch.allclose(other, plain)
    message = (
        r"^model.regularizer.other_view must be 'same', or absent: .*plain_views leaves the views \[1\] as they are"
    )
    with pytest.raises(ValueError, match=message):
        follow(other_view="style_only", preprocessor={"plain_views": (0, 1)})


def test_padding_is_the_mean_colour_in_each_view():
    for view in make()(batch(SMALL), training=True)["inputs"]:
        assert view[1, :, 40:].abs().max() == 0
        assert view[1, :, :, 50:].abs().max() == 0
        assert view[1, :, :40, :50].abs().min(dim=0).values.max() > 0


def test_views_keep_full_precision_under_autocast():
    def draw():
        torch.manual_seed(0)
        return make()(batch(), training=True)["inputs"]

    expected = draw()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = draw()
    assert all(torch.equal(a, b) for a, b in zip(inside, expected, strict=True))


def test_mask_is_false_in_the_padding_only():
    data = make(views=1)(batch(SMALL), training=True)
    mask = padding_mask(data["inputs"][0], [sample.img_shape for sample in data["data_samples"]])
    assert mask.shape == (2, 64, 64)
    assert mask[0].all()
    assert mask[1, :40, :50].all()
    assert mask[1].sum() == 40 * 50
    full = make(views=1)(batch(), training=True)
    assert padding_mask(full["inputs"][0], [sample.img_shape for sample in full["data_samples"]]) is None


def test_cells_that_are_all_padding_stay_out_of_the_queue():
    model = build("pspnet", {**GCISG, "patches": (4, 4)})
    data = model.data_preprocessor(batch(((64, 64), (16, 64))), True)
    model.loss(**data)
    assert model.regularizer.queues["stage3"].pointer == 2 * (16 + 4)


class TestImagesThatAreNotRGB:
    @pytest.mark.parametrize("channels", [1, 4])
    def test_each_band_is_drawn_in_brightness_and_contrast(self, channels):
        image = torch.randint(0, 256, (channels, 32, 32), dtype=torch.uint8)
        data = {**batch(((32, 32),) * 2), "inputs": [image, image]}
        plain, drawn = PhotometricSegDataPreProcessor(size=(32, 32), plain_views=(0,))(data, training=True)["inputs"]
        assert torch.equal(plain[0], image.float())
        assert drawn.shape == plain.shape
        for band, own in zip(drawn[0], plain[0], strict=True):
            order = own.flatten().argsort()
            assert (band.flatten()[order].diff() >= -1e-3).all()  # a brighter pixel stays brighter
            assert not torch.allclose(band, own, atol=1)

    def test_values_of_another_range_keep_it(self):
        bands = torch.rand(4, 32, 32) * 10000
        drawn = draw(PhotometricSegDataPreProcessor(value_range=(0, 10000)), bands)
        assert drawn.max() > 2000
        still = PhotometricSegDataPreProcessor(value_range=(-3, 3), photometric=STILL)
        normalised = torch.randn(3, 32, 32).clamp(-3, 3)
        torch.testing.assert_close(draw(still, normalised), normalised)

    @pytest.mark.remedy("set model.data_preprocessor.value_range, or leave the normalisation to the preprocessor")
    def test_values_outside_of_the_range_are_named(self):
        said = (
            "values from -100 to 20, but views are made in the range 0 to 255: set model.data_preprocessor.value_range"
        )
        with pytest.raises(ValueError, match=said):
            draw(make(), torch.tensor([-100.0, 0.0, 20.0])[:, None, None].expand(3, 4, 4))
        values = torch.tensor([-100.0, 0.0, 20.0])[:, None, None].expand(3, 4, 4)
        assert draw(make(value_range=(-100, 20)), values).min() >= -100

    def test_a_change_of_colours_needs_some(self, tmp_path):
        (tmp_path / "style.png").write_bytes(b"")
        with pytest.raises(ValueError, match="photometric.styles must be None for images that have no colours"):
            draw(make(photometric={"styles": {"folder": str(tmp_path)}}), torch.zeros(1, 4, 4))

    def test_the_stages_of_a_network_of_four_bands_are_found(self):
        backbone = {**SEGMENTORS["pspnet"]["backbone"], "in_channels": 4, "type": "ResNetV1c"}
        model = build("pspnet", backbone=backbone, data_preprocessor={"type": PREPROCESSOR["type"], "size": (64, 64)})
        data = batch()
        data["inputs"] = [torch.cat([image, image[:1]]) for image in data["inputs"]]
        assert model.train_step(data, sgd(model))["loss_ci_stage3"].isfinite()


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="value_range must be a lowest and a highest value"):
        make(value_range=(1, 1))
    with pytest.raises(ValueError, match="views must be at least 0"):
        make(views=-1)
    with pytest.raises(ValueError, match="batch_augments must be absent"):
        make(batch_augments=[{"type": "mixup"}])


def test_a_step_stays_on_the_gpu(monkeypatch):
    """From the preprocessor's batch on; the heads are left out: mmseg's losses read numbers of the device."""
    monkeypatch.setattr(
        EncoderDecoder, "loss", lambda self, inputs, samples: {"loss_task": self.extract_feat(inputs)[-1].mean()}
    )
    model = build("pspnet", {**GCISG, "patches": (1, 1)})
    data = model.data_preprocessor(batch(SMALL), True)
    model.loss(**data)  # what the first step does
    with on_fake_cuda(model) as move:
        views = [move(view) for view in data["inputs"]]
        with no_waiting():
            losses = model.loss(views, data["data_samples"])
            finish_step(model, model.regularizer)
    assert "loss_ci_stage4" in losses
    assert {value.device.type for value in losses.values()} == {"cuda"}

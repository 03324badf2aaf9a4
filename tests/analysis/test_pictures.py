import numpy as np
import pytest
import torch
from torch import nn

from gcisg_core.metrics import FeatureSample
from gcisg_core.model_metrics import ModelMetrics
from gcisg_suite.analysis.pictures import cam_layer, chosen, confusion_figure, density_figure, on_circle, over_image
from gcisg_suite.miniature.network import MiniResNet


def sample_of(features):
    sample = FeatureSample()
    sample.update(features)
    return sample


def test_images_are_evenly_spaced_and_few_are_all_shown():
    assert chosen(101) == [0, 20, 40, 60, 80, 100]
    assert chosen(3) == [0, 1, 2]


def test_the_circle_is_that_of_the_first_two_right_singular_vectors():
    features = torch.randn(50, 7, generator=torch.Generator().manual_seed(0)) + 1
    unit = nn.functional.normalize(features.double()).numpy()
    centred = unit - unit.mean(0)
    plane = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    expected = plane / np.linalg.norm(plane, axis=1, keepdims=True)
    found = on_circle(features)
    signs = np.sign((found * expected).sum(0))
    np.testing.assert_allclose(found * signs, expected, atol=1e-6)


def test_all_densities_have_one_scale_and_integrate_to_one():
    generator = torch.Generator().manual_seed(0)
    samples = {name: sample_of(torch.randn(40, 5, generator=generator)) for name in ("a", "b")}
    axes = density_figure(samples, dict.fromkeys(samples, "")).axes
    images = [axis.images[0] for axis in axes]
    assert images[0].get_clim() == images[1].get_clim()
    cell = (3 / 119) ** 2
    for image in images:
        # A Gaussian's tails beyond the picture are lost.
        assert 0.8 < image.get_array().sum() * cell < 1.01


def test_features_that_are_all_alike_have_no_density():
    (axis,) = density_figure({"a": sample_of(torch.ones(5, 3))}, {"a": ""}).axes
    assert [text.get_text() for text in axis.texts] == ["too few different\nfeatures"]


def test_rows_of_the_confusion_matrix_sum_to_a_hundred():
    result = ModelMetrics(confusion=torch.tensor([[3, 1], [0, 0]]), axes=("a", "b"))
    (axis,) = confusion_figure({"m": result}).axes
    assert axis.images[0].get_array().tolist() == [[75, 25], [0, 0]]
    assert [text.get_text() for text in axis.texts] == ["75", "25", "0", "0"]


def test_grad_cam_looks_at_the_stage_that_is_named(monkeypatch):
    network = MiniResNet(num_classes=2)
    assert cam_layer(network, 4, (32, 32)) == (network.layer4, None)
    monkeypatch.setattr("gcisg_suite.analysis.pictures.find_stages", lambda _: {2: 1})
    with pytest.raises(ValueError, match="stage 2 of MiniResNet is not a module of its own"):
        cam_layer(network, 2, (32, 32))


def test_heats_of_windows_are_averaged_where_they_overlap():
    parts = [((slice(0, 2), slice(0, 4)), torch.ones(1, 2)), ((slice(0, 2), slice(2, 6)), torch.full((1, 2), 3.0))]
    assert over_image(parts, (2, 6)).tolist() == [[1, 1, 2, 2, 3, 3]] * 2

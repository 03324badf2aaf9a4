"""Views by style images and by perturbed spectra, against forms written with numpy."""

import numpy as np
import pytest
import torch
from torchvision.io import decode_image

from gcisg_core.pasta import PASTA
from gcisg_core.problems import DataError
from gcisg_core.styles import RandomStyle
from gcisg_core.views import PhotometricView
from tests.methods import write_styles


@pytest.fixture
def folder(tmp_path):
    return write_styles(tmp_path / "styles" / "inner", count=1).parent


def image(seed=0, size=(24, 20)):
    return torch.rand(3, *size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 0.4 + 0.3


def style_of(folder):
    return decode_image(str(next(folder.rglob("*.png")))).double() / 255


class TestRandomStyle:
    def test_variables_in_the_folder_are_replaced(self, folder, monkeypatch):
        monkeypatch.setenv("STYLE_IMAGES", str(folder))
        assert RandomStyle("$STYLE_IMAGES").files == RandomStyle(str(folder)).files

    def test_statistics_become_those_of_the_style(self, folder):
        view = RandomStyle(str(folder), "statistics", p=1.0)
        own, style = image(), style_of(folder)
        result = view(own.unsqueeze(0))[0]
        for mine, before, theirs in zip(result.numpy(), own.numpy(), style.numpy(), strict=True):
            expected = (before - before.mean()) / before.std(ddof=1) * theirs.std(ddof=1) + theirs.mean()
            np.testing.assert_allclose(mine, expected.clip(0, 1), atol=1e-9)

    def test_fourier_takes_low_amplitudes_of_the_style_and_keeps_the_phases(self, folder):
        own, style = image(), style_of(folder)
        result = RandomStyle(str(folder), "fourier", p=1.0, window=0.1)(own.unsqueeze(0))[0]
        for mine, before, theirs in zip(result.numpy(), own.numpy(), style.numpy(), strict=True):
            spectrum, other = (np.fft.fftshift(np.fft.fft2(x)) for x in (before, theirs))
            amplitude = np.abs(spectrum)
            rows, columns = slice(12 - 2, 12 + 3), slice(10 - 2, 10 + 3)  # half an edge of int(0.1 * 20)
            amplitude[rows, columns] = np.abs(other)[rows, columns]
            expected = np.fft.ifft2(np.fft.ifftshift(amplitude * np.exp(1j * np.angle(spectrum)))).real
            np.testing.assert_allclose(mine, expected.clip(0, 1), atol=1e-9)

    def test_draws_an_image_and_its_style_anew(self, tmp_path):
        folder = write_styles(tmp_path / "styles")
        torch.manual_seed(0)
        views = RandomStyle(str(folder))(image().expand(40, -1, -1, -1))
        different = {tuple(view.mean((1, 2)).mul(50).round().tolist()) for view in views}
        assert len(different) == 4  # three styles and, in one of 16 draws, the image itself

    def test_faults_of_the_folder_are_named(self, tmp_path, folder):
        with pytest.raises(DataError, match="none: no such folder. Name a folder of style images"):
            RandomStyle(str(tmp_path / "none"))
        (tmp_path / "empty").mkdir()
        with pytest.raises(DataError, match="empty: no JPEG or PNG image in it"):
            RandomStyle(str(tmp_path / "empty"))
        next(folder.rglob("*.png")).write_bytes(b"\x89PNG")
        with pytest.raises(DataError, match=r"0.png: unreadable .* Fetch the style image again"):
            RandomStyle(str(folder), p=1.0)(image().unsqueeze(0))

    @pytest.mark.parametrize("arguments", [{"p": 2.0}, {"window": 0.0}, {"kind": "gan"}])
    def test_wrong_arguments_are_named(self, folder, arguments):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            RandomStyle(str(folder), **arguments)


class TestPASTA:
    @pytest.mark.parametrize("size", [(8, 8), (7, 10)])
    def test_amplitudes_grow_by_the_papers_noise(self, size):
        own = image(size=size).unsqueeze(0)
        torch.manual_seed(0)
        result = PASTA(alpha=0.2, k=2.0, beta=0.05)(own)[0]
        torch.manual_seed(0)
        noise = torch.randn_like(own)[0].numpy()
        expected = np.empty_like(noise)
        frequencies = [[min(i, n - i) for i in range(n)] for n in size]
        largest = max(np.hypot(m, n) for m in frequencies[0] for n in frequencies[1])
        for channel in range(3):
            spectrum = np.fft.fft2(own[0, channel].numpy())
            for i, m in enumerate(frequencies[0]):
                for j, n in enumerate(frequencies[1]):
                    sigma = (0.2 * np.hypot(m, n) / largest) ** 2 + 0.05
                    amplitude = abs(spectrum[i, j]) * (1 + sigma * noise[channel, i, j])
                    spectrum[i, j] = amplitude * np.exp(1j * np.angle(spectrum[i, j]))
            expected[channel] = np.fft.ifft2(spectrum).real
        np.testing.assert_allclose(result.numpy(), expected.clip(0, 1), atol=1e-9)

    def test_strength_zero_changes_nothing(self):
        torch.testing.assert_close(PASTA(0.0, 1.0, 0.0)(image().unsqueeze(0)), image().unsqueeze(0))

    def test_refuses_negative_arguments(self):
        with pytest.raises(ValueError, match="beta must be at least 0"):
            PASTA(beta=-1.0)


def test_a_view_has_them_when_they_are_asked_for(folder):
    plain = PhotometricView(0, 0, 0, 0)
    assert plain.styles is None
    assert plain.pasta is None
    images = image().unsqueeze(0)
    styled = PhotometricView(0, 0, 0, 0, styles={"folder": str(folder), "p": 1.0})(images)
    torch.testing.assert_close(styled, RandomStyle(str(folder), p=1.0)(images))
    torch.manual_seed(0)
    drawn = PhotometricView(0, 0, 0, 0, pasta={"alpha": 1.0})(images)
    assert drawn.shape == images.shape
    assert not torch.allclose(drawn, images)

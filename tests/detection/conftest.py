"""Folders of tiny data."""

import pytest

from tests.detection.scenes import SCENES, make_cityscapes, make_sim10k


@pytest.fixture
def root(tmp_path):
    """Sim10k and Cityscapes, a few images each."""
    make_sim10k(tmp_path)
    make_cityscapes(tmp_path, SCENES)
    return tmp_path

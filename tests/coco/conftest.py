import pytest

from tests.coco.files import make


@pytest.fixture
def content():
    return make()

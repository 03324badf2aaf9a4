from pathlib import Path

import pytest


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a space in its name, in which commands run."""
    (tmp_path / "my data").mkdir()
    monkeypatch.chdir(tmp_path / "my data")
    return Path()

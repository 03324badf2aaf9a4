import pytest


@pytest.fixture(autouse=True)
def _unformatted_configs(monkeypatch):
    """Every run writes its config several times; making it pretty takes ten times as long as an iteration here."""
    monkeypatch.setattr("yapf.yapflib.yapf_api.FormatCode", lambda text, *_, **__: (text, False))

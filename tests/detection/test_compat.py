"""The repairs for Detectron2 touch only what is missing."""

import importlib.machinery
import importlib.util
import sys
import types

import numpy as np
import pytest

pytest.importorskip("detectron2")
from gcisg_det import compat


def test_attribute_that_exists_is_not_changed():
    target = types.SimpleNamespace(int="kept")
    assert compat.fill_missing(target, {"int": int, "float": float}) == ["float"]
    assert target == types.SimpleNamespace(int="kept", float=float)


def test_second_call_repairs_nothing():
    before = {name: vars(np).get(name) for name in compat.NUMPY_ALIASES}
    assert compat.apply() == []
    assert {name: vars(np).get(name) for name in compat.NUMPY_ALIASES} == before


def test_extension_that_exists_is_not_replaced(monkeypatch):
    real = types.ModuleType("detectron2._C")
    real.__spec__ = importlib.machinery.ModuleSpec("detectron2._C", None)
    monkeypatch.setitem(sys.modules, "detectron2._C", real)
    monkeypatch.delitem(sys.modules, compat.EVALUATION)
    assert compat.apply() == []
    assert sys.modules["detectron2._C"] is real


def test_stand_in_is_gone_after_import():
    if importlib.util.find_spec("detectron2._C") is None:
        assert isinstance(sys.modules[compat.EVALUATION]._C, compat.MissingExtension)
        assert "detectron2._C" not in sys.modules
    else:
        assert not isinstance(sys.modules[compat.EVALUATION]._C, compat.MissingExtension)


def test_missing_operator_is_named():
    with pytest.raises(ImportError, match=r"COCOevalAccumulate.*not installed"):
        _ = compat.MissingExtension("detectron2._C").COCOevalAccumulate
    assert not hasattr(compat.MissingExtension("detectron2._C"), "__wrapped__")

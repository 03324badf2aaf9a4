"""docs/methods.md: its method is added as it says, and its table is complete."""

import re
from pathlib import Path

import pytest
import torch
from torch.optim import SGD

from gcisg_cls.classifier import SynToRealClassifier
from gcisg_core import regularizers
from gcisg_core.other_view import PRESETS
from gcisg_core.regularizers import METHODS

PAGE = (Path(__file__).parents[1] / "docs/methods.md").read_text()


@pytest.fixture
def added(monkeypatch):
    """The page's file and its line."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    (name, class_name) = re.search(r'`"(\w+)": (\w+),`', PAGE).groups()
    module = type(regularizers)(f"gcisg_core.regularizers.{name}")
    monkeypatch.setitem(__import__("sys").modules, module.__name__, module)
    exec(compile(code, f"{name}.py", "exec"), module.__dict__)
    monkeypatch.setitem(METHODS, name, getattr(module, class_name))
    return name


def test_the_documents_method_trains_by_its_name(added):
    torch.manual_seed(0)
    settings = {"method": added, "lambda_norm": 0.001}
    model = SynToRealClassifier("mini_resnet", num_classes=3, hidden=8, regularizer=settings).train()
    optimizer = SGD(model.parameters(), lr=0.05)
    images, label = torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 2, 0])
    history = []
    for _ in range(3):
        losses = model(images, label, mode="loss")
        optimizer.zero_grad()
        model.parse_losses(losses)[0].backward()
        optimizer.step()
        model.regularizer.after_optimizer_step()
        history.append(losses["loss_feature_norm"].item())
    assert losses.keys() == {"loss_task", "loss_feature_norm"}
    assert 0 < history[-1] != history[0]
    assert all(parameter.grad is None for parameter in model.regularizer.parameters())
    with pytest.raises(ValueError, match="unknown setting 'lamda_norm'. Did you mean 'lambda_norm'"):
        SynToRealClassifier("mini_resnet", regularizer={"method": added, "lamda_norm": 1.0})


def rows_of(head):
    """The names in the first column of a table."""
    table = PAGE[PAGE.index(head) :].partition("\n\n")[0]
    return re.findall(r"^\| \[?`(\w+)`", table, re.M)


def test_every_method_and_every_form_of_the_other_view_has_its_line():
    assert rows_of("| method |") == list(METHODS)
    assert set(rows_of("| `other_view` |")) == {*PRESETS, "other_view"}


def test_each_method_of_a_paper_has_its_citation():
    citing = (Path(__file__).parents[1] / "docs/citing.md").read_text()
    named = set(re.findall(r"^\| `(\w+)` \| \[", citing, re.M))
    ours = {"none", "oracle", "guided"}
    assert set(METHODS) - ours | {"ibn", "mixstyle", "pasta", "cbst"} == named
    assert len(re.findall(r"^@\w+\{", citing, re.M)) == len(re.findall(r"arxiv\.org/abs/", citing))

"""The example equals the suite on the same tensors, and runs."""

import copy
import importlib.util
import sys
from pathlib import Path

import torch
import torch.nn.functional as F

from gcisg_core import losses
from gcisg_core.pooling import self_attention_pool
from gcisg_core.regularizers import build_regularizer
from gcisg_suite.miniature import classification
from gcisg_suite.miniature.network import MiniResNet

FILE = Path(__file__).parents[2] / "examples" / "gcisg_from_scratch.py"
SPEC = importlib.util.spec_from_file_location("gcisg_from_scratch", FILE)
example = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(example)


def test_losses_are_the_suites():
    generator = torch.Generator().manual_seed(0)
    v, w = (torch.rand(4, 6, 5, 7, generator=generator, dtype=torch.float64) for _ in range(2))
    z, z_momentum, support = (
        F.normalize(torch.randn(n, 8, generator=generator, dtype=torch.float64)) for n in (4, 4, 32)
    )
    torch.testing.assert_close(example.self_attention_pool(v), self_attention_pool(v))
    torch.testing.assert_close(example.guidance_loss(v, w), losses.guidance_loss(v, w))
    torch.testing.assert_close(
        example.causal_invariance_loss(z, z_momentum, support, 0.12, 0.04),
        losses.causal_invariance_loss(z, z_momentum, support),
    )


def test_two_steps_are_the_suites():
    """Guidance and invariance of two steps, so momentum encoder, projectors and queue agree too."""
    torch.manual_seed(0)
    student = MiniResNet(num_classes=3)
    ours, theirs = copy.deepcopy(student).train(), copy.deepcopy(student).train()
    method = example.GCISG(ours, queue=64)
    suite = build_regularizer(
        theirs, {"method": "gcisg", "lambda_guidance": 1.0, "lambda_ci": 1.0, "queue_length": 64, "decay": 0.9}
    ).train()
    suite.init_from_student()
    for stage, number in (("layer3", 3), ("layer4", 4)):
        suite.projectors[f"stage{number}"].load_state_dict(method.heads[stage].state_dict())
        suite.momentum_encoder.projectors[f"stage{number}"].load_state_dict(method.heads[stage].state_dict())
        suite.queues[f"stage{number}"].features.copy_(method.queues[stage])
    optimizers = [torch.optim.SGD(network.parameters(), lr=0.1) for network in (ours, theirs)]
    for _ in range(2):
        views = [torch.rand(8, 3, 64, 64) for _ in range(2)]
        guidance, invariance, _ = method.losses(*views)
        found, _ = suite.step(views, lambda views=views: {"loss_task": theirs(views[0]).sum() * 0})
        expected = {"guidance": guidance, "ci": invariance}
        for name, value in expected.items():
            both = sum(loss for key, loss in found.items() if key.startswith(f"loss_{name}_"))
            torch.testing.assert_close(both, value, rtol=1e-4, atol=1e-5)
        (guidance + invariance).backward()
        sum(found.values()).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        example.average(method.momentum_encoder, ours, decay=0.9)
        suite.after_optimizer_step()


def test_it_runs_and_prints_an_accuracy(tmp_path, monkeypatch, capsys):
    classification.prepare_source(tmp_path / "source", per_class=8, progress=False)
    torch.save(MiniResNet(num_classes=81).state_dict(), tmp_path / "reference.pth")
    folders = ["--synthetic", str(tmp_path / "source"), "--real", str(tmp_path / "source")]
    arguments = [*folders, "--weights", str(tmp_path / "reference.pth"), "--iterations", "50"]
    monkeypatch.setattr(sys, "argv", ["gcisg_from_scratch.py", *arguments])
    example.main()
    output = capsys.readouterr().out
    assert "50: task" in output
    accuracy = float(output.rpartition(": ")[2].strip().removesuffix("%"))
    assert accuracy > 30  # three times chance, on the images that it learned


def test_it_is_short():
    assert len(FILE.read_text().splitlines()) < 150

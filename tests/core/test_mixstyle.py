import copy

import pytest
import torch

from gcisg_core.backbone_plugins import apply_backbone_plugins
from gcisg_core.mixstyle import mix
from gcisg_core.regularizers import build_regularizer
from gcisg_suite.miniature.network import MiniResNet


def student(**values):
    network = MiniResNet(num_classes=5)
    apply_backbone_plugins(network, {"mixstyle": values})
    return network


def test_statistics_are_the_mixture_and_the_normalised_features_stay():
    features = torch.rand(3, 2, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    partner, share = torch.tensor([2, 0, 1]), torch.tensor([0.9, 0.5, 0.0]).double().view(3, 1, 1, 1)
    mixed = mix(features, partner, share)
    for i in range(3):
        for c in range(2):
            own, other = features[i, c], features[partner[i], c]
            weight = share[i].item()
            mean = weight * own.mean() + (1 - weight) * other.mean()
            deviation = weight * (own.var() + 1e-6).sqrt() + (1 - weight) * (other.var() + 1e-6).sqrt()
            expected = (own - own.mean()) / (own.var() + 1e-6).sqrt() * deviation + mean
            torch.testing.assert_close(mixed[i, c], expected)


def test_mixes_in_training_with_gradients_only():
    network, plain = student(p=1.0, alpha=0.5), MiniResNet(num_classes=5)
    images = torch.rand(4, 3, 32, 32)
    network.train()
    plain.train()
    torch.manual_seed(0)
    assert not torch.allclose(network(images), plain(images))
    with torch.no_grad():
        torch.testing.assert_close(network(images), plain(images))
    network.load_state_dict(plain.state_dict())  # the running statistics are those of mixed features
    torch.testing.assert_close(network.eval()(images), plain.eval()(images))


def test_happens_with_its_probability():
    network = student(p=0.3, stages=[4]).train()
    changed = 0
    for seed in range(40):
        torch.manual_seed(seed)
        mixed, plain = [], []
        network.layer4[0].register_forward_hook(lambda *a, kept=plain: kept.append(a[2]))
        handle = network.layer4.register_forward_hook(lambda *a, kept=mixed: kept.append(a[2]))
        network(torch.rand(2, 3, 32, 32))
        changed += not torch.equal(mixed[0], plain[0])
        handle.remove()
    assert 4 <= changed <= 20


def test_a_method_sees_the_mixed_features_of_the_student_and_clean_ones_of_its_copies():
    network = student(p=1.0, alpha=0.5)
    gcisg = build_regularizer(network, {"method": "gcisg", "queue_length": 8, "embedding_dim": 4})
    views = [torch.rand(4, 3, 32, 32) for _ in range(2)]
    kept = {}
    step = copy.copy(gcisg.forward)
    gcisg.forward = lambda views, features, mask=None: kept.update(features[0]) or step(views, features, mask)
    network.train()
    torch.manual_seed(0)
    losses, _ = gcisg.step(views, lambda: {"loss_task": network(views[0]).mean()})
    sum(losses.values()).backward()
    with torch.no_grad():  # in train mode, but nothing is mixed without gradients
        clean = gcisg.taps[0].run(copy.deepcopy(network), views[0])
        target = gcisg.momentum_encoder(views[0], network)
    assert not torch.allclose(kept[4], clean[4], atol=1e-2)
    torch.testing.assert_close(target[4], clean[4])


@pytest.mark.parametrize(
    ("values", "message"),
    [({"p": 2.0}, "p must be a probability"), ({"alpha": 0.0}, "alpha must be above 0"), ({"beta": 1.0}, "'beta'")],
)
def test_wrong_values_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        student(**values)

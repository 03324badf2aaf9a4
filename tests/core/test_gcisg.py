"""GCISG against the paper written out: losses, gradients, passes; its preset after the authors' code."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from gcisg_core.losses import guidance_loss
from gcisg_core.regularizers import build_regularizer
from tests.core.students import SMALL, make_student, make_views, one_step


class Calls:
    """Counts the forward passes of modules, and how far they get."""

    def __init__(self, **modules):
        self.counts = dict.fromkeys(modules, 0)
        for name, module in modules.items():
            module.register_forward_pre_hook(lambda *_, name=name: self._add(name))

    def _add(self, name):
        self.counts[name] += 1


class TestGCISG:
    def test_losses_equal_the_paper_written_out(self):
        """An independent form: plain passes through copies, plain softmax, loops over stages."""
        student = make_student().double().eval()
        gcisg = build_regularizer(student, {**SMALL, "lambda_guidance": 2.0, "lambda_ci": [0.5, 0.25]}).double()
        views = [view.double() for view in make_views()]
        with torch.no_grad():  # student and target differ from the reference
            reference = copy.deepcopy(student)
            gcisg.init_from_student()
            for parameter in [*student.parameters(), *gcisg.momentum_encoder.average.parameters()]:
                parameter.add_(0.05 * torch.randn_like(parameter))
        target = gcisg.momentum_encoder.average.module
        queues = {stage: gcisg.queues[f"stage{stage}"].features.clone() for stage in (3, 4)}

        def stages(network, x):
            x = network.layer2(network.layer1(network.relu(network.bn1(network.conv1(x)))))
            third = network.layer3(x)
            return {3: third, 4: network.layer4(third)}

        losses, _ = one_step(gcisg, views)
        for stage, weight in ((3, 0.5), (4, 0.25)):
            own = gcisg.projectors[f"stage{stage}"]
            initial = gcisg.momentum_encoder.projectors[f"stage{stage}"]
            z = [F.normalize(own(stages(student, view)[stage].mean((2, 3)))) for view in views]
            z_bar = [F.normalize(initial(stages(target, view)[stage].mean((2, 3)))) for view in views]
            directions = [
                F.cross_entropy(z[i] @ queues[stage].T / 0.12, (z_bar[1 - i] @ queues[stage].T / 0.04).softmax(1))
                for i in range(2)
            ]
            expected = weight * (directions[0] + directions[1]) / 2
            torch.testing.assert_close(losses[f"loss_ci_stage{stage}"], expected)
            guidance = 2 * guidance_loss(stages(student, views[0])[stage], stages(reference, views[0])[stage])
            torch.testing.assert_close(losses[f"loss_guidance_stage{stage}"], guidance, rtol=1e-9, atol=1e-12)
            torch.testing.assert_close(
                gcisg.queues[f"stage{stage}"].features[:12], torch.cat(z_bar), rtol=1e-12, atol=1e-14
            )

    def test_info_nce_takes_the_other_views_target_as_positive_and_the_queue_as_negatives(self):
        student = make_student().double().eval()
        gcisg = build_regularizer(
            student,
            {**SMALL, "lambda_guidance": 0.0, "lambda_ci": 1.0, "ci_loss": "info_nce", "tau": 0.07, "stages_ci": [4]},
        ).double()
        views = [view.double() for view in make_views()]
        negatives = gcisg.queues["stage4"].features.clone()
        losses, _ = one_step(gcisg, views)
        with torch.no_grad():
            pooled = [gcisg.taps[0].run(student, view)[4].mean((2, 3)) for view in views]
            z = [F.normalize(gcisg.projectors["stage4"](p)) for p in pooled]
            z_bar = [F.normalize(gcisg.momentum_encoder.projectors["stage4"](p)) for p in pooled]
        expected = 0.0
        for i in range(2):
            for row, partner in zip(z[i], z_bar[1 - i], strict=True):
                hit = math.exp(row @ partner / 0.07)
                expected -= math.log(hit / (hit + sum(math.exp(row @ q / 0.07) for q in negatives))) / 12
        assert losses["loss_ci_stage4"].item() == pytest.approx(expected, rel=1e-9)

    def test_gradient_goes_to_the_student_and_its_projectors_only(self):
        gcisg = build_regularizer(make_student(), SMALL)
        losses, _ = one_step(gcisg)
        (sum(losses.values()) - losses["loss_task"]).backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in gcisg.projectors.parameters())
        assert gcisg.student.conv1.weight.grad.abs().sum() > 0
        assert all(p.grad is None for p in [*gcisg.momentum_encoder.parameters(), *gcisg.reference.parameters()])

    def test_passes_through_the_networks_are_as_few_as_can_be(self):
        student = make_student()
        gcisg = build_regularizer(student, {**SMALL, "stages_guidance": [3], "stages_ci": [2]})
        reference, target = gcisg.reference.encoder, gcisg.momentum_encoder.average.module
        calls = Calls(
            student=student, student_layer3=student.layer3, student_fc=student.fc,
            target=target, target_layer2=target.layer2, target_layer3=target.layer3,
            reference=reference, reference_layer3=reference.layer3, reference_layer4=reference.layer4,
        )  # fmt: skip
        one_step(gcisg)
        assert calls.counts == {
            "student": 2, "student_layer3": 1, "student_fc": 1,  # the second view stops after stage 2
            "target": 2, "target_layer2": 2, "target_layer3": 0,
            "reference": 1, "reference_layer3": 1, "reference_layer4": 0,
        }  # fmt: skip

    def test_guidance_alone_needs_one_view_and_ci_alone_no_reference(self):
        guidance = build_regularizer(make_student(), {**SMALL, "lambda_ci": 0.0})
        assert guidance.views_needed == 1
        assert guidance.momentum_encoder is None
        assert one_step(guidance, make_views(1))[0].keys() == {
            "loss_task",
            "loss_guidance_stage3",
            "loss_guidance_stage4",
        }
        ci = build_regularizer(make_student(), {**SMALL, "lambda_guidance": 0.0})
        assert ci.reference is None
        assert one_step(ci)[0].keys() == {"loss_task", "loss_ci_stage3", "loss_ci_stage4"}

    def test_a_missing_view_is_named(self):
        with pytest.raises(ValueError, match="GCISG needs 2 views of each image, got 1"):
            one_step(build_regularizer(make_student(), SMALL), make_views(1))

    def test_the_dense_form_has_a_key_a_cell(self):
        gcisg = build_regularizer(make_student(), {**SMALL, "patches": [2, 2]})
        one_step(gcisg, make_views(batch=3))
        assert int(gcisg.queues["stage3"].pointer) == 2 * 3 * 4

    def test_guidance_by_cells_leaves_causal_invariance_as_it_is(self):
        losses = {}
        for patches in ([1, 1], [2, 2]):
            gcisg = build_regularizer(make_student(), {**SMALL, "patches_guidance": patches})
            gcisg.init_from_student()
            with torch.no_grad():
                for parameter in gcisg.student.parameters():
                    parameter.mul_(1.1).add_(0.01)
            losses[patches[0]], _ = one_step(gcisg)
            assert int(gcisg.queues["stage3"].pointer) == 12
        assert losses[1]["loss_ci_stage3"] == losses[2]["loss_ci_stage3"]
        assert losses[1]["loss_guidance_stage3"] != losses[2]["loss_guidance_stage3"]

    def test_metrics_are_no_losses(self):
        _, metrics = one_step(build_regularizer(make_student(), SMALL))
        assert metrics.keys() == {f"{name}_stage{s}" for name in ("ci_match", "queue_concentration") for s in (3, 4)}
        assert not any("loss" in name for name in metrics)
        assert all(0 <= value <= 1 for value in metrics.values())

    def test_padding_changes_nothing(self):
        """Images of 48 x 64 in a batch of 64 x 64: what the padding holds does not matter to any loss."""
        mask = torch.zeros(6, 64, 64, dtype=torch.bool)
        mask[:, :48] = True
        values, views = [], [torch.rand(6, 3, 64, 64) for _ in range(2)]
        for fill in (0.0, 9.0):
            gcisg = build_regularizer(make_student().eval(), SMALL)
            gcisg.init_from_student()
            # Features only: convolutions themselves see the padding.
            maps = {
                stage: torch.rand(6, width, side, side, generator=torch.Generator().manual_seed(stage))
                for stage, width, side in ((3, 96, 8), (4, 192, 4))
            }
            for features in maps.values():
                features[:, :, features.shape[2] * 3 // 4 :] = fill
            terms = gcisg(views, [maps, maps], mask)
            values.append([*terms.losses.values(), gcisg._patches(maps[3], mask)])
        torch.testing.assert_close(values[0], values[1])


class TestOfficialPreset:
    def test_the_second_direction_sees_the_first_ones_keys(self):
        student = make_student().double().eval()
        gcisg = build_regularizer(student, {**SMALL, "preset": "official", "lambda_guidance": 0.0}).double()
        views = [view.double() for view in make_views()]
        queue = gcisg.queues["stage4"].features.clone()
        losses, _ = one_step(gcisg, views)
        tap = gcisg.taps[1]
        z = [gcisg.projectors.embed(4, tap.run(student, view)[4].mean((2, 3))) for view in views]
        z_bar = [gcisg.momentum_encoder.projectors.embed(4, tap.run(student, view)[4].mean((2, 3))) for view in views]
        first = F.cross_entropy(z[0] @ queue.T / 0.12, (z_bar[1] @ queue.T / 0.04).softmax(1))
        queue[:6] = z_bar[1]
        second = F.cross_entropy(z[1] @ queue.T / 0.12, (z_bar[0] @ queue.T / 0.04).softmax(1))
        torch.testing.assert_close(losses["loss_ci_stage4"], first + second)

    def test_task_and_guidance_see_the_second_view(self):
        student = make_student().eval()
        gcisg = build_regularizer(student, {**SMALL, "preset": "official"})
        gcisg.init_from_student()
        with torch.no_grad():
            student.conv1.weight.add_(0.05 * torch.randn_like(student.conv1.weight))
        views = make_views()
        losses, _ = one_step(gcisg, views)
        maps = gcisg.taps[1].run(student, views[1]), gcisg.reference(views[1])
        torch.testing.assert_close(
            losses["loss_guidance_stage4"], guidance_loss(maps[0][4], maps[1][4], reduction="frobenius")
        )
        torch.testing.assert_close(losses["loss_task"], student(views[1]).square().mean())


def test_reference_and_target_take_the_weights_that_were_loaded_last():
    gcisg = build_regularizer(make_student(0), SMALL)
    loaded = make_student(7)
    gcisg.student.load_state_dict(loaded.state_dict())
    one_step(gcisg)
    for mine, theirs in zip(gcisg.momentum_encoder.average.module.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    view = make_views(1)[0]
    expected = gcisg.taps[0].run(loaded.eval(), view)[4]
    torch.testing.assert_close(gcisg.reference(view)[4], expected, rtol=1e-4, atol=1e-5)


def test_a_step_in_float32_on_a_device_equals_that_in_float64(device):
    results = []
    for place in ({"dtype": torch.float64}, {"device": device}):
        gcisg = build_regularizer(make_student().to(**place), SMALL).to(**place)
        losses, _ = one_step(gcisg, [view.to(**place) for view in make_views()])
        results.append({name: loss.item() for name, loss in losses.items()})
    assert results[1] == pytest.approx(results[0], rel=1e-3)

"""What the core's messages tell people to do, done: each test provokes the message and then follows it."""

import shutil
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from gcisg_core import queue
from gcisg_core.backbone_plugins import apply_backbone_plugins
from gcisg_core.disk import check_space
from gcisg_core.feature_tap import StageTap, find_stages, make_tap
from gcisg_core.regularizers import build_regularizer, read_method
from gcisg_core.run_folder import lock, newest_checkpoint, open_run, release_all
from tests.core.students import SMALL, make_student, make_views, one_step
from tests.core.test_feature_tap import DictBackbone, TupleBackbone

SETTINGS = {"lr": 0.1}


@pytest.fixture(autouse=True)
def unlocked():
    yield
    release_all()


@pytest.mark.remedy("Choose other stages or say where it is in stage_locations")
def test_a_stage_that_is_not_there():
    backbone, images = TupleBackbone(), torch.rand(1, 3, 32, 32)
    with pytest.raises(ValueError, match="has no stage 0; it has .*Choose other stages or say where"):
        make_tap(backbone, [0, 4])
    assert make_tap(backbone, [2, 4]).run(backbone, images).keys() == {2, 4}
    located = make_tap(backbone, [0, 4], {0: "blocks.0", 4: "blocks.2"}).run(backbone, images)
    assert {stage: len(maps[0]) for stage, maps in located.items()} == {0: 6, 4: 24}


@pytest.mark.remedy(
    "Name another submodule, or a key or position of the backbone's output, in stage_locations",
    "is not a submodule. Name another one in stage_locations",
    "{}: {}. Name another submodule in stage_locations",
)
@pytest.mark.parametrize(
    ("backbone", "wrong", "said", "right"),
    [
        (TupleBackbone(), {4: 7}, "no such submodule or output, expected features .*in stage_locations", {4: 2}),
        (DictBackbone(), {4: "p9"}, "no such submodule or output, expected features .*in stage_locations", {4: "p2"}),
        (TupleBackbone(), {3: "blocks.2", 4: "blocks.1"}, "was not reached before", {3: "blocks.1", 4: "blocks.2"}),
        (
            nn.Sequential(nn.Conv2d(3, 2000, 16, 16), nn.Flatten(2)),
            {4: "tokens(1)"},
            "are not tokens .*in stage_loc",
            {4: "0"},
        ),
    ],
)
def test_a_place_that_holds_no_stage(backbone, wrong, said, right):
    images = torch.rand(1, 3, 32, 32)
    with pytest.raises(ValueError, match=said):
        StageTap(wrong).run(backbone, images)
    assert all(maps.ndim == 4 for maps in StageTap(right).run(backbone, images).values())


class Talker(nn.Module):
    """Takes no image alone."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 1)

    def forward(self, images, text):
        return self.layer(images) * text


@pytest.mark.remedy("are not known, and no black image passes", "are not known; say where they are: stage_locations=")
@pytest.mark.parametrize("backbone", [Talker(), nn.Sequential(nn.Conv2d(3, 4, 1))])
def test_stages_that_are_not_found(backbone):
    place = "layer" if isinstance(backbone, Talker) else "0"
    with pytest.raises(ValueError, match=r"[Ss]ay where they are: stage_locations=\{3: 'path.of.submodule'"):
        find_stages(backbone)
    with (tap := make_tap(backbone, [3], {3: place})).collect(backbone) as features:
        backbone(torch.rand(1, 3, 8, 8), *([1.0] if place == "layer" else []))
    assert features[3].shape == (1, 4, 8, 8)
    assert tap.locations == {3: place}


@pytest.mark.remedy("its values are lost. Name another submodule in stage_locations")
def test_a_stage_that_is_overwritten_late():
    network, images = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=False)), torch.randn(2, 3, 8, 8)

    def passes(place, inplace):
        tap = StageTap({1: place})
        for network[1].inplace in (False, False, inplace):
            with tap.collect(network) as features:
                network(images)
        return features[1]

    with pytest.raises(RuntimeError, match="its values are lost. Name another submodule .*out-of-place"):
        passes("0", True)
    assert passes("1", True).min() == 0
    assert passes("0", False).min() < 0


@pytest.mark.remedy("Choose smaller ones")
def test_a_queue_beyond_the_memory(monkeypatch):
    monkeypatch.setattr(queue, "memory_of_machine", lambda: 10_000)
    with pytest.raises(ValueError, match="queue_length 1000 with embedding_dim 8 would take .* Choose smaller ones"):
        build_regularizer(make_student(), {**SMALL, "queue_length": 1000})
    assert build_regularizer(make_student(), SMALL).queues


@pytest.mark.remedy("Leave other_view out, or choose a method that compares views")
def test_another_view_for_a_method_of_one():
    values = {"method": "none", "other_view": "identical"}
    with pytest.raises(ValueError, match="Leave other_view out, or choose a method that compares views"):
        read_method(values)
    assert read_method({"method": "none"})[1].views_needed == 1
    assert read_method({**values, "method": "csg"})[1].views_needed == 2


@pytest.mark.remedy("add the project's hook to the config", "add the project's RegularizerHook to the config")
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"method": "none"}, r"after_optimizer_step\(\) was not called .*hook to the config"),
        ({**SMALL, "momentum_update": "before_step"}, "needs before_optimizer_step.. right before .*RegularizerHook"),
        ({"method": "si"}, "si sums over .*needs before_optimizer_step.*RegularizerHook"),
    ],
)
def test_a_loop_without_the_hook(settings, said, monkeypatch):
    """What the hook does, as `gcisg_core.integrations` has it: both calls around the step."""
    monkeypatch.setattr("gcisg_core.regularizers.base.WARN_AFTER_STEPS", 3)

    def train(hooked):
        regularizer = build_regularizer(make_student(), settings)
        optimizer = torch.optim.SGD(regularizer.student.parameters(), lr=0.01)
        for _ in range(3):
            losses, _ = one_step(regularizer, make_views(regularizer.views_needed, batch=2))
            optimizer.zero_grad()
            sum(losses.values()).backward()
            if hooked:
                regularizer.before_optimizer_step()
            optimizer.step()
            if hooked or settings["method"] != "none":
                regularizer.after_optimizer_step()

    kind = UserWarning if settings["method"] == "none" else ValueError
    check = pytest.warns if kind is UserWarning else pytest.raises
    with check(kind, match=said):
        train(False)
    train(True)


@pytest.mark.remedy("Make room, or choose another --output", "cannot be written ({}). Choose another --output")
def test_a_folder_without_room_or_that_cannot_be_written(tmp_path, monkeypatch):
    model, full, other = nn.Linear(500, 500, bias=False), tmp_path / "full", tmp_path / "other"
    optimizer, free = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), {full: 1000, other: 10**9}
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free[folder]))
    full.mkdir()
    other.mkdir()
    with pytest.raises(ValueError, match="Make room, or choose another --output"):
        check_space(full, model, optimizer)
    check_space(other, model, optimizer)
    free[full] = 10**9
    check_space(full, model, optimizer)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="Choose another --output"):
        lock(tmp_path / "file/run")
    lock(other)


@pytest.mark.remedy(
    "--resume continues it, --fresh moves it aside; or choose another --output",
    "Choose another --output, or --fresh",
    "--fresh moves them aside",
)
@pytest.mark.parametrize(
    ("resume", "seed", "damaged", "said"),
    [
        (False, 3, False, "--resume continues it, --fresh moves it aside; or choose another --output"),
        (True, 4, False, "seed 4 would make it another run. Choose another --output, or --fresh"),
        (True, 3, True, "all of its checkpoints are damaged. --fresh moves them aside"),
    ],
)
def test_a_folder_that_holds_a_run(tmp_path, resume, seed, damaged, said):
    run = tmp_path / "run"
    open_run(run, SETTINGS, 3)
    torch.save({"w": torch.zeros(1000)}, run / "iter_8.pth")
    if damaged:
        (run / "iter_8.pth").write_bytes(b"")
    with pytest.raises(ValueError, match=said):
        open_run(run, SETTINGS, seed, resume=resume)
    assert open_run(tmp_path / "another", SETTINGS, seed) is None
    if not damaged:
        assert open_run(run, SETTINGS, 3, resume=True) == run / "iter_8.pth"
    assert open_run(run, SETTINGS, seed, fresh=True) is None
    assert (tmp_path / "run.old1/iter_8.pth").is_file()
    assert newest_checkpoint(run) is None


@pytest.mark.remedy("Remove ibn from the backbone plugins")
def test_a_plugin_that_does_not_apply():
    network = nn.Sequential(nn.Conv2d(3, 4, 3))
    with pytest.raises(ValueError, match="ibn does not apply to Sequential .*Remove ibn from the backbone plugins"):
        apply_backbone_plugins(network, {"ibn": "a"})
    apply_backbone_plugins(network, {})

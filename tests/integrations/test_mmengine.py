from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import InfiniteSampler
from mmengine.fileio import put_text
from mmengine.logging import MMLogger
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn
from torch.utils.data import DataLoader, Dataset

from gcisg_core.integrations import mmengine as integration
from gcisg_core.integrations.mmengine import (
    AtomicLocalBackend,
    RegularizerHook,
    SeededDataset,
    SeededSampler,
    check_state,
    load_config,
    load_for_evaluation,
    resume,
)
from gcisg_core.integrations.mmengine.nan import build_model
from gcisg_core.integrations.mmengine.resume import skip_what_was_read
from gcisg_core.problems import DataError

MINI = Path(__file__).parents[2] / "projects/classification/gcisg_mini.py"


def test_files_are_written_under_a_temporary_name(tmp_path, monkeypatch):
    """A process that dies between the two steps leaves the old file as it was."""
    put_text("old", str(tmp_path / "file"))

    def die(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        AtomicLocalBackend().put(b"new", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "old"


def test_mmengine_writes_text_that_way_too(tmp_path, monkeypatch):
    renamed = []
    monkeypatch.setattr(Path, "replace", lambda self, target: renamed.append(Path(target).name))
    put_text("text", str(tmp_path / "file"))
    assert renamed == ["file"]


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"state_dict": {}, "meta": Payload()}, tmp_path / "evil.pth")
    with pytest.raises(DataError, match="evil.pth: is refused: it asks for"):
        CheckpointLoader.load_checkpoint(str(tmp_path / "evil.pth"))
    assert not (tmp_path / "ran").exists()


def test_a_config_is_written_without_the_search_for_the_prettiest_lines(tmp_path, monkeypatch):
    """mmengine writes it four times a run, and yapf takes seconds for each where a value is a long path."""
    monkeypatch.setattr("yapf.yapflib.yapf_api.FormatCode", lambda *_, **__: pytest.fail("yapf was called"))
    (tmp_path / "some.py").write_text(f"paths = dict(a='{'/long/path' * 20}', b=[1, 'two', (3.0, None)])")
    config = load_config(str(tmp_path / "some.py"), ["paths.c=x"])
    config.dump(tmp_path / "written.py")
    assert Config.fromfile(tmp_path / "written.py").to_dict() == config.to_dict()


class Keys(Dataset):
    """Each sample is the key that it is asked for by."""

    def __getitem__(self, key):
        return key


def test_the_sampler_goes_on_where_it_was():
    dataset = list(range(5))
    whole = SeededSampler(dataset, seed=3)
    expected = [item for item, _ in zip(whole, range(13), strict=False)]
    resumed = SeededSampler(dataset, seed=3)
    resumed.skip(8)
    assert [item for item, _ in zip(resumed, range(5), strict=False)] == expected[8:]
    assert {index for _, index in expected[:5]} == set(dataset)


@pytest.mark.remedy("Use train_dataloader=dict({}) for an exact resume")
@pytest.mark.parametrize("sampler", [SeededSampler(range(5), seed=3), InfiniteSampler(range(5), seed=3)])
@pytest.mark.parametrize("dataset", [SeededDataset(Keys()), Keys()])
def test_a_resumed_run_whose_data_are_drawn_anew_says_so(dataset, sampler, monkeypatch):
    said = []
    monkeypatch.setattr(resume, "print_log", lambda text, *_: said.append(text))
    for done in (0, 4):
        loader = DataLoader(dataset, batch_size=2, sampler=sampler, collate_fn=list)
        skip_what_was_read(SimpleNamespace(dataloader=loader, iter=done, dataloader_iterator=iter(loader)))
    exact = isinstance(dataset, SeededDataset) and isinstance(sampler, SeededSampler)
    assert len(said) == (0 if exact else 1)
    assert exact or 'train_dataloader=dict(sampler=dict(type="SeededSampler"), dataset=dict(' in said[0]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_loop_of_the_official_mmengine_reads_nothing_again(workers):
    """Its loop begins with as many `next` as steps were done; OneDL's skips by itself."""

    def started(iterations):
        loader = DataLoader(Keys(), batch_size=2, sampler=SeededSampler(range(5), seed=3), num_workers=workers,
                            persistent_workers=workers > 0, collate_fn=list)  # fmt: skip
        loop = SimpleNamespace(dataloader=loader, iter=iterations, dataloader_iterator=iter(loader))
        skip_what_was_read(loop)
        return loop.dataloader_iterator

    whole, resumed = started(0), started(4)
    expected = [next(whole) for _ in range(6)]
    assert [next(resumed) for _ in range(6)] == [None] * 4 + expected[4:]


@pytest.mark.remedy(
    "{} does not fit this config's model: {} ({} differences). Give the config that it was trained with"
)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("bias"), "bias is missing"),
        (lambda state: state.update(extra=torch.zeros(1)), "extra is not in the model"),
        (lambda state: state.update(bias=torch.zeros(9)), r"bias has the shape \(9,\), expected \(2,\)"),
    ],
)
def test_another_models_state_is_named(change, message):
    model = nn.Linear(3, 2)
    state = dict(model.state_dict())
    check_state(model, state, "the file")
    change(state)
    with pytest.raises(ValueError, match=f"the file does not fit this config's model: {message}"):
        check_state(model, state, "the file")
    check_state(model, dict(nn.Linear(3, 2).state_dict()), "another checkpoint")
    if len(state.get("bias", ())) != 9:  # as the file was trained
        trained = nn.Linear(3, 2, bias="bias" in state)
        if "extra" in state:
            trained.register_buffer("extra", torch.zeros(1))
        check_state(trained, state, "the file")


def test_evaluation_ignores_what_the_method_kept(tmp_path):
    model = nn.Sequential(nn.Linear(3, 2))
    state = {name: torch.ones_like(value) for name, value in model.state_dict().items()}
    torch.save({"state_dict": {**state, "regularizer.queue": torch.zeros(4)}}, tmp_path / "run.pth")
    load_for_evaluation(model, str(tmp_path / "run.pth"))
    assert torch.equal(model[0].weight, torch.ones(2, 3))
    with pytest.raises(ValueError, match="does not fit this config's model"):
        load_for_evaluation(nn.Linear(3, 2), str(tmp_path / "run.pth"))


def test_reading_a_config_prints_no_line_for_each_environment_variable(monkeypatch, capsys):
    monkeypatch.setenv("GCISG_DATA", "here")
    MMLogger.get_instance("of this test")  # with a handler of this screen
    assert load_config(str(MINI), []).data_root == "here/mini/classification"
    assert capsys.readouterr() == ("", "")


class TestConfig:
    @pytest.fixture
    def config(self, tmp_path):
        path = tmp_path / "config.py"
        path.write_text("model = dict(type='A', regularizer=dict(method='gcisg'))\nseed = 1\n")
        return str(path)

    def test_overrides_keep_their_types(self, config):
        loaded = load_config(config, ["model.regularizer.stages_ci=[3,4]", "seed=7", "model.regularizer.tau=0.1"])
        assert loaded.model.regularizer == {"method": "gcisg", "stages_ci": [3, 4], "tau": 0.1}
        assert loaded.seed == 7

    def test_overrides_keep_the_spaces_in_names_of_files_and_classes(self, config):
        names = ["load_from=my runs/a  b (1)/iter_2.pth", "model.names=[traffic light, car]", "model.type=( 3, 4 )"]
        loaded = load_config(config, names)
        assert loaded.load_from == "my runs/a  b (1)/iter_2.pth"
        assert (loaded.model.names, loaded.model.type) == (["traffic light", "car"], (3, 4))

    def test_commas_and_brackets_in_names_of_files_are_kept(self, config, tmp_path):
        (file := tmp_path / "a, b[1,2].pth").touch()
        loaded = load_config(config, [f"load_from={file}", "model.type=/a,b(1", "seed=3,4", "work_dir=[a,b]"])
        assert (loaded.load_from, loaded.model.type) == (str(file), "/a,b(1")
        assert (loaded.seed, loaded.work_dir) == ([3, 4], ["a", "b"])  # lists stay lists
        names = [f"class {number}" for number in range(60)]  # longer than the name of a file can be
        assert load_config(config, [f"model.names={','.join(names)}"]).model.names == names

    def test_open_views_become_what_the_method_needs_and_too_few_are_named(self, tmp_path):
        path = tmp_path / "config.py"
        path.write_text(
            "inner = dict(type='A', steps=[dict(views=None, size=3)])\n"
            "train_dataloader = dict(dataset=dict(source=dict(pipeline=inner), views=None))\n"
            "val_dataloader = dict(dataset=dict(views=None))\n"
            "model = dict(data_preprocessor=dict(views=None), backbone=dict(views=None))\n"
            "model['regularizer'] = dict(method='none')\n"
        )
        for method, needed in (("none", 1), ("csg", 2)):
            loaded = load_config(str(path), [f"model.regularizer.method={method}"])
            data = loaded.train_dataloader.dataset
            found = data.views, data.source.pipeline.steps[0].views, loaded.model.data_preprocessor.views
            assert found == (needed, needed, needed)
            assert loaded.val_dataloader.dataset.views is loaded.model.backbone.views is None
        key = "train_dataloader.dataset.source.pipeline.steps.0.views"
        with pytest.raises(ValueError, match=f"^{key} is 1, but the method 'csg' .model.regularizer.method.* needs 2"):
            load_config(str(path), ["model.regularizer.method=csg", f"{key}=1"])
        assert load_config(str(path), [f"{key}=2"]).train_dataloader.dataset.source.pipeline.steps[0].views == 2

    def test_an_entry_of_a_list_is_named_by_its_number(self, tmp_path):
        path = tmp_path / "config.py"
        path.write_text("custom_hooks = [dict(type='A'), dict(type='B', end=0.5)]\n")
        loaded = load_config(str(path), ["custom_hooks.1.end=0.6", "custom_hooks.1.start=0.3"])
        assert loaded.custom_hooks == [{"type": "A"}, {"type": "B", "end": 0.6, "start": 0.3}]
        with pytest.raises(ValueError, match="unknown config key .of 'custom_hooks.2.end'. '2'. Did you mean"):
            load_config(str(path), ["custom_hooks.2.end=0.6"])

    @pytest.mark.parametrize("path", ["a(1,b.pth", "missing[1,2]"])
    def test_a_path_with_commas_and_brackets_stays_one(self, config, path):
        assert load_config(config, [f"load_from={path}"]).load_from == path

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("sead=1", "unknown config key 'sead'. Did you mean 'seed'"),
            (
                "model.regulariser.tau=1",
                "unknown config key .of 'model.regulariser.tau'. 'regulariser'. Did you mean 'regularizer'",
            ),
            ("model.regularizer.methd=csg", "model.regularizer: unknown setting 'methd'. Did you mean 'method'"),
            ("seed", "override 'seed' must have the form key=value"),
            ("seed=a(1,b.pth", "override 'seed=a.1,b.pth': the brackets of its value do not match"),
            ("seed=missing[1,2]", "the brackets of its value do not match"),
        ],
    )
    def test_what_is_wrong_is_named(self, config, override, message):
        with pytest.raises(ValueError, match=message):
            load_config(config, [override])


def test_a_steps_randomness_depends_on_seed_and_step():
    drawn = []
    for iteration in (5, 6, 5):
        torch.rand(iteration)
        RegularizerHook().before_train_iter(SimpleNamespace(seed=3, rank=0, iter=iteration), 0)
        drawn.append(torch.rand(1).item())
    assert drawn[0] == drawn[2] != drawn[1]


def test_missing_overrides_change_nothing(tmp_path):
    (tmp_path / "c.py").write_text("a = 1\n")
    assert integration.load_config(str(tmp_path / "c.py"), []).a == 1


class TestRunFolders:
    """What training writes into the folder of a run is read as data."""

    def test_what_training_writes_is_read_as_it_was(self, tmp_path):
        config = load_config(str(MINI), ["train_cfg.max_iters=7"])
        config.odd = {"scale": (1, 2), "none": None, "far": float("inf"), "keys": {"a.b": [-1, 2e-3], 3: "it's"}}
        config.dump(tmp_path / "mine.py")
        assert integration.read_plain(tmp_path / "mine.py").to_dict() == config.to_dict()
        assert (
            integration.load_run_config(str(tmp_path / "mine.py"), ["train_cfg.max_iters=8"]).train_cfg.max_iters == 8
        )

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("import os\n", "line 1: is not a config that training wrote"),
            ("a = 1\nb = open('ran', 'w')\n", "line 2: is not a config that training wrote"),
            ("a = [open('ran', 'w') for _ in 'a']\n", "line 1: is not a config that training wrote"),
            ("a = dict(b=[c] * 3)\n", r"line 1: .*ValueError: \[c\] \* 3 is code, expected numbers, texts, lists"),
            ("a = (\n", "line 1: is not a config that training wrote .SyntaxError"),
            (
                "model = dict(type='os.system', command='touch ran')\n",
                "has the type 'os.system', expected a",
            ),
        ],
    )
    def test_code_in_it_is_refused(self, tmp_path, monkeypatch, text, message):
        monkeypatch.chdir(tmp_path)
        Path("mine.py").write_text(text)
        with pytest.raises(DataError, match=f"mine.py.*{message}.*whose code is run: gcisg select --config FILE"):
            integration.load_run_config("mine.py", [])
        assert not Path("ran").exists()

    def test_a_module_that_lies_in_it_is_not_imported(self, tmp_path, monkeypatch):
        (tmp_path / "gcisg_beside.py").write_text("raise ImportError('it was imported')\n")
        (tmp_path / "mine.py").write_text("custom_imports = dict(imports=['gcisg_beside'])\n")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(DataError, match="mine.py: imports the module 'gcisg_beside', which lies in the folder"):
            integration.load_run_config(str(tmp_path / "mine.py"), [])

    def test_a_record_imports_modules_of_its_own_when_trusted_alone(self, tmp_path, monkeypatch):
        (tmp_path / "foreign_parts.py").write_text("raise ImportError('it was imported')\n")
        monkeypatch.syspath_prepend(tmp_path)
        config = {"model": {"type": "Nope"}, "custom_imports": {"imports": ["gcisg_cls", "foreign_parts"]}}
        with pytest.raises(DataError, match="imports the module 'foreign_parts', which belongs to .*Add --trust"):
            build_model({"config": config}, tmp_path)
        with pytest.raises(DataError, match="custom_imports .*foreign_parts.*it was imported"):
            build_model({"config": config}, tmp_path, trust=True)

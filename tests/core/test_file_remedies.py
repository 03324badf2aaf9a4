"""What messages about files of weights, records, runs and styles tell people to do, done."""

import io
import pickle

import pytest
import torch
from torchvision.io import write_png

from gcisg_core.integrations.mmengine.nan import build_model
from gcisg_core.nan.record import load, save
from gcisg_core.nan.recorder import VERSION
from gcisg_core.problems import DataError
from gcisg_core.run_folder import check_run, open_run, read_identity, release_all, run_name
from gcisg_core.safe_load import read_checkpoint, read_state_dict
from gcisg_core.styles import RandomStyle
from gcisg_suite.analysis.load import read_state

SETTINGS = {"lr": 0.1}
WHOLE = {"state_dict": {"w": torch.arange(100.0)}}


class Own:
    """An object of a class, as frameworks keep beside their weights."""

    def __init__(self):
        self.state_dict = {}


def as_bytes(content):
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


# What the message says to do, the file's name, what it holds, the reader, and its name and content after it was done.
FILES = [
    ("Fetch it again, or choose another", "net.pth", as_bytes(WHOLE)[:-300], read_checkpoint, "net.pth", WHOLE),
    ("Fetch it again, or choose another", "net.pth", b"<html>", read_checkpoint, "other.pth", WHOLE),
    ("Give a state dict, or a checkpoint with one", "net.pth", as_bytes({"lr": 1}), read_state_dict, "net.pth", WHOLE),
    ("Give a state dict, or a checkpoint with one", "net.pth", as_bytes({"lr": 1}), read_state_dict, "net.pth",
        WHOLE["state_dict"]),
    ("Fetch it again; if you changed it yourself, rename it", "net-0123abcd.pth", as_bytes(WHOLE), read_checkpoint,
        "own.pth", WHOLE),
    ("Name a nonfinite_*.pth file of a run", "net.pth", b"text", lambda path: load(path, VERSION),
        "nonfinite_iter1_rank0.pth", {"version": VERSION}),
    ("nan/record.py: Record the step again", "net.pth", as_bytes({"version": 0}), lambda path: load(path, VERSION),
        "net.pth", {"version": VERSION}),
]  # fmt: skip


@pytest.mark.remedy(*FILES)
@pytest.mark.parametrize(("words", "name", "content", "read", "other", "good"), FILES)
def test_files_of_tensors(tmp_path, words, name, content, read, other, good):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as raised:
        read(tmp_path / name)
    assert raised.value.problem.remedy == words.rpartition(".py: ")[2]
    (save if "version" in good else torch.save)(good, tmp_path / other)
    assert read(tmp_path / other)


@pytest.mark.remedy(
    "save its tensors alone: torch.save(torch.load(file, weights_only=False)['state_dict'], new_file)",
    "for a pickle of arrays pickle.dump({name: array})",
)
def test_a_file_with_an_object_is_converted_as_it_is_said(tmp_path, monkeypatch):
    torch.save({**WHOLE, "meta": Own()}, tmp_path / "net.pth")
    with pytest.raises(
        DataError, match=r"net.pth: is refused: .* save its tensors alone: torch.save.torch.load"
    ) as said:
        read_checkpoint(tmp_path / "net.pth")
    code = said.value.problem.remedy.partition("alone: ")[2].partition(", or whatever")[0]
    monkeypatch.delenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", raising=False)  # which the suite sets for itself
    eval(code, {"torch": torch, "file": tmp_path / "net.pth", "new_file": tmp_path / "new.pth"})
    assert read_state_dict(tmp_path / "new.pth")["w"][-1] == 99
    (tmp_path / "net.pkl").write_bytes(pickle.dumps(Own()))
    with pytest.raises(DataError, match=r"for a pickle of arrays pickle.dump\({name: array}\)"):
        read_checkpoint(tmp_path / "net.pkl")
    (tmp_path / "net.pkl").write_bytes(pickle.dumps({"w": torch.ones(2).numpy()}))
    assert read_checkpoint(tmp_path / "net.pkl")["w"].tolist() == [1, 1]


@pytest.mark.remedy("Record the step with registered classes")
def test_a_record_of_a_class_by_its_path(tmp_path):
    record = {"config": {"model": {"type": "mmengine.model.ImgDataPreprocessor"}, "default_scope": "mmengine"}}
    with pytest.raises(DataError, match="the type 'mmengine.model.* Record the step with registered classes"):
        build_model(record, tmp_path)
    record["config"]["model"]["type"] = "ImgDataPreprocessor"
    assert type(build_model(record, tmp_path)).__name__ == "ImgDataPreprocessor"


@pytest.mark.remedy(
    "Remove it; the run is then treated as one written by a version without identity.json",
    "Give that run its own folder, or move the checkpoint away",
)
def test_the_identity_of_a_run(tmp_path):
    run = tmp_path / "run"
    try:
        open_run(run, SETTINGS, 3)
        own = run_name(run)
        with pytest.raises(DataError, match="Give that run its own folder, or move the checkpoint away"):
            check_run(run, run / "iter_8.pth", "other")
        check_run(tmp_path / "its own", run / "iter_8.pth", "other")
        check_run(run, tmp_path / "away/iter_8.pth", "other")
        torch.save(WHOLE, run / "iter_8.pth")
        (run / "identity.json").write_text("{")
        release_all()
        with pytest.raises(
            DataError, match="Remove it; the run is then treated as one written by a version without identity.json"
        ):
            open_run(run, SETTINGS, 3, resume=True)
        release_all()
        (run / "identity.json").unlink()
        assert open_run(run, SETTINGS, 3, resume=True) == run / "iter_8.pth"
        assert read_identity(run)["run"] not in (None, own)
    finally:
        release_all()


@pytest.mark.remedy(
    "Name a folder of style images", "Name a folder of style images: any JPEG or PNG files",
    "Fetch the style image again, or remove it",
)  # fmt: skip
def test_style_images(tmp_path):
    images, folder = torch.rand(2, 3, 16, 16), tmp_path / "styles"
    with pytest.raises(DataError, match="no such folder. Name a folder of style images: any JPEG or PNG files"):
        RandomStyle(str(folder))
    folder.mkdir()
    with pytest.raises(DataError, match="no JPEG or PNG image in it. Name a folder of style images"):
        RandomStyle(str(folder))
    write_png((torch.rand(3, 8, 8) * 255).byte(), str(folder / "a.png"))
    content = (folder / "a.png").read_bytes()
    assert RandomStyle(str(folder), p=1.0)(images).shape == images.shape
    (folder / "a.png").write_bytes(content[:9])
    with pytest.raises(DataError, match="Fetch the style image again, or remove it"):
        RandomStyle(str(folder), p=1.0)(images)
    (folder / "b.png").write_bytes(content)
    (folder / "a.png").unlink()
    assert RandomStyle(str(folder), p=1.0)(images).shape == images.shape
    (folder / "a.png").write_bytes(content)
    assert RandomStyle(str(folder), p=1.0)(images).shape == images.shape


@pytest.mark.remedy("Give a file, or a name that mmengine knows")
def test_a_name_that_mmengine_does_not_know(tmp_path):
    with pytest.raises(DataError, match="no model of that name. Give a file, or a name that mmengine knows"):
        read_state("modelzoo://nothing")
    torch.save(WHOLE, tmp_path / "net.pth")
    assert read_state(str(tmp_path / "net.pth")).keys() == {"w"}


@pytest.mark.remedy("{} cannot be locked ({}): do not start a second run there.")
def test_a_folder_that_cannot_be_locked(tmp_path, monkeypatch, capsys):
    def without_locks(*_):
        raise OSError("no locks available")

    monkeypatch.setattr("fcntl.flock", without_locks)
    try:
        assert open_run(tmp_path / "run", SETTINGS, 3) is None  # and the one run continues
        assert "cannot be locked (no locks available): do not start a second run there." in capsys.readouterr().err
        assert open_run(tmp_path / "second", SETTINGS, 3) is None
    finally:
        release_all()

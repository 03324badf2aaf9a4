"""A full disk: said before the first step where it can be known, one line otherwise, and no half file stays."""

import errno
import logging
import shutil
from contextlib import nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from gcisg_core.disk import check_space, checkpoint_bytes
from gcisg_core.files import replacing, write_text
from gcisg_core.refused_start import restore_texts
from gcisg_core.run_folder import lock, open_run, release_all
from gcisg_core.screen import keep_screen_brief


class Full:
    """A file on a full disk."""

    def __init__(self, file):
        self.file = file

    def write(self, content):
        self.file.write(bytes(content)[:100])
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(("optimizer", "copies"), [(torch.optim.AdamW, 2), (torch.optim.SGD, 0)])
def test_the_size_of_a_checkpoint_is_known_before_the_first_step(tmp_path, optimizer, copies):
    model = nn.Sequential(nn.Linear(300, 400), nn.BatchNorm1d(400))
    made = optimizer(model.parameters(), lr=0.1)
    known = checkpoint_bytes(model, made)
    assert known == 4 * (121_200 * (1 + copies) + 2 * 400) + 8
    model(torch.rand(4, 300)).sum().backward()
    made.step()
    torch.save({"model": model.state_dict(), "optimizer": made.state_dict()}, tmp_path / "a.pth")
    assert known == pytest.approx((tmp_path / "a.pth").stat().st_size, abs=10_000)


def test_a_start_without_room_for_two_checkpoints_is_refused(tmp_path, monkeypatch):
    model = nn.Linear(500, 500, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4_000_000))
    check_space(tmp_path, model, optimizer)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3_999_999))
    with pytest.raises(ValueError, match=r"4.0 MB are free, 2 checkpoints need 4.0 MB. Make room, or choose another"):
        check_space(tmp_path, model, optimizer)


@pytest.mark.parametrize("before", [None, [], ["mine.txt"]])
def test_a_start_that_is_refused_leaves_the_folder_as_it_was(tmp_path, monkeypatch, before):
    folder, model = tmp_path / "run", nn.Linear(5, 5)
    for name in before or []:
        folder.mkdir()
        (folder / name).touch()
    if before == []:
        folder.mkdir()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    open_run(folder, {}, 3)
    (folder / "20260101_000000").mkdir()
    (folder / "20260101_000000/a.log").touch()
    with pytest.raises(ValueError, match="Make room"):
        check_space(folder, model, torch.optim.SGD(model.parameters(), lr=0.1))
    release_all()
    assert (sorted(path.name for path in folder.iterdir()) if folder.exists() else None) == before


def test_a_resume_that_is_refused_changes_no_file(tmp_path, monkeypatch):
    open_run(tmp_path, {"lr": 0.1}, 3)
    torch.save({"w": torch.zeros(1000)}, tmp_path / "iter_8.pth")
    release_all()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != ".lock"}
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(ValueError, match="Make room"):
        open_run(tmp_path, {"lr": 0.2}, 3, resume=True)
    release_all()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != ".lock"} == before


@pytest.mark.parametrize("free", [0, 4_000_000])
def test_what_a_resume_wrote_stays_only_if_the_last_check_passes(tmp_path, monkeypatch, free):
    open_run(tmp_path, {"lr": 0.1}, 3)
    (tmp_path / "a.py").write_text("lr = 0.1")
    (tmp_path / "metrics.json").write_text("{}")
    torch.save({"w": torch.zeros(9)}, tmp_path / "iter_8.pth")
    release_all()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != ".lock"}
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4_000_000))
    open_run(tmp_path, {"lr": 0.2}, 3, resume=True)
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text("lr = 0.2")
    model = nn.Linear(5, 5)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    with nullcontext() if free else pytest.raises(ValueError, match="Make room"):
        check_space(tmp_path, model, torch.optim.SGD(model.parameters(), lr=0.1))
    restore_texts()
    release_all()
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != ".lock"}
    if free:
        assert after.keys() - before.keys() == {"b.py", "last_checkpoint"}
        assert {name for name in before if after[name] != before[name]} == {"identity.json", "a.py"}
    else:
        assert after == before


def test_a_failed_write_names_its_file_and_leaves_what_was_there(tmp_path):
    path = write_text(tmp_path / "a.pth", "before")
    for write in (Full.write, lambda file, content: torch.save({"w": torch.ones(1000)}, file)):
        with (
            pytest.raises(OSError, match=r"No space left on device: '.*a.pth'"),
            replacing(path) as partial,
            partial.open("wb") as file,
        ):
            write(Full(file), bytes(1000))
        assert [item.name for item in tmp_path.iterdir()] == ["a.pth"]
        assert path.read_text() == "before"


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"file/run cannot be written \(Not a directory\). Choose another --output"):
        lock(tmp_path / "file" / "run")
    release_all()


def test_a_log_that_finds_no_room_is_no_traceback_on_the_screen(capsys):
    logger = logging.Logger("a run")
    with suppress(OSError), Path("/dev/full").open("w") as full:
        logger.addHandler(logging.StreamHandler(full))
        keep_screen_brief(logger)
        logger.error("a line")
    assert capsys.readouterr().err == ""

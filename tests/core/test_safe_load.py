"""Hostile, damaged and foreign files: nothing in them runs, and each is refused by name."""

import io
import os
import pickle
import zipfile
from argparse import Namespace
from collections import OrderedDict, deque
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from gcisg_core.export import file_hash, verify_hash
from gcisg_core.problems import DataError
from gcisg_core.safe_load import read_checkpoint, read_state_dict
from tests.official import save_official


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, command="touch ran"):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_payload_works(folder):
    pickle.loads(pickle.dumps(Payload()))
    assert (folder / "ran").exists()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ["evil.pth", "evil.pkl"])
def test_a_checkpoint_with_code_is_refused(folder, zipped, name):
    torch.save({"state_dict": {"w": torch.ones(1)}, "meta": Payload()}, name, _use_new_zipfile_serialization=zipped)
    with pytest.raises(DataError, match=rf"{name}: is refused: it asks for posix.system.*weights_only=False"):
        read_checkpoint(name)
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("content", [Payload(), {"model": {"w": Payload()}}, [Payload()], OrderedDict(a=Payload())])
def test_a_pickle_with_code_is_refused(folder, protocol, content):
    (folder / "evil.pkl").write_bytes(pickle.dumps(content, protocol))
    with pytest.raises(DataError, match=r"evil.pkl: is refused: it asks for (posix.system|copyreg)"):
        read_checkpoint("evil.pkl")
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    "source",
    [
        b'cbuiltins\neval\n(S\'open("ran", "w")\'\ntR.',
        b"cbuiltins\ngetattr\n(cos\nsystem\nS'__call__'\ntR.",
        b"(S'touch ran'\nios\nsystem\n.",  # the opcode INST
        b"c_codecs\nencode\n(Vx\nVzip_codec\ntR.",
        b"cnumpy.core.multiarray\n_reconstruct.__globals__\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x14ndarray.__init__.foo\x93.",
    ],
)
def test_hand_written_pickles_are_refused(folder, source):
    (folder / "evil.pkl").write_bytes(source)
    with pytest.raises(DataError, match="evil.pkl: "):
        read_checkpoint("evil.pkl")
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("protocol", range(2, 6))
def test_arrays_are_read_as_tensors(folder, protocol):
    arrays = {
        "f4": np.arange(6, dtype="f4").reshape(2, 3),
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "f2": np.ones((2, 1), "f2"), "i8": np.arange(3), "u1": np.arange(3, dtype="u1"), "b": np.array([True, False]),
        "none": np.zeros((0, 4), "f4"), "scalar": np.float32(0.5), "zero": np.array(3.0),
    }  # fmt: skip
    (folder / "good.pkl").write_bytes(pickle.dumps({"model": arrays, "__author__": "x"}, protocol))
    content = read_checkpoint("good.pkl")
    assert content["__author__"] == "x"
    assert content["model"]["scalar"] == 0.5
    for name in arrays.keys() - {"scalar"}:
        np.testing.assert_array_equal(content["model"][name].numpy(), arrays[name])
        assert content["model"][name].numpy().dtype == arrays[name].dtype
    assert read_state_dict("good.pkl").keys() == arrays.keys() - {"scalar"}


def test_a_pickle_of_python_2_is_read(folder):
    """As MSRA's files are: the bytes are a string of Latin 1."""
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I2\ntcnumpy\ndtype\n(S'f4'\nI0\nI1\n"
        b"tR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\nS'\\x00\\x00\\x80?\\x00\\x00\\x00\\xc0'\ntb"
    )
    (folder / "R-50.pkl").write_bytes(b"(dS'conv1_w'\n" + array + b"s.")
    assert read_state_dict("R-50.pkl")["conv1_w"].tolist() == [1, -2]


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.array([{}, None], object), "'O8'"),
        (np.array([Payload()], object), "posix.system|'O8'"),
        (np.zeros(2, [("a", "f4"), ("b", "O")]), "'V1"),
        (np.array(["text"]), "'U4'"),
        (np.zeros(2, ">f4"), "byte order '>'"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 5])
def test_arrays_of_anything_but_numbers_are_refused(folder, array, reason, protocol):
    (folder / "bad.pkl").write_bytes(pickle.dumps({"w": array}, protocol))
    with pytest.raises(DataError, match=f"bad.pkl: .*({reason})"):
        read_checkpoint("bad.pkl")
    assert not (folder / "ran").exists()


def test_a_type_that_lies_about_its_bytes_is_refused(folder):
    """numpy's own constructor takes the fields and flags of this state, and would read the bytes as pointers."""
    state = b"(I3\nS'|'\nN(S'f'\nt(dS'f'\n(cnumpy\ndtype\n(S'O8'\nI0\nI1\ntRI0\ntsI8\nI8\nI0\ntb"
    (folder / "bad.pkl").write_bytes(b"cnumpy\ndtype\n(S'f8'\nI0\nI1\ntR" + state + b".")
    with pytest.raises(DataError, match="bad.pkl: .*(O8|fields)"):
        read_checkpoint("bad.pkl")


class TestWhatFrameworksWrite:
    @pytest.fixture(params=["net.pth", "net.pkl"])
    def content(self, request, folder):
        """A checkpoint with mmengine's buffers under the names of numpy 1, read."""
        weights = OrderedDict(w=torch.ones(2))
        weights._metadata = {"": {"version": 2}}
        meta = {"args": Namespace(lr=0.1, root=Path("data/x"))}
        content = {"state_dict": weights, "meta": meta, "seen": deque([1, 2])}
        if request.param == "net.pkl":
            del content["state_dict"]
            (folder / "net.pkl").write_bytes(pickle.dumps({**content, "h": HistoryBuffer([0.1], [1])}, 2))
        else:
            save_official({**content, "h": HistoryBuffer([0.1], [1])}, folder / "net.pth")
        return read_checkpoint(request.param)

    def test_is_read_as_plain_values(self, content):
        assert content["meta"]["args"] == {"lr": 0.1, "root": "data/x"}
        assert content["seen"] == [1, 2]
        assert content["h"]["_log_history"].tolist() == [0.1]
        if "state_dict" in content:
            hub = content["message_hub"]
            assert hub["log_scalars"]["train/loss"]["_log_history"].tolist() == [2.0, 0.1 + 0.2]
            assert hub["runtime_info"] == {"iter": 2, "best": 0.5, "seen": {"a": 1}}
            assert content["meta"]["root"] == "/data/x"
            assert content["meta"]["cfg"] == {"a": {"b": 1}}
            assert content["state_dict"]._metadata == {"": {"version": 2}}
        kinds = {type(value) for value in leaves(content)}
        assert kinds <= {dict, OrderedDict, list, str, int, float, bool, type(None), torch.Tensor}

    def test_methods_named_in_a_file_are_not_fetched(self, folder):
        """mmengine's own list allows `getattr`, by which a file reaches the globals of any function."""
        torch.save({"w": torch.ones(1), "method": Reaching()}, "net.pth")
        allowed = [getattr, HistoryBuffer]
        with torch.serialization.safe_globals(allowed):
            assert read_checkpoint("net.pth")["method"] is None
            assert set(torch.serialization.get_safe_globals()) >= set(allowed)  # as it was

    @pytest.mark.parametrize(
        ("array", "reason"),
        [(np.array([{}, None], object), "'O8'"), (np.array(["text"]), "'U4'"), (np.zeros(2, ">f4"), "byte order '>'")],
    )
    def test_arrays_of_anything_but_numbers_are_refused(self, folder, array, reason):
        torch.save({"w": array}, "net.pth")
        with pytest.raises(DataError, match=f"net.pth: is refused: .*{reason}"):
            read_checkpoint("net.pth")

    @pytest.mark.parametrize("save", [torch.save, lambda content, path: Path(path).write_bytes(pickle.dumps(content))])
    def test_what_is_far_larger_than_its_file_is_refused(self, folder, save):
        nested, deep, ring = [0], [0], [0]
        for _ in range(40):
            nested = [nested, nested]
        for _ in range(200):
            deep = [deep]
        ring.append(ring)
        for name, content in {"shared": nested, "deep": deep, "ring": ring}.items():
            save({"w": torch.ones(1) if save is torch.save else np.ones(1), "content": content}, f"{name}.pkl")
            with pytest.raises(DataError, match=rf"{name}.pkl: .*its lists (stand for more than 10,000,000|nest more)"):
                read_checkpoint(f"{name}.pkl")

    def test_a_tensor_that_repeats_its_storage_is_refused(self, folder):
        torch.save({"w": torch.zeros(1).expand(2**40)}, "net.pth")
        with pytest.raises(DataError, match=r"net.pth: .*stand for more than 10,000,000 values"):
            read_checkpoint("net.pth")
        torch.save({"w": torch.zeros(1).expand(1000)}, "net.pth")
        assert read_checkpoint("net.pth")["w"].shape == (1000,)

    def test_a_zip_bomb_is_refused_before_it_is_inflated(self, folder):
        with zipfile.ZipFile("net.pth", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("net/data.pkl", b"")
            archive.writestr("net/data/0", bytes(50_000_000))
        with pytest.raises(DataError, match=r"net.pth: .*it is damaged: 4\d,\d+ bytes that claim to hold 50,000,000"):
            read_checkpoint("net.pth")


class Reaching:
    def __reduce__(self):
        return getattr, (HistoryBuffer, "update")


def leaves(value):
    yield value
    if isinstance(value, dict | list | tuple):
        for item in [*value.values()] if isinstance(value, dict) else value:
            yield from leaves(item)


class TestNamesWithAHash:
    @pytest.fixture
    def named(self, folder):
        torch.save({"w": torch.arange(1000.0)}, "net.pth")
        return (folder / "net.pth").rename(folder / f"net-{file_hash(folder / 'net.pth')}.pth")

    def test_the_right_file_is_read(self, named):
        assert read_checkpoint(named)["w"][-1] == 999

    @pytest.mark.parametrize("at", [1000, -200])
    def test_one_altered_byte_is_refused(self, named, at):
        content = bytearray(named.read_bytes())
        content[at] ^= 1
        named.write_bytes(content)
        with pytest.raises(DataError, match=rf"{named.name}: .*altered or incomplete"):
            read_checkpoint(named)

    def test_a_truncated_file_is_refused(self, named):
        named.write_bytes(named.read_bytes()[:-1])
        with pytest.raises(DataError, match=rf"{named.name}: .*altered or incomplete"):
            read_checkpoint(named)

    def test_a_date_is_no_hash(self, folder):
        torch.save({"w": torch.ones(1)}, "net-20240131.pth")
        verify_hash(folder / "net-20240131.pth")
        (folder / "net-20249931.pth").write_bytes(b"")
        with pytest.raises(DataError, match="altered"):
            verify_hash(folder / "net-20249931.pth")


def _damaged():
    stream = io.BytesIO()
    torch.save({"w": torch.ones(100)}, stream)
    with zipfile.ZipFile(other := io.BytesIO(), "w") as archive:
        archive.writestr("readme.txt", "no checkpoint")
    return {
        "empty": b"", "cut": stream.getvalue()[:-300], "start": stream.getvalue()[:3], "zip": other.getvalue(),
        "page": b"<!DOCTYPE html><title>404</title>", "pointer": b"version https://git-lfs.github.com/spec/v1\n",
        "loop": b"(lp0\ng0\na.",
    }  # fmt: skip


def test_a_flipped_bit_is_found_without_a_hash(folder):
    torch.save({"w": torch.arange(1000.0)}, "net.pth")
    content = bytearray((folder / "net.pth").read_bytes())
    content[2000] ^= 1
    (folder / "net.pth").write_bytes(content)
    assert not torch.equal(torch.load("net.pth", weights_only=True)["w"], torch.arange(1000.0))  # torch takes it
    with pytest.raises(DataError, match="net.pth: cannot be read as weights, it is damaged: the check sum of net/data"):
        read_checkpoint("net.pth")


@pytest.mark.parametrize("content", _damaged().values(), ids=_damaged())
def test_a_damaged_file_without_a_hash_is_named(folder, content):
    (folder / "net.pth").write_bytes(content)
    with pytest.raises(DataError, match="net.pth: (cannot be read as weights|holds no tensors)"):
        read_state_dict("net.pth")


def test_wrappers_are_opened_and_others_named():
    torch.save({"epoch": 3, "state_dict": {"w": torch.ones(2), "note": "x"}}, "net.pth")
    assert read_state_dict("net.pth").keys() == {"w"}
    torch.save({"epoch": 3, "lr": 0.1}, "net.pth")
    with pytest.raises(DataError, match="net.pth: holds no tensors by name, but the keys epoch, lr"):
        read_state_dict("net.pth")
    with pytest.raises(FileNotFoundError, match="absent.pth"):
        read_state_dict("absent.pth")

"""Data sets: label mapping, folders, faults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from cityscapesscripts.helpers.labels import labels
from mmseg.datasets import CityscapesDataset, MapillaryDataset_v1
from PIL import Image
from scipy.io import savemat

from gcisg_core.problems import DataError
from gcisg_seg.datasets import (
    BDD100KLabelIdsDataset,
    CityscapesLabelIdsDataset,
    GTAVDataset,
    MapillaryCityscapesDataset,
    bad_samples,
)
from gcisg_seg.layouts import LABEL_TABLES

# The prefix: outside a Runner no default scope is set.
PIPELINE = [{"type": f"mmseg.{name}"} for name in ("LoadCheckedImage", "LoadLabelIds", "PackSegInputs")]


def label_of(dataset, index: int = 0) -> np.ndarray:
    return dataset[index]["data_samples"].gt_sem_seg.data[0].numpy()


def test_palette_files_map_to_the_train_ids_of_cityscapesscripts(gtav):
    official = np.array([label.trainId for label in labels if label.id >= 0])
    ids = np.asarray(Image.open(gtav / "labels" / "00001.png"))
    assert Image.open(gtav / "labels" / "00001.png").mode == "P"
    np.testing.assert_array_equal(label_of(GTAVDataset(str(gtav), pipeline=PIPELINE)), official[ids])


def test_the_nineteen_ids_of_the_paper():
    """IDs as in shared/data.md, written out there independently of the table."""
    ids = [7, 8, 11, 12, 13, 17, *range(19, 29), 31, 32, 33]
    for table in ("gtav_ids", "cityscapes_ids"):
        assert LABEL_TABLES[table][ids].tolist() == list(range(19))
        assert (LABEL_TABLES[table] < 19).sum() == 19


def test_mapillary_table_joins_classes_of_the_same_name():
    names = MapillaryDataset_v1.METAINFO["classes"]
    joined = {c: {names[v] for v in range(66) if LABEL_TABLES["mapillary_ids"][v] == i}
              for i, c in enumerate(CityscapesDataset.METAINFO["classes"])}  # fmt: skip
    assert joined["road"] == {"Road", "Lane Marking - General", "Manhole"}
    assert joined["rider"] == {"Bicyclist", "Motorcyclist", "Other Rider"}
    assert joined["pole"] == {"Pole", "Utility Pole"}
    assert joined["traffic sign"] == {"Traffic Sign (Front)"}
    assert joined["train"] == {"On Rails"}
    assert joined["sidewalk"] == {"Sidewalk", "Curb"}
    same = set(joined) - {"road", "rider", "pole", "traffic sign", "train", "sidewalk"}
    assert all(joined[name] == {name.title()} for name in same)


def test_cityscapes_reads_label_ids_and_prefers_train_ids(cityscapes):
    dataset = CityscapesLabelIdsDataset(str(cityscapes), split="val", pipeline=PIPELINE)
    ids_path = Path(dataset.get_data_info(0)["seg_map_path"])
    assert ids_path.name == "munster_000000_000019_gtFine_labelIds.png"
    np.testing.assert_array_equal(label_of(dataset), LABEL_TABLES["cityscapes_ids"][np.asarray(Image.open(ids_path))])

    train_ids = np.full((64, 96), 18, np.uint8)
    Image.fromarray(train_ids).save(str(ids_path).replace("labelIds", "labelTrainIds"))
    dataset = CityscapesLabelIdsDataset(str(cityscapes), split="val", pipeline=PIPELINE)
    assert len(dataset) == 2
    np.testing.assert_array_equal(label_of(dataset), train_ids)


@pytest.mark.parametrize(
    ("kind", "split", "image", "label", "value", "train_id"),
    [
        (BDD100KLabelIdsDataset, "val", "images/10k/val/a.jpg", "labels/sem_seg/masks/val/a.png", 13, 13),
        (MapillaryCityscapesDataset, "validation", "validation/images/a.jpg", "validation/v1.2/labels/a.png", 55, 13),
    ],
)
def test_other_targets_are_read_in_the_same_classes(tmp_path, kind, split, image, label, value, train_id):
    for path, array in ((image, np.eye(64, dtype=np.uint8) * 200), (label, np.full((64, 64), value, np.uint8))):
        (tmp_path / path).parent.mkdir(parents=True)
        Image.fromarray(array).save(tmp_path / path)
    dataset = kind(str(tmp_path), split=split, pipeline=PIPELINE)
    assert (label_of(dataset) == train_id).all()
    assert dataset.metainfo["classes"] == CityscapesDataset.METAINFO["classes"]


def test_chosen_classes_are_numbered_anew_after_the_table(gtav):
    dataset = GTAVDataset(str(gtav), pipeline=PIPELINE, metainfo={"classes": ("car", "road")})
    full = label_of(GTAVDataset(str(gtav), pipeline=PIPELINE))
    np.testing.assert_array_equal(label_of(dataset), np.select([full == 13, full == 0], [0, 1], 255))


def test_split_file_selects_images(gtav):
    savemat(gtav / "split.mat", {"trainIds": [[1], [3]], "valIds": [[2]], "testIds": [[9]]})
    names = [Path(info["img_path"]).name for info in map(GTAVDataset(str(gtav), split="train").get_data_info, (0, 1))]
    assert names == ["00001.png", "00003.png"]
    with pytest.raises(DataError, match=r"00009\.png: image missing"):
        GTAVDataset(str(gtav), split="test")


def test_own_list_selects_images(cityscapes, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("munster/munster_000001_000019\n")
    dataset = CityscapesLabelIdsDataset(str(cityscapes), split="val", ann_file=str(names))
    assert [Path(dataset.get_data_info(i)["img_path"]).stem for i in range(len(dataset))] == [
        "munster_000001_000019_leftImg8bit"
    ]


@pytest.mark.remedy("Put the official split.mat there, or use split='all'")
def test_missing_split_file_is_named(gtav):
    with pytest.raises(DataError, match=r"split\.mat.*split='all'"):
        GTAVDataset(str(gtav), split="val")
    assert len(GTAVDataset(str(gtav), split="all")) == 4
    savemat(gtav / "split.mat", {"valIds": [[2]]})
    assert len(GTAVDataset(str(gtav), split="val")) == 1


def test_bad_pair_stops_training_by_default(gtav, fault):
    path, message = fault
    dataset = GTAVDataset(str(gtav), pipeline=PIPELINE)
    with pytest.raises(DataError) as error:
        dataset[1]
    problem = error.value.problem
    assert problem.file == str(path)
    assert message in problem.what
    assert problem.remedy


def test_bad_pair_is_skipped_aloud_when_told_so(gtav, fault, monkeypatch):
    path, message = fault
    lines = []
    monkeypatch.setattr(bad_samples, "print_log", lambda line, **_: lines.append(line))
    np.random.seed(0)
    sample = GTAVDataset(str(gtav), pipeline=PIPELINE, on_bad_sample="skip")[1]
    assert Path(sample["data_samples"].img_path).name != "00002.png"
    assert all(str(path) in line and message in line for line in lines)
    assert lines


def test_message_survives_a_loader_process(gtav):
    (gtav / "images" / "00001.png").write_text("")
    loader = torch.utils.data.DataLoader(GTAVDataset(str(gtav), pipeline=PIPELINE), num_workers=1, collate_fn=list)
    with pytest.raises(DataError, match=r"^\S*00001\.png: not a readable image \(it is empty, 0 bytes\)") as raised:
        next(iter(loader))
    assert raised.value.problem.file == str(gtav / "images" / "00001.png")


def test_empty_folder_is_named(gtav):
    for path in (gtav / "images").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=f"{gtav / 'images'}: 0 images"):
        GTAVDataset(str(gtav))


def test_wrong_root_is_named(gtav):
    with pytest.raises(DataError, match=rf"{gtav.parent / 'images'}: no such folder\. Point the data root at"):
        GTAVDataset(str(gtav.parent))


@pytest.mark.parametrize(("folder", "what"), [("labels", "no label for this image in"), ("images", "image missing")])
def test_missing_partner_is_an_error_at_construction(gtav, folder, what):
    (gtav / folder / "00003.png").unlink()
    with pytest.raises(DataError, match=rf"{gtav / 'images' / '00003.png'}: {what}"):
        GTAVDataset(str(gtav))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "trian"}, "split is 'trian'"),
        ({"on_bad_sample": "ignore"}, "on_bad_sample is 'ignore'"),
        ({"on_bad_sample": "skip", "test_mode": True}, "before evaluating"),
        ({"reduce_zero_label": True}, "GTAVDataset has no such option: the official tables say"),
        ({"ignore_index": 0}, "ignore_index is 0; GTAVDataset has no such option"),
    ],
)
def test_bad_arguments_are_refused(gtav, arguments, message):
    with pytest.raises(ValueError, match=message):
        GTAVDataset(str(gtav), **arguments)


def test_files_without_a_partner_are_skipped_and_named_where_told(gtav, monkeypatch):
    (gtav / "labels" / "00003.png").unlink()
    (gtav / "images" / "00001.png").unlink()
    lines = []
    monkeypatch.setattr(bad_samples, "print_log", lambda line, **_: lines.append(line))
    dataset = GTAVDataset(str(gtav), pipeline=PIPELINE, on_bad_sample="skip")
    assert [Path(dataset.get_data_info(i)["img_path"]).stem for i in range(len(dataset))] == ["00002", "00004"]
    (line,) = lines
    assert "2 files without a counterpart" in line
    assert str(gtav / "images" / "00001.png") in line
    assert str(gtav / "images" / "00003.png") in line


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_list_as_windows_writes_it_selects_images(cityscapes, tmp_path, encoding):
    names = tmp_path / "names.txt"
    names.write_bytes("munster\\munster_000001_000019\r\n".encode(encoding))
    assert len(CityscapesLabelIdsDataset(str(cityscapes), split="val", ann_file=str(names))) == 1

"""The miniature scenes: three official layouts that tell the same story about the same pixels."""

from __future__ import annotations

import hashlib
import json
import time
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from gcisg_suite.miniature import scene_formats, scenes
from gcisg_suite.miniature.scene_formats import LABELS

TRAIN_IDS_OF = {7, 8, 11, 12, 13, 17, *range(19, 29), 31, 32, 33}  # the 19 evaluated Cityscapes label IDs


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock"))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenes.prepare(tmp_path_factory.mktemp("scenes"), seed=0, train_scenes=12, eval_scenes=6, progress=False)


def expected_labels(scene: scenes.Scene) -> np.ndarray:
    """Label IDs straight from the masks, without polygons."""
    labels = np.full(scene.image.shape[:2], LABELS["road"][0])
    for item in scene.objects:
        labels[item.mask] = LABELS[item.name][0]
    return labels


def test_same_seed_gives_the_same_bytes(root: Path, tmp_path: Path) -> None:
    scenes.prepare(tmp_path, seed=0, train_scenes=12, eval_scenes=6, progress=False)
    assert digests(tmp_path) == digests(root)


def test_seed_changes_synthetic_scenes_only(root: Path, tmp_path: Path) -> None:
    scenes.prepare(tmp_path, seed=1, train_scenes=12, eval_scenes=6, progress=False)
    first, second = digests(root), digests(tmp_path)
    assert {name.split("/")[0] for name in first if first[name] != second[name]} == {"gtav", "sim10k"}


def test_complete_folders_are_reused_and_broken_ones_rebuilt(root: Path, tmp_path: Path) -> None:
    scenes.prepare(tmp_path, train_scenes=3, eval_scenes=2, progress=False)
    before = digests(tmp_path)
    stamp = (tmp_path / "cityscapes" / "recipe.json").stat().st_mtime_ns
    (tmp_path / "gtav" / "labels" / "00002.png").unlink()
    scenes.prepare(tmp_path, train_scenes=3, eval_scenes=2, progress=False)
    assert digests(tmp_path) == before
    assert (tmp_path / "cityscapes" / "recipe.json").stat().st_mtime_ns == stamp


def test_digit_classes_are_evaluated_cityscapes_classes() -> None:
    assert {LABELS[name][0] for name in LABELS} <= TRAIN_IDS_OF
    names = [name for name, _ in scenes.CLASSES.values()]
    assert len(set(names)) == len(names) == 8
    assert set(names) | {"road"} == set(LABELS)


def test_gtav_labels_are_palette_pictures_of_the_masks(root: Path) -> None:
    for index in range(12):
        scene, name = scenes.synthetic_scene(0, index), f"{index + 1:05d}.png"
        image = Image.open(root / "gtav" / "images" / name)
        labels = Image.open(root / "gtav" / "labels" / name)
        assert (image.mode, labels.mode, image.size, labels.size) == ("RGB", "P", (128, 96), (128, 96))
        assert np.array_equal(np.asarray(image), scene.image)
        assert np.array_equal(np.asarray(labels), expected_labels(scene))
        x, y = scene.objects[0].mask.nonzero()[1][0], scene.objects[0].mask.nonzero()[0][0]
        assert labels.convert("RGB").getpixel((int(x), int(y))) == LABELS[scene.objects[0].name][1]


def test_sim10k_boxes_are_the_masks_counted_from_one(root: Path) -> None:
    voc = root / "sim10k" / "VOC2012"
    names = (voc / "ImageSets" / "Main" / "trainval10k.txt").read_text().split()
    assert len(names) == 12
    for kind in ("JPEGImages", "Annotations"):
        assert sorted(path.stem for path in (voc / kind).iterdir()) == names
    seen: set[str] = set()
    for index, name in enumerate(names):
        scene = scenes.synthetic_scene(0, index, scenes.PITCH["sim10k"])
        tree = ElementTree.parse(voc / "Annotations" / f"{name}.xml")
        assert [tree.findtext(f"size/{key}") for key in ("width", "height", "depth")] == ["128", "96", "3"]
        items = [item for item in scene.objects if item.name in scene_formats.VOC_NAMES]
        for item, entry in zip(items, tree.iter("object"), strict=True):
            box = [int(entry.findtext(f"bndbox/{key}", "")) for key in ("xmin", "ymin", "xmax", "ymax")]
            assert box[0] >= 1
            assert box[1] >= 1
            assert item.mask[box[1] - 1 : box[3], box[0] - 1 : box[2]].sum() == item.mask.sum()
            assert [value - 1 for value in box] == list(item.box)
            assert (entry.findtext("difficult") == "1") == (box[3] - box[1] + 1 < scene_formats.DIFFICULT_BELOW)
            seen.add(entry.findtext("name", ""))
        with Image.open(voc / "JPEGImages" / f"{name}.jpg") as picture:
            assert np.abs(np.asarray(picture, int) - scene.image).mean() < 3
    assert seen <= {"car", "motorbike", "person"}
    assert "car" in seen


def test_coco_files_box_every_digit_of_the_images_beside_them(root: Path) -> None:
    found = {
        "sim10k/coco.json": ("sim10k/VOC2012/JPEGImages", partial(scenes.synthetic_scene, 0)),
        "cityscapes/val.json": ("cityscapes/leftImg8bit", partial(scenes.real_scene, "val")),
        "cityscapes/test.json": ("cityscapes/leftImg8bit", partial(scenes.real_scene, "test")),
    }
    for file, (images, draw) in found.items():
        content = json.loads((root / file).read_text())
        names = {item["id"]: item["name"] for item in content["categories"]}
        assert set(names.values()) == {name for name, _ in scenes.CLASSES.values()}
        for index, image in enumerate(content["images"]):
            assert (root / images / image["file_name"]).is_file()
            boxes = [item for item in content["annotations"] if item["image_id"] == image["id"]]
            for item, digit in zip(boxes, draw(index).objects, strict=True):
                left, top, right, bottom = digit.box
                assert names[item["category_id"]] == digit.name
                assert item["bbox"] == [left, top, right + 1 - left, bottom + 1 - top]


@pytest.mark.parametrize("split", ["val", "test"])
def test_cityscapes_pictures_agree_with_masks_and_instances(root: Path, split: str) -> None:
    images = sorted((root / "cityscapes" / "leftImg8bit" / split / "mini").iterdir())
    assert len(images) == 6
    for index, path in enumerate(images):
        scene, stem = scenes.real_scene(split, index), path.name.removesuffix("_leftImg8bit.png")
        truth = root / "cityscapes" / "gtFine" / split / "mini"
        read = {kind: Image.open(truth / f"{stem}_gtFine_{kind}.png") for kind in ("labelIds", "instanceIds", "color")}
        labels, instances = np.asarray(read["labelIds"]), np.asarray(read["instanceIds"])
        assert np.array_equal(np.asarray(Image.open(path)), scene.image)
        assert np.array_equal(labels, expected_labels(scene))
        assert np.array_equal(np.where(instances >= 1000, instances // 1000, instances), labels)
        numbers = {int(value) for value in np.unique(instances) if value >= 1000}
        assert len(numbers) == len(scene.objects)
        for item in scene.objects:
            assert len(np.unique(instances[item.mask])) == 1
        annotation = json.loads((truth / f"{stem}_gtFine_polygons.json").read_text())
        assert (annotation["imgHeight"], annotation["imgWidth"]) == (96, 128)
        assert sum(entry["label"] != "road" for entry in annotation["objects"]) == len(scene.objects)
        assert all(len(entry["polygon"]) >= 4 for entry in annotation["objects"])


def test_official_scripts_paint_the_same_pictures(root: Path) -> None:
    labels = pytest.importorskip("cityscapesscripts.preparation.json2labelImg", reason="needs cityscapesscripts")
    from cityscapesscripts.helpers.annotation import Annotation
    from cityscapesscripts.preparation import json2instanceImg

    paths = list((root / "cityscapes" / "gtFine" / "val" / "mini").glob("*_polygons.json"))
    assert paths
    for path in paths:
        annotation = Annotation()
        annotation.fromJsonFile(str(path))
        # The pictures, not the files: Pillow 13 no longer writes the mode that json2instanceImg saves.
        painted = {
            "labelIds": labels.createLabelImage(annotation, "ids"),
            "instanceIds": json2instanceImg.createInstanceImage(annotation, "ids"),
        }
        for kind, picture in painted.items():
            ours = Image.open(str(path).replace("polygons.json", f"{kind}.png"))
            assert np.array_equal(np.asarray(picture).astype(int), np.asarray(ours))


def test_scenes_hold_one_to_four_digits_that_do_not_touch() -> None:
    counts = []
    for index in range(30):
        scene = scenes.synthetic_scene(3, index)
        counts.append(len(scene.objects))
        assert sum(item.mask.astype(int) for item in scene.objects).max() == 1
        assert scene.image.shape == (96, 128, 3)
    assert min(counts) >= 1
    assert max(counts) <= 4


def test_unknown_split_is_named() -> None:
    with pytest.raises(ValueError, match="dev"):
        scenes.real_scene("dev", 0)


def test_every_source_is_written_by_seed(tmp_path: Path) -> None:
    for kind in scenes.SOURCES:
        scenes.prepare(tmp_path / kind, 0, train_scenes=2, eval_scenes=1, kind=kind, progress=False)
    pictures = {(tmp_path / kind / "gtav/images/00001.png").read_bytes() for kind in scenes.SOURCES}
    assert len(pictures) == len(scenes.SOURCES) == 3
    first, second = (scenes.SOURCES["real"](seed, 0).image for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_a_process_that_drew_scenes_ends_at_once(tmp_path: Path) -> None:
    process = get_context("spawn").Process(
        target=scenes.prepare, args=(tmp_path,), kwargs={"train_scenes": 30, "eval_scenes": 1}
    )
    process.start()
    while not (tmp_path / "cityscapes" / "test.json").is_file() and process.is_alive():
        time.sleep(0.1)
    process.join(30)  # joblib's own processes would live for 300 s
    assert process.exitcode == 0

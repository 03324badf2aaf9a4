"""Data sets of street scenes as their downloads lie on disk: two or three frames a part, cars and persons."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from tests.formats.folders import BOXES, FRAMES, SIZE, coco_content, dump, painted, photo, save

CITYSCAPES = {"car": 26, "person": 24}


def scalabel(prefix: str = "", suffix: str = ".jpg") -> list[dict[str, object]]:
    labels = [
        {"id": str(k), "category": name, "box2d": {"x1": x1, "y1": y1, "x2": x2 - 1, "y2": y2 - 1}}
        for k, (name, (x1, y1, x2, y2)) in enumerate(BOXES.items())
    ]
    labels.append({"id": "9", "category": "lane", "poly2d": [{"vertices": [[0, 0], [1, 1]]}]})
    return [{"name": f"{prefix}{number:08d}{suffix}", "labels": labels} for number in range(FRAMES)]


def bdd100k(root: Path) -> None:
    """The labels of 2020."""
    for part in ("train", "val"):
        for number in range(FRAMES):
            photo(root / "images/100k" / part / f"{number:08d}.jpg", number)
        dump(root / f"labels/det_20/det_{part}.json", scalabel())


def bdd100k_2018(root: Path) -> None:
    for part in ("train", "val"):
        for number in range(FRAMES):
            photo(root / "bdd100k/images/100k" / part / f"{number:08d}.jpg", number)
        dump(root / f"bdd100k/labels/bdd100k_labels_images_{part}.json", scalabel())


def bdd100k_files(root: Path) -> None:
    """A file an image."""
    for part in ("train", "val"):
        for number, frame in enumerate(scalabel()):
            photo(root / "images/100k" / part / f"{number:08d}.jpg", number)
            content = {"name": f"{number:08d}", "frames": [{"timestamp": 10000, "objects": frame["labels"]}]}
            dump(root / f"labels/100k/{part}/{number:08d}.json", content)


def shift(root: Path) -> None:
    """The discrete images of the front camera, with boxes and tags of CARLA 0.9.13."""
    for part in ("train", "val"):
        front = root / "discrete/images" / part / "front"
        frames = []
        for number, frame in enumerate(scalabel(suffix="_img_front.jpg")):
            photo(front / "img" / f"{part}{number}" / frame["name"], number)
            frames.append({**frame, "videoName": f"{part}{number}", "frameIndex": 0})
            label = np.zeros((SIZE[1], SIZE[0], 4), np.uint8)
            label[..., 0], label[..., 3] = painted({"car": 10, "person": 4}, other=6), 255
            save(front / "semseg" / f"{part}{number}" / f"{number:08d}_semseg_front.png", label)
        dump(front / "det_2d.json", {"frames": frames, "config": {}})


def _streets(root: Path, folder: str, suffix: str) -> None:
    for part in ("train", "val"):
        for number in range(FRAMES):
            city = {"train": "aachen", "val": "bern"}[part]
            name = f"{city}_{number:06d}_000019"
            photo(root / folder / part / city / f"{name}{suffix}", number)
            home = root / "gtFine" / part / city
            save(home / f"{name}_gtFine_labelIds.png", painted(CITYSCAPES, other=7))
            person = 24 if number == 1 else 24000  # 24 is a group
            ids = painted({"car": 26000, "person": person}, other=7, dtype=np.uint16)
            save(home / f"{name}_gtFine_instanceIds.png", ids)


def cityscapes(root: Path) -> None:
    _streets(root, "leftImg8bit", "_leftImg8bit.png")


def foggy_cityscapes(root: Path) -> None:
    _streets(root, "leftImg8bit_foggy", "_leftImg8bit_foggy_beta_0.02.png")
    photo(root / "leftImg8bit_foggy/val/bern/bern_000000_000019_leftImg8bit_foggy_beta_0.005.png")


def acdc(root: Path) -> None:
    for condition in ("fog", "night", "rain", "snow"):
        for part in ("train", "val"):
            for number in range(2):
                name = f"GOPR_{condition}_{part}_{number}"
                photo(root / "rgb_anon" / condition / part / "GOPR" / f"{name}_rgb_anon.png", number)
                home = root / "gt" / condition / part / "GOPR"
                save(home / f"{name}_gt_labelIds.png", painted(CITYSCAPES, other=7))
                save(home / f"{name}_gt_labelTrainIds.png", painted({"car": 13, "person": 11}, other=0))
            photo(root / "rgb_anon" / condition / f"{part}_ref" / "GOPR" / f"{name}_rgb_ref_anon.png")


def acdc_boxes(root: Path) -> None:
    for part in ("train", "val"):
        prefix = f"fog/{part}/GOPR/"
        for number in range(FRAMES):
            photo(root / "rgb_anon" / prefix / f"{number:06d}.png", number)
        dump(root / f"gt_detection/fog/instancesonly_fog_{part}_gt_detection.json", coco_content(prefix))
    dump(root / "gt_detection/fog/instancesonly_fog_test_image_info.json", {"images": [], "categories": []})


def bdd100k_masks(root: Path) -> None:
    for part in ("train", "val"):
        for number in range(FRAMES):
            photo(root / "images/10k" / part / f"{part}{number}.jpg", number)
            label = painted({"car": 13, "person": 11}, other=0)
            save(root / "labels/sem_seg/masks" / part / f"{part}{number}.png", label)


def bdd100k_seg(root: Path) -> None:
    for part in ("train", "val"):
        for number in range(FRAMES):
            photo(root / "seg/images" / part / f"{part}{number}.jpg", number)
            label = painted({"car": 13, "person": 11}, other=0)
            save(root / "seg/labels" / part / f"{part}{number}_train_id.png", label)


def mapillary(root: Path) -> None:
    for part in ("training", "validation"):
        for number in range(FRAMES):
            photo(root / part / "images" / f"{part}{number}.jpg", number)
            save(root / part / "v1.2/labels" / f"{part}{number}.png", painted({"car": 55, "person": 19}, other=13))


def mapillary_v1(root: Path) -> None:
    """The downloads before 2.0."""
    mapillary(root)
    for part in ("training", "validation"):
        (root / part / "v1.2/labels").rename(root / part / "labels")
        save(root / part / "instances" / f"{part}0.png", painted({"car": 55 * 256}, dtype=np.uint16))


def synthia(root: Path) -> None:
    """16-bit colours: the class in the red channel, the instance in the green one."""
    for number in range(FRAMES):
        photo(root / "RGB" / f"{number:07d}.png", number)
        label = np.zeros((SIZE[1], SIZE[0], 3), np.uint16)
        label[..., 2] = painted({"car": 8, "person": 10}, other=3)  # OpenCV's order is blue, green, red
        label[..., 1] = 300
        path = root / "GT/LABELS" / f"{number:07d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), label)

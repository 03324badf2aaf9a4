"""Folders of each format as the program that writes it leaves them: two or three frames, cars and persons."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

SIZE = (96, 64)  # width and height
FRAMES = 3
# Half-open corners of the boxes of every frame.
BOXES = {"car": (10, 20, 50, 50), "person": (60, 8, 76, 58)}
NAMES = [*BOXES]


def photo(path: Path, number: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(number, path)).save(path)
    return path


def noise(number: int, path: Path) -> np.ndarray:
    """The pixels of a photo, which differ in each file."""
    rng = np.random.default_rng(zlib.crc32(f"{number} {path}".encode()))
    return rng.integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)


def painted(values: dict[str, int], other: int = 0, dtype: type = np.uint8) -> np.ndarray:
    """(H, W): the value of each class in its box."""
    canvas = np.full((SIZE[1], SIZE[0]), other, dtype)
    for name, (x1, y1, x2, y2) in BOXES.items():
        canvas[y1:y2, x1:x2] = values.get(name, other)
    return canvas


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def dump(path: Path, content: object) -> None:
    text(path, json.dumps(content))


def shares(box: tuple[int, ...]) -> list[float]:
    x1, y1, x2, y2 = box
    width, height = SIZE
    return [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]


def yolo(root: Path) -> None:
    """An export of Roboflow: a folder a part, with the paths that it writes into data.yaml."""
    lines = [f"{NAMES.index(name)} {' '.join(map(str, shares(box)))}" for name, box in BOXES.items()]
    for part in ("train", "valid"):
        for number in range(FRAMES):
            photo(root / part / "images" / f"a {number}.jpg", number)
            text(root / part / "labels" / f"a {number}.txt", "\n".join(lines) + "\n")
    content = {"train": "../train/images", "val": "../valid/images", "nc": 2, "names": NAMES}
    text(root / "data.yaml", yaml.safe_dump(content))


def yolo_outlines(root: Path) -> None:
    """Ultralytics' own layout, with outlines and an image without objects."""
    x1, y1, x2, y2 = (value / SIZE[k % 2] for k, value in enumerate(BOXES["car"]))
    for part in ("train", "val"):
        for number in range(FRAMES):
            photo(root / "images" / part / f"{number}.png", number)
        for number in range(FRAMES - 1):
            text(root / "labels" / part / f"{number}.txt", f"0 {x1} {y1} {x2} {y1} {x2} {y2} {x1} {y2}")
    content = {"path": str(root), "train": "images/train", "val": "images/val", "names": {0: "car", 1: "person"}}
    text(root / "data.yaml", yaml.safe_dump(content))


def voc(root: Path) -> None:
    """The folders of the challenge; pixels are counted from 1."""
    home = root / "VOCdevkit/VOC2012"
    for number in range(FRAMES):
        photo(home / "JPEGImages" / f"2012_{number}.jpg", number)
        objects = "".join(
            f"<object><name>{name}</name><difficult>{int((name, number) == ('person', 1))}</difficult>"
            f"<bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            for name, (x1, y1, x2, y2) in BOXES.items()
        )
        size = f"<size><width>{SIZE[0]}</width><height>{SIZE[1]}</height><depth>3</depth></size>"
        xml = f"<annotation><filename>2012_{number}.jpg</filename>{size}{objects}</annotation>"
        text(home / "Annotations" / f"2012_{number}.xml", xml)
    text(home / "ImageSets/Main/train.txt", "2012_0\n2012_1\n")
    text(home / "ImageSets/Main/val.txt", "2012_2\n")
    text(home / "ImageSets/Main/car_train.txt", "2012_0  1\n2012_1 -1\n")


def voc_masks(root: Path) -> None:
    """CVAT's "Segmentation mask": indexed PNGs, whose colours are in `labelmap.txt` in another order."""
    colours = {"background": (0, 0, 0), "person": (255, 96, 55), "car": (102, 255, 102)}
    for number in range(FRAMES):
        photo(root / "JPEGImages" / f"{number}.jpg", number)
        label = Image.fromarray(painted({"person": 2, "car": 1}))
        label.putpalette([value for name in ("background", "car", "person") for value in colours[name]])
        path = root / "SegmentationClass" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        label.save(path)
    lines = [f"{name}:{','.join(map(str, colour))}::" for name, colour in colours.items()]
    text(root / "labelmap.txt", "\n".join(["# label:color_rgb:parts:actions", *lines]))
    text(root / "ImageSets/Segmentation/default.txt", "\n".join(map(str, range(FRAMES))))


def darknet(root: Path) -> None:
    """CVAT's "YOLO 1.1": a text file beside each image, and lists that start from `data`."""
    lines = [f"{NAMES.index(name)} {' '.join(map(str, shares(box)))}" for name, box in BOXES.items()]
    for number in range(FRAMES):
        photo(root / "obj_train_data" / f"{number}.jpg", number)
        text(root / "obj_train_data" / f"{number}.txt", "\n".join(lines))
    text(root / "train.txt", "\n".join(f"data/obj_train_data/{number}.jpg" for number in range(FRAMES)))
    text(root / "obj.names", "\n".join(NAMES))
    text(root / "obj.data", "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\n")


def label_img(root: Path) -> None:
    """labelImg's YOLO: everything in one folder."""
    darknet(root)
    for path in [*(root / "obj_train_data").iterdir()]:
        path.rename(root / path.name)
    for name in ("train.txt", "obj.data"):
        (root / name).unlink()
    (root / "obj_train_data").rmdir()
    (root / "obj.names").rename(root / "classes.txt")


def kitti(root: Path) -> None:
    for number in range(FRAMES):
        photo(root / "training/image_2" / f"{number:06d}.png", number)
        lines = [
            f"{name} 0.00 0 -1.57 {x1}.00 {y1}.00 {x2}.00 {y2}.00 1.5 1.6 3.9 0.1 1.7 9.8 -1.6"
            for name, (x1, y1, x2, y2) in BOXES.items()
        ]
        lines.append("DontCare -1 -1 -10 0.00 0.00 9.00 9.00 -1 -1 -1 -1000 -1000 -1000 -10")
        text(root / "training/label_2" / f"{number:06d}.txt", "\n".join(lines) + "\n")


def coco_content(prefix: str = "", masks: bool = False) -> dict[str, object]:
    images, annotations = [], []
    for number in range(FRAMES):
        images.append({"id": number, "file_name": f"{prefix}{number:06d}.png", "width": SIZE[0], "height": SIZE[1]})
        for category, (x1, y1, x2, y2) in enumerate(BOXES.values(), start=1):
            item = {"id": len(annotations) + 1, "image_id": number, "category_id": category, "iscrowd": 0}
            item |= {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
            if masks:
                name = NAMES[category - 1]
                flat = (painted({name: 1}) > 0).ravel(order="F")
                edges = np.flatnonzero(np.diff(np.concatenate([[0], flat.astype(np.int8), [0]])))
                counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
                item["segmentation"] = {"counts": counts[: len(counts) - (counts[-1] == 0)], "size": [SIZE[1], SIZE[0]]}
            annotations.append(item)
    categories = [{"id": key, "name": name, "supercategory": "coco"} for key, name in enumerate(NAMES, start=1)]
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}


def coco(root: Path) -> None:
    """COCO's own layout."""
    for part in ("train2017", "val2017"):
        for number in range(FRAMES):
            photo(root / part / f"{number:06d}.png", number)
        dump(root / f"annotations/instances_{part}.json", coco_content())


def blenderproc(root: Path) -> None:
    """What `bproc.writer.write_coco_annotations` writes: image IDs from 0, run lengths without compression."""
    for number in range(FRAMES):
        photo(root / "images" / f"{number:06d}.png", number)
    dump(root / "coco_annotations.json", coco_content("images/", masks=True))


def crowds(root: Path) -> None:
    """Datumaro's COCO of masks: each is a group."""
    blenderproc(root)
    file = root / "coco_annotations.json"
    file.write_text(file.read_text().replace('"iscrowd": 0', '"iscrowd": 1'))


def hdf5(root: Path) -> None:
    """What `bproc.writer.write_hdf5` writes."""
    import h5py

    root.mkdir(parents=True)
    attributes = [{"idx": k, "category_id": k, "name": name} for k, name in enumerate(NAMES, start=1)]
    for number in range(FRAMES):
        with h5py.File(root / f"{number}.hdf5", "w") as file:
            file["colors"] = noise(number, root)
            file["class_segmaps"] = painted({"car": 1, "person": 2})
            file["instance_segmaps"] = painted({"car": 1, "person": 2}, dtype=np.int32)
            given = [{"idx": 0, "category_id": 0}, *attributes]
            file["instance_attribute_maps"] = np.bytes_(json.dumps(given))


def replicator(root: Path) -> None:
    """What BasicWriter writes of one camera: arrays with names, and colours keyed by text."""
    kind = [("semanticId", "<u4"), ("x_min", "<i4"), ("y_min", "<i4"), ("x_max", "<i4"), ("y_max", "<i4"),
            ("occlusionRatio", "<f4")]  # fmt: skip
    colours = {"car": (25, 255, 82, 255), "person": (255, 25, 197, 255)}
    semantics = {str(colour): {"class": name} for name, colour in colours.items()}
    semantics |= {"(0, 0, 0, 0)": {"class": "BACKGROUND"}, "(0, 0, 0, 255)": {"class": "UNLABELLED"}}
    for number in range(FRAMES):
        photo(root / f"rgb_{number:04d}.png", number)
        rows = np.array(
            [(key, x1, y1, x2 - 1, y2 - 1, 0.0) for key, (x1, y1, x2, y2) in enumerate(BOXES.values())], kind
        )
        np.save(root / f"bounding_box_2d_tight_{number:04d}.npy", rows)
        names = {str(key): {"class": name} for key, name in enumerate(NAMES)}
        dump(root / f"bounding_box_2d_tight_labels_{number:04d}.json", names)
        dump(root / f"bounding_box_2d_tight_prim_paths_{number:04d}.json", ["/World/car", "/World/person"])
        table = np.array([(0, 0, 0, 0), *colours.values()], np.uint8)
        save(root / f"semantic_segmentation_{number:04d}.png", table[painted({"car": 1, "person": 2})])
        dump(root / f"semantic_segmentation_labels_{number:04d}.json", semantics)
    text(root / "metadata.txt", "BasicWriter")


def solo(root: Path) -> None:
    """Unity Perception 1.0's SOLO endpoint: a sequence a frame."""
    colours = {"car": (0, 255, 43, 255), "person": (255, 0, 0, 255)}
    for number in range(FRAMES):
        home = root / f"sequence.{number}"
        photo(home / "step0.camera.png", number)
        table = np.array([(0, 0, 0, 255), *colours.values()], np.uint8)
        save(home / "step0.camera.semantic segmentation.png", table[painted({"car": 1, "person": 2})])
        values = [
            {"instanceId": k, "labelId": k, "labelName": name, "origin": [x1, y1], "dimension": [x2 - x1, y2 - y1]}
            for k, (name, (x1, y1, x2, y2)) in enumerate(BOXES.items(), start=1)
        ]
        start = "type.unity.com/unity.solo."
        annotations = [
            {"@type": f"{start}BoundingBox2DAnnotation", "id": "bounding box", "sensorId": "camera", "values": values},
            {
                "@type": f"{start}SemanticSegmentationAnnotation",
                "id": "semantic segmentation",
                "filename": "step0.camera.semantic segmentation.png",
                "instances": [{"labelName": name, "pixelValue": colour} for name, colour in colours.items()],
            },
        ]
        capture = {"@type": f"{start}RGBCamera", "id": "camera", "filename": "step0.camera.png", "imageFormat": "Png"}
        capture |= {"dimension": [float(SIZE[0]), float(SIZE[1])], "annotations": annotations}
        frame = {"frame": number, "sequence": number, "step": 0, "captures": [capture], "metrics": []}
        dump(home / "step0.frame_data.json", frame)
    for name in ("metadata", "sensor_definitions", "annotation_definitions", "metric_definitions"):
        dump(root / f"{name}.json", {})


def carla(root: Path) -> None:
    """`image.save_to_disk` of an RGB and a semantic camera of 0.9.14: BGRA, the tag in the red channel."""
    for number in range(FRAMES):
        photo(root / "rgb" / f"{number:08d}.png", number)
        label = np.zeros((SIZE[1], SIZE[0], 4), np.uint8)
        label[..., 0], label[..., 3] = painted({"car": 14, "person": 12}, other=24), 255
        save(root / "semantic" / f"{number:08d}.png", label)


def objects(root: Path) -> None:
    """A mask image an object, in a folder an image."""
    for number in range(FRAMES):
        photo(root / "images" / f"scene_{number}.jpg", number)
        for name in NAMES:
            save(root / "masks" / f"scene_{number}" / f"{name}_0.png", painted({name: 255}))


def kaggle_objects(root: Path) -> None:
    """The Data Science Bowl of 2018: a folder an image, masks without a class."""
    for number in range(FRAMES):
        home = root / f"{number:064x}"
        photo(home / "images" / f"{number:064x}.png", number)
        for k, name in enumerate(NAMES):
            save(home / "masks" / f"{10 * number + k + 99:064x}.png", painted({name: 255}))

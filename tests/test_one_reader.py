"""Audit, training, evaluation, prediction and analysis of all tasks see the same pixels of a file."""

import json
from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import init_default_scope
from mmseg.datasets import BaseSegDataset
from mmseg.registry import TRANSFORMS
from PIL import Image

import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

# isort: split
from detectron2.data import DatasetCatalog

from gcisg_cls.audit import audit_folders
from gcisg_cls.datasets import ClassFolderDataset, UnlabelledImages
from gcisg_core.problems import DataError
from gcisg_det.config import read_config
from gcisg_det.datasets import setup_datasets
from gcisg_det.mapper import CheckedMapper, build_mapper
from gcisg_seg.audit import audit_image_labels
from gcisg_seg.datasets import ImageLabelDataset
from gcisg_suite import images, predict
from gcisg_suite.analysis.pretraining import PretrainingImages
from gcisg_suite.audit.coco import audit_coco
from gcisg_suite.audit.images import look
from tests.suite.test_images import STORED, oriented, write_png

SIDE = 32
VIEW = {"type": "EvalView", "size": SIDE}


def scene(seed=0):
    """(SIDE, SIDE, 3), in blocks, so that JPEG keeps them."""
    return np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8).repeat(8, axis=0).repeat(8, axis=1)


def phone(path, displayed, orientation=6):
    stored = np.ascontiguousarray(STORED[orientation](displayed))
    Image.fromarray(stored).save(path, exif=oriented(orientation), quality=100, subsampling=0)


def animation(path, displayed):
    Image.fromarray(displayed).save(path, save_all=True, append_images=[Image.fromarray(255 - displayed)])


# File -> (how it is written, what it shows).
KINDS = {
    "phone.jpg": (phone, scene()),
    "grey16.png": (lambda p, s: write_png(p, s[..., :1].astype(np.uint16) * 257), scene()[..., :1].repeat(3, 2)),
    "render16.png": (lambda p, s: write_png(p, s.astype(np.uint16) * 257), scene()),
    "grey_alpha.png": (lambda p, s: Image.fromarray(s[..., 0]).convert("LA").save(p), scene()[..., :1].repeat(3, 2)),
    "indexed.png": (lambda p, s: Image.fromarray(s).quantize(16, dither=0).save(p), scene()),
    "ink.tif": (lambda p, s: Image.fromarray(s).convert("CMYK").save(p), scene()),
    "film.png": (animation, scene()),
    "render.webp": (lambda p, s: Image.fromarray(s).save(p, lossless=True), scene()),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_part_reads_the_same_pixels(tmp_path, name):
    write, shown = KINDS[name]
    folder = tmp_path / "data" / "bird"
    folder.mkdir(parents=True)
    path = folder / name
    write(path, shown)
    init_default_scope("mmseg")
    load = {kind: TRANSFORMS.build({"type": kind}) for kind in ("LoadImageFromFile", "LoadCheckedImage")}
    record = {"file_name": str(path), "width": SIDE, "height": SIDE, "image_id": 1}
    mapped = {order: CheckedMapper(train, augmentations=[], image_format=order)(record)["image"].permute(1, 2, 0)
              for order, train in (("RGB", True), ("BGR", False))}  # fmt: skip
    run = predict.PredictionWriter(None, tmp_path / "out", 1)
    pipeline = [{"type": "LoadImageFromFile"}, {"type": "PackSegInputs"}]
    prefix, meta = {"img_path": str(folder)}, {"classes": ("a", "b")}
    plain = BaseSegDataset(data_prefix=prefix, metainfo=meta, img_suffix=path.suffix, pipeline=pipeline)
    seen = {
        "classification": np.asarray(ClassFolderDataset(str(tmp_path / "data"), VIEW, None).load(0)),
        "classification, target": np.asarray(UnlabelledImages(str(tmp_path / "data"), VIEW).load(0)),
        "classification, tensors": ClassFolderDataset(str(tmp_path / "data"), VIEW, None)[0]["inputs"].permute(1, 2, 0),
        "segmentation": load["LoadCheckedImage"]({"img_path": str(path)})["img"][..., ::-1],
        "segmentation, plain": load["LoadImageFromFile"]({"img_path": str(path)})["img"][..., ::-1],
        "segmentation, plain data set": plain[0]["inputs"].permute(1, 2, 0).numpy()[..., ::-1],
        "detection": mapped["RGB"],
        "detection, BGR": mapped["BGR"].flip(-1),
        "prediction": dict(run._read({"x": path}))["x"],
        "pretraining's images": PretrainingImages(str(tmp_path / "data"), SIDE)[0]["inputs"].permute(1, 2, 0),
    }
    for part, found in seen.items():
        np.testing.assert_array_equal(np.asarray(found), images.read_image(path), err_msg=part)
    np.testing.assert_allclose(images.read_image(path), shown, atol=4)
    audited = look(path)
    assert (audited.size, audited.mean) == ((SIDE, SIDE), pytest.approx(images.read_image(path).mean()))


DAMAGED = {
    "empty.png": (lambda path: path.write_bytes(b""), "it is empty, 0 bytes"),
    "text.jpg": (lambda path: path.write_text("<html>"), "Pillow does not recognise its format"),
    "phone.heic": (lambda path: path.write_bytes(b"\0\0\0\x18ftypheic"), "HEI"),
    "deep.tif": (lambda path: Image.new("F", (SIDE, SIDE)).save(path), "floating-point numbers"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_every_part_refuses_the_same_files_in_the_same_words(tmp_path, name, monkeypatch):
    Image.init()  # or the patch would take away what Pillow registers during the test
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    monkeypatch.setattr(Image, "ID", [key for key in Image.ID if key != "HEIF"])
    folder = tmp_path / "data" / "bird"
    folder.mkdir(parents=True)
    path = folder / name
    damage, reason = DAMAGED[name]
    damage(path)
    init_default_scope("mmseg")
    parts = {
        "classification": ClassFolderDataset(str(tmp_path / "data"), VIEW, None).load,
        "segmentation": lambda _: TRANSFORMS.build({"type": "LoadCheckedImage"})({"img_path": str(path)}),
        "segmentation, plain": lambda _: TRANSFORMS.build({"type": "LoadImageFromFile"})({"img_path": str(path)}),
        "detection": lambda _: CheckedMapper(True, augmentations=[], image_format="BGR")({"file_name": str(path)}),
    }
    said = set()
    for part in parts.values():
        with pytest.raises(DataError) as raised:
            part(0)
        said.add(str(raised.value))
    run = predict.PredictionWriter(None, tmp_path / "out", 1)
    assert dict(run._read({"x": path})) == {}
    said |= {*run.problems, *(str(p) for p in audit_folders(tmp_path / "data").problems if p.file == str(path))}
    assert len(said) == 1, said
    assert reason in said.pop()


def test_the_plain_loader_keeps_its_options(tmp_path):
    init_default_scope("mmseg")
    path = tmp_path / "grey16.png"
    write_png(path, np.full((4, 4, 1), 3000, np.uint16))
    results = {"img_path": str(path)}
    as_floats = TRANSFORMS.build({"type": "LoadImageFromFile", "to_float32": True})
    assert as_floats(dict(results))["img"].dtype == np.float32
    unchanged = TRANSFORMS.build({"type": "LoadImageFromFile", "color_type": "unchanged"})
    assert unchanged(dict(results))["img"].max() == 3000
    path.write_text("")
    assert TRANSFORMS.build({"type": "LoadImageFromFile", "ignore_empty": True})(dict(results)) is None


ORIENTATIONS = [5, 6, 7, 8]
WIDE = np.random.default_rng(3).integers(0, 256, (24, 40, 3), np.uint8)  # as displayed: 40 x 24


def without_orientation(path):
    """Half of the remedy: the stored pixels, without the EXIF block."""
    with Image.open(path) as image:
        stored = image.copy()
    stored.save(path, exif=b"")


class TestSegmentation:
    """A label must lie on its image as that is displayed."""

    LABEL = np.random.default_rng(4).integers(0, 2, (24, 40), np.uint8)

    def make(self, root, label, orientation):
        for name in ("images", "labels"):
            (root / name).mkdir()
        phone(root / "images/a.jpg", WIDE, orientation)
        Image.fromarray(np.ascontiguousarray(label)).save(root / "labels/a.png")

    def both(self, root):
        """What training says, and what the audit says."""
        steps = [{"type": f"mmseg.{name}"} for name in ("LoadCheckedImage", "LoadClassLabels", "PackSegInputs")]
        dataset = ImageLabelDataset(str(root), {"classes": ("a", "b")}, img_suffix=".jpg", pipeline=steps)
        found = audit_image_labels(root / "images", root / "labels", ("a", "b"), None, (".jpg", ".png")).problems
        try:
            return dataset[0]["data_samples"].gt_sem_seg.data[0].numpy(), [str(problem) for problem in found]
        except DataError as error:
            return str(error), [str(problem) for problem in found]

    @pytest.mark.parametrize("orientation", STORED)
    def test_labels_as_displayed_are_read(self, tmp_path, orientation):
        self.make(tmp_path, self.LABEL, orientation)
        label, problems = self.both(tmp_path)
        np.testing.assert_array_equal(label, self.LABEL)
        assert problems == []

    @pytest.mark.parametrize("orientation", ORIENTATIONS)
    def test_labels_as_stored_are_refused_until_a_remedy_is_followed(self, tmp_path, orientation):
        stored = STORED[orientation](self.LABEL)
        self.make(tmp_path, stored, orientation)
        said, problems = self.both(tmp_path)
        assert problems == [said]
        assert said == (
            f"{tmp_path}/labels/a.png: label is 24 x 40 pixels, its image 40 x 24 pixels as displayed (stored as 24 x "
            f"40, with the EXIF orientation {orientation}). {images.AS_DISPLAYED}"
        )
        Image.fromarray(self.LABEL).save(tmp_path / "labels/a.png")
        assert self.both(tmp_path)[1] == []
        Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "labels/a.png")
        without_orientation(tmp_path / "images/a.jpg")
        label, problems = self.both(tmp_path)
        np.testing.assert_array_equal(label, stored)
        assert problems == []


class TestDetection:
    """So must boxes."""

    def make(self, root, size, box, orientation):
        (root / "images").mkdir(exist_ok=True)
        phone(root / "images/a.jpg", WIDE, orientation)
        self.annotate(root, size, box)

    def annotate(self, root, size, box):
        entry = {"id": 1, "image_id": 1, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        content = {
            "images": [{"id": 1, "file_name": "a.jpg", "width": size[0], "height": size[1]}],
            "annotations": [entry],
            "categories": [{"id": 1, "name": "car"}],
        }
        (root / "a.json").write_text(json.dumps(content))

    def both(self, root):
        cfg = read_config(Path(__file__).parents[1] / "projects/detection/Base-mini.yaml")
        cfg.DATASETS.COCO = [["phones", str(root / "a.json"), str(root / "images")]]
        setup_datasets(cfg)
        problems = [str(problem) for problem in audit_coco(root / "images", annotations=root / "a.json").problems]
        said = []
        for is_train in (True, False):
            try:
                build_mapper(cfg, is_train)(DatasetCatalog.get("phones")[0])
            except DataError as error:
                said.append(str(error).replace("its annotation says", "the JSON file says"))
        return said, problems

    @pytest.mark.parametrize("orientation", STORED)
    def test_boxes_as_displayed_are_read(self, tmp_path, orientation):
        self.make(tmp_path, (40, 24), [2, 3, 30, 15], orientation)
        assert self.both(tmp_path) == ([], [])

    @pytest.mark.parametrize("orientation", ORIENTATIONS)
    def test_boxes_as_stored_are_refused_until_a_remedy_is_followed(self, tmp_path, orientation):
        self.make(tmp_path, (24, 40), [2, 3, 15, 30], orientation)
        said, problems = self.both(tmp_path)
        assert problems == [
            f"{tmp_path}/images/a.jpg: is 40 x 24 pixels as displayed (stored as 24 x 40, with the EXIF orientation "
            f"{orientation}), the JSON file says 24 x 40. {images.AS_DISPLAYED}"
        ]
        assert said == problems * 2
        without_orientation(tmp_path / "images/a.jpg")
        assert self.both(tmp_path) == ([], [])
        self.make(tmp_path, (40, 24), [2, 3, 30, 15], orientation)
        assert self.both(tmp_path) == ([], [])

    def test_another_size_is_refused_until_it_is_corrected(self, tmp_path):
        self.make(tmp_path, (80, 48), [2, 3, 15, 30], 1)
        said, problems = self.both(tmp_path)
        assert said == problems * 2
        assert problems[0].endswith(f"a.jpg: is 40 x 24 pixels, the JSON file says 80 x 48. {images.RESIZED}")
        self.annotate(tmp_path, (40, 24), [1, 1.5, 7.5, 15])
        assert self.both(tmp_path) == ([], [])

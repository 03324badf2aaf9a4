"""The table of formats: how a folder of each is recognised, and the readers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import NamedTuple

from gcisg_core.lookup import choose
from gcisg_core.problems import DataError
from gcisg_suite.folders import list_files
from gcisg_suite.formats import blenderproc, coco, objects, simulators, streets, voc, voc_masks, yolo
from gcisg_suite.formats.forms import Data
from gcisg_suite.images import SUFFIXES

Reader = Callable[[Path, str], Data]  # (folder, role): the role, `synthetic` or `real`, chooses the part
NATIVE, UNLABELLED = "native", "unlabelled"
# Suffixes of files that may hold annotations: a folder with such a file does not count as unlabelled.
ANNOTATIONS = (".json", ".xml", ".txt", ".csv", ".npy", ".hdf5", ".yaml", ".yml", ".mat", ".record", ".tfrecord")
# Names of folders with label images: their images are not photographs.
LABELS = ("annotation", "annotations", "gt", "gtfine", "label", "labels", "mask", "masks", "segmentation",
          "segmentationclass", "semantic", "semseg")  # fmt: skip


class Format(NamedTuple):
    """A row of the table.

    Attributes:
        files: Description of the files, for help texts.
        recognises: Whether a folder is in this format.
        boxes: The reader for detection, if there is one.
        masks: The reader for segmentation, if there is one.
    """

    files: str
    recognises: Callable[[Path], bool]
    boxes: Reader | None = None
    masks: Reader | None = None


# In the order in which they are tried: the most specific formats first.
FORMATS: dict[str, Format] = {
    "solo": Format(
        "Unity Perception (SOLO): sequence.0/step0.frame_data.json, step0.camera.png",
        simulators.is_solo,
        simulators.solo_boxes,
        simulators.solo_masks,
    ),
    "replicator": Format(
        "NVIDIA Replicator's BasicWriter: rgb_0000.png, bounding_box_2d_tight_0000.npy, semantic_segmentation_0000.png",
        simulators.is_replicator,
        simulators.replicator_boxes,
        simulators.replicator_masks,
    ),
    "hdf5": Format(
        "BlenderProc's HDF5: 0.hdf5, 1.hdf5 ...", blenderproc.is_hdf5, blenderproc.read_boxes, blenderproc.read_masks
    ),
    "bdd100k": Format(
        "BDD100K: images/100k/<part>, labels/det_20/det_<part>.json or labels/bdd100k_labels_images_<part>.json or "
        "labels/100k/<part>/*.json",
        streets.is_bdd,
        streets.read_bdd,
    ),
    "shift": Format(
        "SHIFT: <part>/front/det_2d.json, <part>/front/img/<video>/*", streets.is_shift, streets.read_shift
    ),
    "foggy-cityscapes": Format(
        "Foggy Cityscapes: leftImg8bit_foggy/<part>/<city>/*_beta_0.02.png, gtFine",
        streets.is_foggy,
        streets.read_foggy,
    ),
    "cityscapes": Format(
        "Cityscapes: leftImg8bit/<part>/<city>/*, gtFine", streets.is_cityscapes, streets.read_cityscapes
    ),
    "coco": Format(
        "COCO's JSON: annotations.json and images/, annotations/instances_<part>.json, <part>/_annotations.coco.json, "
        "coco_annotations.json of BlenderProc",
        coco.is_coco,
        coco.read_boxes,
        coco.read_masks,
    ),
    "yolo": Format(
        "YOLO: data.yaml or classes.txt, images/**/*, labels/**/*.txt", yolo.is_yolo, yolo.read_boxes, yolo.read_masks
    ),
    "kitti": Format("KITTI: image_2/*, label_2/*.txt, or images/*, labels/*.txt", voc.is_kitti, voc.read_kitti),
    "voc": Format(
        "Pascal VOC: JPEGImages/*, Annotations/*.xml or SegmentationClass/*.png, or an XML file beside each image",
        lambda folder: voc.is_voc(folder) or voc_masks.find_masks(folder) is not None,
        voc.read_voc,
        voc_masks.read_masks,
    ),
    "objects": Format(
        "one mask for each object: images/a.jpg, masks/a/<class>_1.png or masks/a_<class>_1.png",
        objects.is_objects,
        objects.read_boxes,
        objects.read_masks,
    ),
}


def has_only_images(folder: Path) -> bool:
    """Whether a folder has images at any depth, but no file that may hold annotations and no folder of label images."""
    paths = [PurePath(name) for name in list_files(folder).files]
    suffixes = {path.suffix.lower() for path in paths}
    if any(part.lower() in LABELS for path in paths for part in path.parts[:-1]):
        return False
    return bool(suffixes.intersection(SUFFIXES)) and not suffixes.intersection(ANNOTATIONS)


def find_format(folder: Path, table: Mapping[str, Format], native: bool, asked: str | None, role: str) -> str:
    """The name of the format of a folder.

    Args:
        folder: The user's folder.
        table: The formats of the task.
        native: Whether the task can read the folder without conversion.
        asked: The format that the user named, if any.
        role: `synthetic` or `real`.

    Raises:
        ValueError: the format that the user named does not exist.
        DataError: no format is recognised.
    """
    if asked:
        choose({**table, NATIVE: None, UNLABELLED: None}, asked, "format")
        return asked
    if native:
        return NATIVE
    found = next((name for name, row in table.items() if row.recognises(folder)), None)
    if found is None and has_only_images(folder):
        return UNLABELLED
    if found is None:
        what = f"is in no known format ({', '.join(table)})"
        names = f"Name it (--format {role}=NAME, {UNLABELLED} for images alone), or the folder that holds its files"
        remedy = f"{names}; docs/your_data.md lists them"
        raise DataError(folder, what, remedy)
    return found

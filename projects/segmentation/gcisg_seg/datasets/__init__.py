"""Data sets and transforms; importing this registers them with MMSegmentation."""

from gcisg_seg.datasets.datasets import (
    BDD100KLabelIdsDataset,
    CityscapesLabelIdsDataset,
    GTAVDataset,
    MapillaryCityscapesDataset,
)
from gcisg_seg.datasets.own import ImageLabelDataset, LoadClassLabels
from gcisg_seg.datasets.transforms import LoadCheckedImage, LoadImageFromFile, LoadLabelIds

__all__ = [
    "BDD100KLabelIdsDataset",
    "CityscapesLabelIdsDataset",
    "GTAVDataset",
    "ImageLabelDataset",
    "LoadCheckedImage",
    "LoadClassLabels",
    "LoadImageFromFile",
    "LoadLabelIds",
    "MapillaryCityscapesDataset",
]

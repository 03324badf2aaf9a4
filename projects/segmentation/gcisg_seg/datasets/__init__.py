"""Data sets and transforms; importing this registers them with MMSegmentation."""

from gcisg_seg.datasets.datasets import (
    ACDCDataset,
    BDD100KLabelIdsDataset,
    BDD100KSegDataset,
    CityscapesLabelIdsDataset,
    FoggyCityscapesDataset,
    GTAVDataset,
    MapillaryCityscapesDataset,
    SHIFTDataset,
    SYNTHIADataset,
)
from gcisg_seg.datasets.own import ImageLabelDataset, LoadClassLabels, UnlabelledImageDataset
from gcisg_seg.datasets.transforms import LoadCheckedImage, LoadImageFromFile, LoadLabelIds

__all__ = [
    "ACDCDataset",
    "BDD100KLabelIdsDataset",
    "BDD100KSegDataset",
    "CityscapesLabelIdsDataset",
    "FoggyCityscapesDataset",
    "GTAVDataset",
    "ImageLabelDataset",
    "LoadCheckedImage",
    "LoadClassLabels",
    "LoadImageFromFile",
    "LoadLabelIds",
    "MapillaryCityscapesDataset",
    "SHIFTDataset",
    "SYNTHIADataset",
    "UnlabelledImageDataset",
]

# The same training, evaluated on Cityscapes, BDD100K and Mapillary.
_base_ = [
    "_base_/deeplabv3_r50.py",
    "_base_/gtav.py",
    "_base_/targets_dg.py",
    "_base_/schedule_40e.py",
    "_base_/runtime.py",
]

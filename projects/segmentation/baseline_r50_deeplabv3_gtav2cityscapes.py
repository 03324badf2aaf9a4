_base_ = [
    "_base_/deeplabv3_r50.py",
    "_base_/gtav.py",
    "_base_/cityscapes.py",
    "_base_/schedule_40e.py",
    "_base_/runtime.py",
]

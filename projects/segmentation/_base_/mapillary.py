# Mapillary Vistas 1.2 validation as the target, in Cityscapes' 19 classes.
_base_ = "cityscapes.py"
mapillary_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="Resize", scale=(2048, 1024), keep_ratio=True),  # images reach 20 megapixels
    dict(type="LoadLabelIds"),  # after Resize: predictions are compared at the original size
    dict(type="PackSegInputs", meta_keys=("img_path", "seg_map_path", "ori_shape", "img_shape", "domain")),
]
mapillary_val = dict(
    type="MapillaryCityscapesDataset",
    data_root="{{$GCISG_DATA:data}}/mapillary",
    split="validation",
    test_mode=True,
    pipeline=mapillary_pipeline,
)
val_dataloader = dict(dataset=dict(_delete_=True, **mapillary_val))
test_dataloader = dict(dataset=dict(_delete_=True, **mapillary_val))

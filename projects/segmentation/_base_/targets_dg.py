# Cityscapes, BDD100K and Mapillary together: mIoU of each and their mean.
_base_ = "mapillary.py"
datasets = [
    dict(
        type="CityscapesLabelIdsDataset",
        data_root="{{$GCISG_DATA:data}}/cityscapes",
        split="val",
        test_mode=True,
        pipeline={{_base_.test_pipeline}},
    ),
    dict(
        type="BDD100KLabelIdsDataset",
        data_root="{{$GCISG_DATA:data}}/bdd100k",
        split="val",
        test_mode=True,
        pipeline={{_base_.test_pipeline}},
    ),
    {{_base_.mapillary_val}},
]
val_dataloader = dict(dataset=dict(_delete_=True, type="ConcatDataset", datasets=datasets))
test_dataloader = dict(dataset=dict(_delete_=True, type="ConcatDataset", datasets=datasets))

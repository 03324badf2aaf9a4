# The network of CSG's code: DeepLabV2 by its name, the DeepLabV3 of torchvision by its layers, at output stride 8.
_base_ = "deeplabv3_r50.py"
model = dict(
    backbone=dict(norm_cfg=dict(requires_grad=False), norm_eval=True),  # the head's BatchNorm is trained
    decode_head=dict(
        _delete_=True,
        type="TorchvisionDeepLabHead",
        in_channels=2048,
        in_index=3,
        num_classes=19,
        dilations=(12, 24, 36),
        align_corners=True,
        loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, avg_non_ignore=True, loss_weight=1.0),
    ),
    auxiliary_head=None,
)

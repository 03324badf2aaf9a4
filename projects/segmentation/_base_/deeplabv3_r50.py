# DeepLabV3 on ResNet-50 at output stride 8, mmseg's heads. The stem is the plain one (7 x 7), not the deep one of
# mmseg's own DeepLabV3 files: it is that of the ImageNet weights which the paper starts from and is guided by.
norm_cfg = dict(type="BN", requires_grad=True)
# The mean over labelled pixels, as torch's own cross entropy; mmseg's default divides by all pixels.
cross_entropy = dict(type="CrossEntropyLoss", use_sigmoid=False, avg_non_ignore=True)
sync_bn = "torch"  # several GPUs share their batch statistics
model = dict(
    type="SynToRealEncoderDecoder",
    regularizer=dict(method="none"),
    backbone_plugins=dict(),  # of the backbone, see docs/methods.md
    data_preprocessor=dict(
        type="PhotometricSegDataPreProcessor",
        views=None,  # as many as the method needs; colour jitter .4 / .4 / .4 / .1
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(512, 512),
    ),
    backbone=dict(
        type="ResNet",
        depth=50,
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        contract_dilation=True,
        style="pytorch",
        norm_cfg=norm_cfg,
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet50"),
    ),
    decode_head=dict(
        type="ASPPHead",
        in_channels=2048,
        in_index=3,
        channels=512,
        dilations=(1, 12, 24, 36),
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(**cross_entropy, loss_weight=1.0),
    ),
    auxiliary_head=dict(
        type="FCNHead",
        in_channels=1024,
        in_index=2,
        channels=256,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(**cross_entropy, loss_weight=0.4),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)

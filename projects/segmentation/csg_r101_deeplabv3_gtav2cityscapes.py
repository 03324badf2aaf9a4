_base_ = "csg_r50_deeplabv3_gtav2cityscapes.py"
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint="torchvision://resnet101")))

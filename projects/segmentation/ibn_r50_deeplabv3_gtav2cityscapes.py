_base_ = "baseline_r50_deeplabv3_gtav2cityscapes.py"
# ImageNet weights of the plain ResNet; IBN-Net's own are better, see docs/methods.md for what is not used.
model = dict(backbone_plugins=dict(ibn="a"))

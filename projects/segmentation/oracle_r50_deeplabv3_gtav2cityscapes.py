_base_ = "baseline_r50_deeplabv3_gtav2cityscapes.py"
model = dict(regularizer=dict(method="oracle"))

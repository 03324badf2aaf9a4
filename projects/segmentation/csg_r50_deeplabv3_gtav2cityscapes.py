_base_ = "baseline_r50_deeplabv3_gtav2cityscapes.py"
# CSG's weight and cells for segmentation; the rest of the recipe is GCISG's, so that the methods can be compared.
model = dict(
    regularizer=dict(method="csg", grid=(8, 8), lambda_csg=75.0),
)

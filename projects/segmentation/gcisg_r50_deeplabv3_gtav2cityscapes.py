_base_ = "baseline_r50_deeplabv3_gtav2cityscapes.py"
# Neither the paper nor code states weights for segmentation. `official` has the authors' losses of classification, the
# only ones whose weights are known; what they are in the units of Eq. 8, and over n processes: docs/method.md.
model = dict(
    regularizer=dict(method="gcisg", preset="official", patches=(8, 8)),
)

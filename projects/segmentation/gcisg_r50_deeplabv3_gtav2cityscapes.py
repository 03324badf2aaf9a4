_base_ = "baseline_r50_deeplabv3_gtav2cityscapes.py"
# Everything else is the paper's and stands in gcisg_core/regularizers/gcisg.py: stages {3, 4}, self-attention pooling,
# K = 65536, tau .12 / .04, decay .996. The paper states no weights; 1 and 1 are those of the authors' code.
model = dict(
    regularizer=dict(method="gcisg", grid=(8, 8), lambda_guidance=1.0, lambda_ci=1.0),
)

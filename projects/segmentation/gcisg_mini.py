_base_ = "baseline_mini.py"
# Weights, K and decay are those of the miniature's classification; not tuned on the scenes.
model = dict(
    data_preprocessor=dict(views=2),
    regularizer=dict(method="gcisg", grid=(4, 4), lambda_guidance=3.0, lambda_ci=0.5, queue_length=1024, decay=0.99),
)

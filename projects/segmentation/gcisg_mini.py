_base_ = "baseline_mini.py"
# Weights: sweeps/lambdas.yaml on dev; K and decay are those of the miniature's classification.
model = dict(
    data_preprocessor=dict(views=2),
    regularizer=dict(method="gcisg", grid=(4, 4), lambda_guidance=1.0, lambda_ci=0.1, queue_length=1024, decay=0.99),
)

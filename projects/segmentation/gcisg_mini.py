_base_ = "baseline_mini.py"
# Guidance at every position, and the weights, by sweeps/guidance.yaml and joint.yaml on dev. K and decay: the
# classification's.
model = dict(
    regularizer=dict(
        method="gcisg",
        pooling="none",
        lambda_guidance=3.0,
        lambda_ci=0.5,
        queue_length=1024,
        decay=0.99,
    ),
)

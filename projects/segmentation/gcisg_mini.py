_base_ = "baseline_mini.py"
# Weights: sweeps/lambdas.yaml on dev, where a guidance from 0.03 to 1 is as good. K and decay: the classification's.
model = dict(
    regularizer=dict(method="gcisg", patches=(4, 4), lambda_guidance=0.1, lambda_ci=0.1, queue_length=1024, decay=0.99),
)

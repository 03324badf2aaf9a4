_base_ = "baseline_mini.py"
# The weight of sweeps/methods_weights.yaml, on dev.
model = dict(regularizer=dict(method="weight_l2", lambda_weight_l2=1.0))

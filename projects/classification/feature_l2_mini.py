_base_ = "baseline_mini.py"
# The weight of sweeps/methods_weights.yaml, on dev.
model = dict(regularizer=dict(method="feature_l2", lambda_feature_l2=0.1))

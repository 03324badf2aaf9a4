_base_ = "baseline_mini.py"
# Ten intervals in a run; the weight of sweeps/methods_weights.yaml, on dev.
model = dict(regularizer=dict(method="si", interval=21, lambda_si=10.0))

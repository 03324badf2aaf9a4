_base_ = "baseline_r101_visda17.py"
# CSG's Table 1 gives no weight: choose it first, sweeps/methods_weights.yaml.
model = dict(regularizer=dict(method="weight_l2"))

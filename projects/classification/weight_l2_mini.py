_base_ = "baseline_mini.py"
model = dict(regularizer=dict(method="weight_l2"))

_base_ = "baseline_mini.py"
model = dict(regularizer=dict(method="feature_l2"))

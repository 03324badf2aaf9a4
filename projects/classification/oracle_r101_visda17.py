_base_ = "baseline_r101_visda17.py"
model = dict(regularizer=dict(method="oracle"))

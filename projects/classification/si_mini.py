_base_ = "baseline_mini.py"
# Ten intervals in a run of 300 iterations.
model = dict(regularizer=dict(method="si", interval=30))

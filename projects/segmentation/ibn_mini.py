_base_ = "baseline_mini.py"
model = dict(changes=dict(ibn="a"))

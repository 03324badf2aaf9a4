_base_ = "baseline_mini.py"
model = dict(backbone_plugins=dict(ibn="a"))

_base_ = "baseline_mini.py"
# RobustNet: its network, whose added normalisations and stem are whitened. The warm-up is a tenth of the run, as there.
model = dict(
    backbone_plugins=dict(ibn="isw"),
    regularizer=dict(
        method="isw",
        warmup_steps=50,
        statistics_steps=25,
    ),
)

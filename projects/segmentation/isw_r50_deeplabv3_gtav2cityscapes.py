_base_ = "baseline_r50_deeplabv3_gtav2cityscapes.py"
# RobustNet: its network, whose stem and added normalisations are whitened. Its warm-up of 5 epochs and the number of
# images of its statistics (6,382), in batches of 8.
model = dict(
    changes=dict(ibn="isw"),
    regularizer=dict(
        method="isw",
        warmup_steps=5 * 3_120,
        statistics_steps=800,
    ),
)

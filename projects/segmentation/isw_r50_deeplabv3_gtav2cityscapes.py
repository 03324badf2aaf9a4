_base_ = "baseline_r50_deeplabv3_gtav2cityscapes.py"
# RobustNet: its network, whose stem and added normalisations are whitened, and the statistics of its code. Its warm-up
# of 5 epochs and the images of its statistics (10 trials of 500), in batches of 8.
model = dict(
    backbone_plugins=dict(ibn="isw"),
    regularizer=dict(
        method="isw",
        preset="robustnet",
        warmup_steps=5 * 3_120,
        statistics_steps=625,
    ),
)

_base_ = [f"_base_/{part}.py" for part in ("deeplabv3_r50_csg", "gtav_csg", "cityscapes", "schedule_csg", "runtime")]
# Ours: ASG's code has a VGG-16 for this task. Its loss, weight, images and schedule here, in the network of CSG's code.
param_scheduler = [dict(type="WarmupPolyLR", end={{_base_.max_iters}}, warmup=100, power=0.9, hold_after=0.8)]
# The classifier is in the weights file; torch keeps it here once it is downloaded.
classifier = "~/.cache/torch/hub/checkpoints/resnet50-0676ba61.pth"
model = dict(
    data_preprocessor=dict(views=0),  # no jitter
    regularizer=dict(method="asg", lambda_asg=75.0, classifier=classifier),
)

_base_ = ["_base_/visda17_csg.py", "_base_/runtime.py"]
# ASG trains on the images as they are, and its rate stays where it is after four fifths of the run.
train_dataloader = dict(
    dataset=dict(dataset=dict(pipeline=dict(crop="center", randaugment=dict(num_ops=0)))),
)
param_scheduler = [dict(type="WarmupPolyLR", end={{_base_.max_iters}}, warmup=100, power=0.9, hold_after=0.8)]
# The classifier is in the weights file itself; torchvision keeps it here once it is downloaded.
model = dict(regularizer=dict(method="asg", classifier="~/.cache/torch/hub/checkpoints/resnet101-63fe2227.pth"))

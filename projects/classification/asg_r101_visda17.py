_base_ = "baseline_r101_visda17.py"
# The classifier is in the weights file itself; torchvision keeps it here once it is downloaded.
model = dict(regularizer=dict(method="asg", classifier="~/.cache/torch/hub/checkpoints/resnet101-63fe2227.pth"))

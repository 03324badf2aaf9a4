_base_ = "baseline_r50_deeplabv3_gtav2cityscapes.py"
# ASG's weight for segmentation. The classifier is in the weights file; torch keeps it here once it is downloaded.
classifier = "~/.cache/torch/hub/checkpoints/resnet50-0676ba61.pth"
model = dict(regularizer=dict(method="asg", lambda_asg=75.0, classifier=classifier))

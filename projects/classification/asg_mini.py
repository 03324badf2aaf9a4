_base_ = "baseline_mini.py"
# The weight of sweeps/methods_weights.yaml, on dev.
model = dict(
    regularizer=dict(method="asg", lambda_asg=1.0, classifier="{{$GCISG_DATA:data}}/mini/reference.pth"),
)

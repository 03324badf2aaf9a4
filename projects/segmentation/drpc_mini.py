_base_ = "baseline_mini.py"
# The styles are those of the miniature's stand-in for ImageNet; both views are in one.
styles = dict(folder="{{$GCISG_DATA:data}}/mini/classification/reference/train")
# The weights of sweeps/methods_weights.yaml, on dev.
model = dict(
    data_preprocessor=dict(photometric=dict(styles=styles)),
    regularizer=dict(method="drpc", lambda_across=0.1, lambda_within=0.1),
)

_base_ = "baseline_mini.py"
# The styles are those of the miniature's stand-in for ImageNet; both views are in one.
styles = dict(folder="{{$GCISG_DATA:data}}/mini/classification/reference/train")
model = dict(data_preprocessor=dict(photometric=dict(styles=styles)), regularizer=dict(method="drpc"))

_base_ = "baseline_r50_deeplabv3_gtav2cityscapes.py"
# Styles of ImageNet's images, as in the paper; any folder of photographs will do.
styles = dict(folder="{{$GCISG_DATA:data}}/imagenet/train")
model = dict(data_preprocessor=dict(photometric=dict(styles=styles)), regularizer=dict(method="drpc"))

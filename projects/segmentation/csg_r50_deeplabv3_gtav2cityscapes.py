_base_ = [f"_base_/{part}.py" for part in ("deeplabv3_r50_csg", "gtav_csg", "cityscapes", "schedule_csg", "runtime")]
# As in CSG's code: the task sees the plain image, the reference one in jitter; the projectors keep their random start.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={"projectors": dict(lr_mult=0.0, decay_mult=0.0)}))
model = dict(
    data_preprocessor=dict(plain_views=(0,), photometric=dict(hue=0.4)),
    regularizer=dict(method="csg", patches=(8, 8), lambda_csg=75.0),
)

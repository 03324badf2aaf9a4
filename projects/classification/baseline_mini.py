_base_ = ["_base_/mini.py", "_base_/runtime.py"]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=dict(views=1))))

_base_ = ["_base_/visda17.py", "_base_/runtime.py"]
# One view is enough for the task alone.
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=dict(views=1))))

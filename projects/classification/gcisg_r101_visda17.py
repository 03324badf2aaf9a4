_base_ = ["_base_/visda17.py", "_base_/runtime.py"]
# The authors' code: its losses, the only ones whose weights are known, and its order of a step (`official` in
# gcisg_core/regularizers/gcisg.py), and its centre crop. The batch of 64 is the paper's, here in one process.
# Their code has 32 a process, over which its guidance is a norm: --num-gpus 2 train_dataloader.batch_size=32 has both.
train_dataloader = dict(batch_size=64, dataset=dict(dataset=dict(pipeline=dict(crop="center"))))
model = dict(regularizer=dict(method="gcisg", preset="official"))

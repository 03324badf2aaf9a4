_base_ = ["_base_/visda17_csg.py", "_base_/runtime.py"]
# The settings in gcisg_core/regularizers/csg.py are CSG's for this data.
model = dict(regularizer=dict(method="csg"))

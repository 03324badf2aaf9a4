_base_ = ["_base_/mini.py", "_base_/runtime.py"]
# The weight of sweeps/methods_weights.yaml, on dev. K and decay fit a short run, as in gcisg_mini.py.
model = dict(regularizer=dict(method="csg", lambda_csg=0.1, queue_length=1024, decay=0.99))

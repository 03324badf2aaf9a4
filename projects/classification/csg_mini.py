_base_ = ["_base_/mini.py", "_base_/runtime.py"]
# K and decay fit a short run, as in gcisg_mini.py.
model = dict(regularizer=dict(method="csg", queue_length=1024, decay=0.99))

_base_ = "baseline_mini.py"
model = dict(
    regularizer=dict(method="csg", patches=(4, 4), lambda_csg=0.3, queue_length=1024, decay=0.99),
)

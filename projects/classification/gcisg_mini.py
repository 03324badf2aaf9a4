_base_ = ["_base_/mini.py", "_base_/runtime.py"]
model = dict(regularizer=dict(method="gcisg", lambda_guidance=3.0, lambda_ci=0.5, queue_length=1024, decay=0.99))

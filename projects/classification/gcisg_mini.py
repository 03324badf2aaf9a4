_base_ = ["_base_/mini.py", "_base_/runtime.py"]
# Guidance on patches, and the weights, by sweeps/guidance.yaml and joint.yaml on dev. K and decay fit a short run.
model = dict(
    regularizer=dict(
        method="gcisg", patches_guidance=(4, 4), lambda_guidance=3.0, lambda_ci=0.5, queue_length=1024, decay=0.99
    )
)

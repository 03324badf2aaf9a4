_base_ = "asg_r101_visda17.py"
# ASG's code with a frozen backbone (its --train_blocks fc), whose figure CSG's Table 1 gives.
model = dict(regularizer=dict(_delete_=True, method="oracle"))

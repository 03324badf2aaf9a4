_base_ = "baseline_mini.py"
model = dict(regularizer=dict(method="asg", classifier="{{$GCISG_DATA:data}}/mini/reference.pth"))

_base_ = ["_base_/visda17.py", "_base_/runtime.py"]

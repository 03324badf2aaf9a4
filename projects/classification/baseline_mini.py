_base_ = ["_base_/mini.py", "_base_/runtime.py"]

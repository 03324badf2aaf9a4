_base_ = ["_base_/mini.py", "_base_/runtime.py"]
custom_imports = dict(imports=["gcisg_seg.registry", "gcisg_seg.mini"])

default_scope = "mmseg"
custom_imports = dict(imports=["gcisg_seg.registry"], allow_failed_imports=False)
# Moves the target of a method after each step, and makes randomness depend on seed and step only (exact resume).
custom_hooks = [dict(type="RegularizerHook"), dict(type="SelectionHook")]
selection = dict(every_checkpoint=False)  # rank checkpoints as they are written; its other keys: docs/selection.md
randomness = dict(seed=0)
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
    dist_cfg=dict(backend="nccl"),
)
log_processor = dict(by_epoch=False)
log_level = "INFO"
load_from = None
resume = False

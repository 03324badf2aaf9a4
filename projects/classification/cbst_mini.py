_base_ = "baseline_mini.py"
# Self-training (the paper's Table 8) on the dev split's images without their labels; test is not seen.
# As in cbst_r101_visda17.py, the model that it starts from is trained first, tools/sweep.py does so by itself:
#   python tools/train_net.py --config projects/classification/gcisg_mini.py model.norm_eval=True \
#       --work-dir work_dirs/gcisg_mini_frozen_norm
start = dict(config="gcisg_mini", overrides=["model.norm_eval=True"])
load_from = "work_dirs/gcisg_mini_frozen_norm/iter_210.pth"
train_dataloader = dict(
    drop_last=False, sampler=dict(type="SeededEpochSampler"),
    dataset=dict(dataset=dict(
        _delete_=True, type="SelfTrainingDataset", mix_source=True, target={{_base_.val_dataloader.dataset}},
        source={{_base_.train_dataloader.dataset.dataset}},
        pipeline={{_base_.train_dataloader.dataset.dataset.pipeline}},
    )),
)  # fmt: skip
train_cfg = dict(_delete_=True, type="EpochBasedTrainLoop", max_epochs=10, val_interval=10)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = None
model = dict(norm_eval=True)
custom_hooks = [dict(type="RegularizerHook"), dict(type="SelfTrainingHook")]
default_hooks = dict(checkpoint=dict(by_epoch=True, interval=1))
log_processor = dict(by_epoch=True)

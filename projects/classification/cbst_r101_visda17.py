_base_ = "baseline_r101_visda17.py"
# Self-training on VisDA's validation images without their labels (the paper's Table 8).
# First the model that it starts from, with frozen normalisation (4.5), in one of three methods:
#   python tools/train_net.py --config projects/classification/gcisg_r101_visda17.py model.norm_eval=True \
#       --work-dir work_dirs/gcisg_r101_visda17_frozen_norm
# likewise asg_r101_visda17.py and baseline_r101_visda17.py. tools/sweep.py trains `start` by itself.
start = dict(config="gcisg_r101_visda17", overrides=["model.norm_eval=True"])
load_from = "work_dirs/gcisg_r101_visda17_frozen_norm/iter_71430.pth"
train_dataloader = dict(
    persistent_workers=False, drop_last=False, sampler=dict(type="SeededEpochSampler"),
    dataset=dict(dataset=dict(
        _delete_=True, type="SelfTrainingDataset", mix_source=True, target={{_base_.val_dataloader.dataset}},
        source={{_base_.train_dataloader.dataset.dataset}},
        pipeline={{_base_.train_dataloader.dataset.dataset.pipeline}},
    )),
)  # fmt: skip
# The paper states neither the rate nor the number of epochs; the rate is the source model's.
train_cfg = dict(_delete_=True, type="EpochBasedTrainLoop", max_epochs=20, val_interval=1)
model = dict(norm_eval=True)
custom_hooks = [dict(type="RegularizerHook"), dict(type="SelfTrainingHook", start=0.2, step=0.05, end=0.5)]
default_hooks = dict(checkpoint=dict(by_epoch=True, interval=1))
log_processor = dict(by_epoch=True)

_base_ = "baseline_mini.py"
# Self-training (the paper's Table 8) on the dev half's images without their labels; test is not seen.
# tools/sweep.py trains `start` first; tools/train_net.py is given a trained model: load_from=work_dirs/.../iter_300.pth
start = dict(config="gcisg_mini", overrides=["model.norm_eval=True"])
train_dataloader = dict(
    drop_last=False,
    sampler=dict(type="SeededEpochSampler"),
    dataset=dict(
        dataset=dict(
            _delete_=True,
            type="SelfTrainingDataset",
            target={{_base_.val_dataloader.dataset}},
            source={{_base_.train_dataloader.dataset.dataset}},
            pipeline={{_base_.train_dataloader.dataset.dataset.pipeline}},
            mix_source=True,
        )
    ),
)
train_cfg = dict(_delete_=True, type="EpochBasedTrainLoop", max_epochs=10, val_interval=10)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = None
model = dict(norm_eval=True)
custom_hooks = [dict(type="RegularizerHook"), dict(type="SelfTrainingHook")]
default_hooks = dict(checkpoint=dict(by_epoch=True, interval=1))
log_processor = dict(by_epoch=True)

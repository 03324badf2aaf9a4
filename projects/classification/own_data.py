_base_ = ["_base_/visda17.py", "_base_/runtime.py"]
# The paper's recipe on a smaller network, with a shorter schedule, for your own data with one folder for each class;
# docs/your_data.md has the lines that a config of yours adds.
data = dict(download_hint="Give the folder that holds one folder of images for each class")
train_dataloader = dict(num_workers=4, dataset=dict(dataset=data))
val_dataloader = dict(num_workers=4, dataset=dict(**data, absent_classes="name"))  # its figures are of the others
test_dataloader = val_dataloader
train_cfg = dict(max_iters=10_000, val_interval=1_000)
model = dict(backbone="resnet50")

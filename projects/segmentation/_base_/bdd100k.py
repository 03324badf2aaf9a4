# BDD100K val as the target, at its own 1280 x 720.
_base_ = "cityscapes.py"
bdd100k_val = dict(type="BDD100KLabelIdsDataset", data_root="{{$GCISG_DATA:data}}/bdd100k", split="val")
val_dataloader = dict(dataset=bdd100k_val)
test_dataloader = val_dataloader

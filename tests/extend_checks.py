"""What the diffs of docs/extend.md add is run by these programs; see test_extend_document.py."""

POOLING = """
import torch
from gcisg_core.losses import guidance_loss
from gcisg_core.pooling import POOLINGS
maps = torch.rand(2, 3, 4, 5, requires_grad=True)
pooled = POOLINGS["generalised_mean"](maps)
assert torch.allclose(pooled, maps.pow(3).mean(dim=(2, 3)).pow(1 / 3)), pooled
guidance_loss(maps, torch.rand(2, 3, 4, 5), "generalised_mean").backward()
assert maps.grad.abs().sum() > 0
"""
METHOD = """
import torch
from gcisg_cls.classifier import SynToRealClassifier
settings = {"method": "consistency", "lambda_consistency": 2.0}
model = SynToRealClassifier("mini_resnet", num_classes=3, regularizer=settings).eval()
views = [torch.rand(4, 3, 32, 32) for _ in range(2)]
losses = model(views, torch.tensor([0, 1, 2, 0]), mode="loss")
first, second = (model.backbone(view) for view in views)  # the pooled features of stage 4
expected = 2 * sum(((a - b) ** 2).sum() for a, b in zip(first, second)) / 4
assert torch.allclose(losses["loss_consistency"], expected, rtol=1e-4), losses
losses["loss_consistency"].backward()
assert model.backbone.conv1.weight.grad.abs().sum() > 0
"""
METRIC = """
import numpy as np
import torch
from gcisg_cls.classifier import SynToRealClassifier
from gcisg_cls.model_metrics import evaluate
from gcisg_suite.analysis.page import HEADS, metric_rows
class Images:
    classes = ("a", "b", "c")
    def __len__(self):
        return 5
    def __getitem__(self, index):
        pixels = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(index))
        return {"inputs": 255 * pixels, "label": index % 3}
torch.manual_seed(0)
result = evaluate(SynToRealClassifier("mini_resnet", num_classes=3, regularizer={"method": "none"}), Images())
features = result.sample.rows.double().numpy()
shares = np.linalg.svd(features - features.mean(0), compute_uv=False)
shares = shares[shares > 1e-12 * shares.max()] / shares.sum()
expected = np.prod(shares ** -shares)
assert abs(result.values["effective_rank"] - expected) < 1e-6, (result.values, expected)
assert 1 < expected < 5
assert ["effective rank", f"{expected:.4f}"] in metric_rows({"": result.values}, HEADS)
"""
FORMAT = """
import json
import pathlib
import gcisg_det
from detectron2.data import DatasetCatalog, MetadataCatalog
from gcisg_core.problems import DataError
from gcisg_det.config import read_config
from gcisg_det.datasets import class_ids, setup_datasets
from gcisg_det.engine import Trainer
from PIL import Image
root = pathlib.Path("my/yolo")
for part in ("images", "labels"):
    (root / part).mkdir(parents=True)
(root / "classes.txt").write_text("car\\nbus\\n")
Image.new("RGB", (40, 20)).save(root / "images/a.jpg")
Image.new("RGB", (40, 20)).save(root / "images/b.jpg")
(root / "labels/a.txt").write_text("1 0.5 0.5 0.25 0.5\\n")
data = {"OWN": [["mine", "yolo", "my/yolo"]], "TRAIN": ["mine"], "TEST": ["mine"]}
config = {"DATASETS": data, "DATALOADER": {"NUM_WORKERS": 0}, "MODEL": {"ROI_HEADS": {"NUM_CLASSES": 2}}}
pathlib.Path("yolo.yaml").write_text(json.dumps(config))
cfg = read_config("yolo.yaml")
setup_datasets(cfg)
assert class_ids(cfg) == {"car": 0, "bus": 1}
first, second = DatasetCatalog.get("mine")
assert [(item["category_id"], item["bbox"]) for item in first["annotations"]] == [(1, [15, 5, 10, 10])], first
assert second["annotations"] == []
assert [inputs["image_id"] for (inputs,) in Trainer.build_test_loader(cfg, "mine")] == [0, 1]
truth = Trainer.build_evaluator(cfg, "mine")._coco_api.dataset
assert [(item["bbox"], item["category_id"]) for item in truth["annotations"]] == [([15, 5, 10, 10], 1)], truth
(root / "labels/b.txt").write_text("2 0.5 0.5 0.25 0.5\\n")
try:
    DatasetCatalog.get("mine")
    raise AssertionError("a class that does not exist was read")
except DataError as error:
    assert "labels/b.txt: has the line '2 0.5" in str(error), error
"""
TASK = """
import contextlib, io, pathlib, runpy
from unittest import mock
import numpy as np
import setuptools
from PIL import Image
from gcisg_suite.cli import main
from gcisg_suite.zoo.zoo import load_and_evaluate

def gcisg(command):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main(command.split())
            return 0, said.getvalue()
        except SystemExit as stop:
            return stop.code, f"{said.getvalue()}{stop.code}"

for part in ("synthetic", "real"):
    folder = pathlib.Path("data/counts") / part
    folder.mkdir(parents=True)
    for count in range(4):
        pixels = np.zeros((12, 16, 3), np.uint8)
        pixels[4:8, : 4 * count] = 255
        Image.fromarray(pixels).save(folder / f"{count}_squares.png")
(fault := pathlib.Path("data/counts/real/some.png")).touch()
code, said = gcisg("audit --dataset counts --root data/counts/real")
assert code == 1 and "some.png: its name does not begin with a count" in said, said
fault.unlink()
code, said = gcisg("audit --dataset counts --root data/counts/real")
assert code == 0 and "found: images 4" in said, said

config = "projects/counting/baseline_mini.py"
four = "train_cfg.max_iters=4 default_hooks.checkpoint.interval=4 default_hooks.logger.interval=1"
for method in ("none", "consistency"):  # the second is this document's; it needs two views, and the config one word
    own = f"experiment_name={method} model.regularizer.method={method}"  # in one second, mmengine would mix the runs
    code, said = gcisg(f"train --config {config} {own} {four} --output runs/{method}")
    assert code == 0, said
assert "loss_consistency" in next(pathlib.Path("runs/consistency").glob("*/vis_data/scalars.json")).read_text()
code, said = gcisg(f"eval --config {config} --checkpoint runs/none/iter_4.pth --output runs/eval")
assert code == 0, said
error = load_and_evaluate(config, "runs/none/iter_4.pth")["count/error"]  # as `gcisg zoo` does
assert 0 < error < 4, error
code, said = gcisg("report runs/none runs/consistency --output runs/report.html")
assert code == 0, said
assert "Counting" in pathlib.Path("runs/report.html").read_text()

code, said = gcisg("doctor")
assert ["ok", "counting", "mmengine"] in [line.split()[:3] for line in said.splitlines()], said
code, said = gcisg(f"predict --config {config} --checkpoint runs/none/iter_4.pth --output out data/counts/real")
assert "the task counting does not offer this" in said and "'predictor'" in said, said
pathlib.Path("grid.yaml").write_text("{task: counting, variants: {A: {config: baseline_mini}}}")
code, said = gcisg("sweep --sweep grid.yaml")
assert "does not offer this" in said and "'mini'" in said, said
for command in ("demo --tasks", "prepare --tasks", "new-project --task"):
    code, said = gcisg(f"{command} counting")
    assert code == 2 and "classification" in said, said
with mock.patch.object(setuptools, "setup") as setup:
    runpy.run_path("setup.py")
packed = setup.call_args.kwargs["package_dir"]
assert packed["gcisg_count"] == "projects/counting/gcisg_count", packed
assert packed["gcisg_configs.counting"] == "projects/counting", packed
"""
DATASET = """
import pathlib
import numpy as np
from PIL import Image
import gcisg_seg.registry
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
init_default_scope("mmseg")
for part, array in {"rgb": np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8),
                    "class": np.full((8, 9), 26, np.uint8)}.items():
    folder = pathlib.Path("synscapes/img") / part
    folder.mkdir(parents=True)
    Image.fromarray(array).save(folder / "1.png")
pipeline = [dict(type="LoadCheckedImage"), dict(type="LoadLabelIds"), dict(type="PackSegInputs")]
dataset = DATASETS.build(dict(type="SynscapesDataset", data_root="synscapes", split="all", pipeline=pipeline))
assert len(dataset) == 1
assert (dataset[0]["data_samples"].gt_sem_seg.data == 13).all()  # a car
"""
DETECTOR = """
import gcisg_det
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from gcisg_det.config import read_config
small = "MODEL.DEVICE cpu MODEL.RESNETS.RES2_OUT_CHANNELS 16 MODEL.RESNETS.WIDTH_PER_GROUP 4 MODEL.FPN.OUT_CHANNELS 8"
small += " MODEL.RETINANET.NUM_CONVS 1 REGULARIZER.QUEUE_LENGTH 32"
config = read_config("projects/detection/gcisg_retinanet_r50.yaml", small.split())
model = build_model(config).train()
boxes = Boxes(torch.tensor([[8.0, 8, 72, 72]]))
truth = Instances((96, 128), gt_boxes=boxes, gt_classes=torch.zeros(1, dtype=torch.int64))
image = torch.randint(0, 256, (3, 96, 128), dtype=torch.uint8)
with EventStorage():
    losses = model([{"image": image, "instances": truth, "height": 96, "width": 128}] * 2)
wanted = {"loss_cls", "loss_box_reg", *(f"loss_{term}_stage{stage}" for term in ("ci", "guidance") for stage in (3, 4))}
assert losses.keys() == wanted, losses
sum(losses.values()).backward()
"""
SEGMENTOR = """
import torch
import gcisg_seg.registry
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
init_default_scope("mmseg")
head = dict(type="FCNHead", in_channels=64, in_index=3, channels=8, num_convs=1, num_classes=3)
model = MODELS.build(dict(
    type="SynToReal", parent="DepthEstimator", decode_head=head, train_cfg=dict(), test_cfg=dict(mode="whole"),
    backbone=dict(type="ResNet", depth=18, stem_channels=8, base_channels=8, norm_cfg=dict(type="BN")),
    regularizer=dict(method="gcisg", queue_length=32),
)).train()
assert type(model).__mro__[2].__name__ == "DepthEstimator", type(model).__mro__
samples = [SegDataSample(gt_sem_seg=PixelData(data=torch.randint(3, (1, 64, 64)))) for _ in range(2)]
terms = model.loss([torch.rand(2, 3, 64, 64) for _ in range(2)], samples)
assert {"decode.loss_ce", "loss_ci_stage3", "loss_guidance_stage4"} <= terms.keys(), terms
sum(value for name, value in terms.items() if "loss" in name).backward()
assert model.backbone.conv1.weight.grad.abs().sum() > 0
"""
NEW_PROJECT = """
import pathlib
import numpy as np
from PIL import Image
from gcisg_suite.cli import main
from gcisg_suite.coco.load import load_coco
for name in ("syn", "real"):
    root = pathlib.Path("tables") / name
    root.mkdir(parents=True)
    for key in range(2):
        pixels = np.random.default_rng(key + 10 * len(name)).integers(0, 256, (20, 40, 3), np.uint8)
        Image.fromarray(pixels).save(root / f"{key}.png")
    (root / "boxes.csv").write_text("file,class,x1,y1,x2,y2\\n0.png,car,1,2,11,12\\n0.png,bus,5,5,9,9\\n")
command = "new-project --task detection --synthetic tables/syn --real tables/real --output tables/out --workers 1"
try:
    main(command.split())
except SystemExit as end:
    assert not end.code, end.code
data = load_coco("tables/out/data/real/annotations.json", "tables/real")
assert data.classes == ["bus", "car"], data.classes
assert [item["bbox"] for item in data.annotations] == [[1, 2, 10, 10], [5, 5, 4, 4]], data.annotations
"""
# In one process, those of MMSegmentation last: they change what names of mmengine's registry mean.
CHECKS = {
    "pooling": POOLING, "method": METHOD, "metric": METRIC, "detector": DETECTOR, "format": FORMAT, "task": TASK,
    "new-project": NEW_PROJECT, "data set": DATASET, "segmentor": SEGMENTOR,
}  # fmt: skip

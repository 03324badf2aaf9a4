"""The training command of every row of the zoo is started: one iteration, on tiny folders in the official layouts."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from gcisg_cls.datasets import VISDA17_CLASSES
from gcisg_core.integrations.mmengine import load_config
from gcisg_suite.cli import main
from gcisg_suite.miniature import scenes
from gcisg_suite.miniature.network import MiniResNet
from tests.classification.conftest import CLASS_NAMES, write_images
from tests.classification.conftest import TINY as CLASSIFICATION_MINI
from tests.detection import scenes as boxes
from tests.methods import settings_of, write_styles
from tests.segmentation.conftest import SIZE, _save

ROOT = Path(__file__).parents[2]
MODELS = {model["Name"]: model for model in yaml.safe_load((ROOT / "zoo/metafile.yml").read_text())["Models"]}
SHORT = ["train_cfg.max_iters=1", "train_cfg.val_interval=1", "default_hooks.logger.interval=1",
         "train_dataloader.batch_size=2"]  # fmt: skip
LOADERS = [f"{part}_dataloader.{key}" for part in ("train", "val", "test")
           for key in ("num_workers=0", "persistent_workers=False")]  # fmt: skip
IMAGES = "train_dataloader.dataset.dataset"
VIEW = [f"{key}.pipeline.size=32" for key in (IMAGES, "val_dataloader.dataset")]
# What makes a row's model small enough for one iteration on a CPU in a second: (task, "mini" or "paper") -> overrides.
SHRUNK = {
    ("classification", "mini"): [*CLASSIFICATION_MINI, *SHORT],
    ("classification", "paper"): ["model.backbone=resnet18", "model.weights=None", *SHORT, *LOADERS, *VIEW],
    ("segmentation", "mini"): SHORT,
    ("segmentation", "paper"): [
        "model.backbone.depth=18", "model.backbone.stem_channels=8", "model.backbone.base_channels=8",
        "model.backbone.init_cfg=None", "model.decode_head.in_channels=64", *SHORT, *LOADERS,
    ],
    ("detection", "mini"): ["SOLVER.MAX_ITER", "1", "SOLVER.STEPS", "()", "SOLVER.IMS_PER_BATCH", "2"],
    ("detection", "paper"): [*map(str, boxes.TINY), "SOLVER.MAX_ITER", "1", "SOLVER.STEPS", "()"],
}  # fmt: skip
# Of mmseg's heads; that of CSG's code has one width.
HEADS = ["model.decode_head.channels=8", "model.auxiliary_head.in_channels=32", "model.auxiliary_head.channels=8"]
# The same of self-training, which goes by epochs over two sets; a part of one image is none, so all are labelled.
EPOCH = ["train_cfg.max_epochs=1", "train_cfg.val_interval=1", "default_hooks.logger.interval=1",
         "train_dataloader.batch_size=2", "custom_hooks.1.start=1.0", "custom_hooks.1.end=1.0"]  # fmt: skip
SETS = [f"{IMAGES}.target", f"{IMAGES}.source", "val_dataloader.dataset", "test_dataloader.dataset"]
SELF_TRAINING = {
    "mini": ["model.num_classes=3", *(f"{key}.classes={CLASS_NAMES}" for key in SETS), *EPOCH],
    "paper": [
        "model.backbone=resnet18", "model.weights=None", *LOADERS, *EPOCH,
        *(f"{key}.pipeline.size=32" for key in (IMAGES, *SETS)),
    ],
}  # fmt: skip


def files_of(config, task, folder):
    """Overrides with the files that a method of the paper's scale needs besides its data."""
    if config.startswith("asg_") and not config.endswith("_mini"):
        channels = {"classification": 512, "segmentation": 64}[task]
        return [f"model.regularizer.classifier={settings_of('asg', folder, channels)['classifier']}"]
    if config.startswith("drpc_"):
        return [f"model.data_preprocessor.photometric.styles.folder={write_styles(folder / 'styles')}"]
    if config.startswith("isw_") and not config.endswith("_mini"):
        heads = ["model.decode_head.in_channels=256", "model.auxiliary_head.in_channels=128"]
        return ["model.backbone.depth=50", *heads]  # its whitened layers are those of this depth
    return []


def pairs(image, label, values, count=2):
    """Random images and labels with `values` values, `{}` their number."""
    rng = np.random.default_rng(0)
    for number in range(count):
        _save(Path(str(image).format(number)), rng.integers(0, 256, (*SIZE, 3), np.uint8))
        _save(Path(str(label).format(number)), rng.integers(0, values, SIZE, np.uint8))


def classification_data(root):
    for seed, part in enumerate(["source", "dev", "test"]):
        write_images(root / "mini" / "classification" / part, seed=seed)
    torch.save(MiniResNet(num_classes=3).state_dict(), root / "mini" / "reference.pth")
    rng = np.random.default_rng(0)
    for part in ("train", "validation"):
        for name in VISDA17_CLASSES:
            (root / "visda17" / part / name).mkdir(parents=True)
            Image.fromarray(rng.integers(0, 256, (36, 36, 3), np.uint8)).save(root / f"visda17/{part}/{name}/0.png")


def segmentation_data(root):
    pairs(root / "gta5/images/{:05d}.png", root / "gta5/labels/{:05d}.png", 34)
    city = root / "cityscapes"
    image, label = "leftImg8bit/val/ulm/ulm_{}_leftImg8bit.png", "gtFine/val/ulm/ulm_{}_gtFine_labelIds.png"
    pairs(city / image, city / label, 34)
    pairs(root / "bdd100k/images/10k/val/{}.jpg", root / "bdd100k/labels/sem_seg/masks/val/{}.png", 19)
    pairs(root / "mapillary/validation/images/{}.jpg", root / "mapillary/validation/v1.2/labels/{}.png", 66)
    scenes.prepare(root / "mini" / "scenes", train_scenes=4, eval_scenes=1, progress=False)
    torch.save(MiniResNet(num_classes=81, seed=1).state_dict(), root / "mini" / "reference.pth")


def detection_data(root):
    boxes.make_sim10k(root, 4)
    boxes.make_cityscapes(root, boxes.SCENES[:1])
    scenes.prepare(root / "mini" / "scenes", train_scenes=4, eval_scenes=5, progress=False)
    torch.save(MiniResNet(num_classes=81, seed=1).state_dict(), root / "mini" / "reference.pth")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Task -> its folder of data sets; each is made once."""
    made = {}

    def folder(task):
        if task not in made:
            made[task] = tmp_path_factory.mktemp(task)
            makers = [classification_data, segmentation_data, detection_data]
            {maker.__name__.partition("_")[0]: maker for maker in makers}[task](made[task])
        return made[task]

    return folder


def train(arguments, config, task, folder):
    """`tools/train_net.py` with the arguments, its model made small; the checkpoint that it leaves."""
    scale = "mini" if config.endswith("_mini") else "paper"
    overrides = SHRUNK[task, scale]
    if (task, scale) == ("segmentation", "paper") and not config.startswith(("csg_r", "asg_in_csg_r")):
        overrides = [*overrides, *HEADS]
    if config.startswith("cbst"):
        start = load_config(str(ROOT / f"projects/{task}/{config}.py"), []).start
        first = ["--config", f"projects/{task}/{start.config}.py", *start.overrides]
        overrides = [*SELF_TRAINING[scale], f"load_from={train(first, start.config, task, folder / 'start')}"]
    if config.startswith(("gcisg", "csg")):
        queue = ["REGULARIZER.QUEUE_LENGTH", "8"] if task == "detection" else ["model.regularizer.queue_length=8"]
        overrides = [*overrides, *queue]
    overrides = [*overrides, *files_of(config, task, folder)]
    main(["train", *arguments, "--work-dir", str(folder), "--", *overrides])
    last = "model_final" if task == "detection" else "epoch_1" if config.startswith("cbst") else "iter_1"
    return folder / f"{last}.pth"


@pytest.mark.parametrize("name", MODELS)
def test_the_command_of_the_row_trains(name, data, tmp_path, monkeypatch):
    task, _, config = name.partition("/")
    monkeypatch.setenv("GCISG_DATA", str(data(task)))
    monkeypatch.chdir(ROOT)
    program, script, *arguments = shlex.split(MODELS[name]["Command"])
    assert (program, script) == ("python", "tools/train_net.py")
    assert train(arguments, config, task, tmp_path).is_file()
    (log,) = tmp_path.glob("metrics.json" if task == "detection" else "2*/vis_data/scalars.json")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    losses = {key: value for line in lines for key, value in line.items() if "loss" in key}
    assert losses
    assert np.isfinite(list(losses.values())).all()
    assert config.startswith("gcisg") == any("guidance_stage4" in key for key in losses)

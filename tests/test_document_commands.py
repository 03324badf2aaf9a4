"""Every command and config of the documents a new user reads first, run as written but for what makes it small.

What is started dry or asked for its help only stands in RULES with the reason; a command without a rule fails the test.
docs/your_data.md has tests of its own, test_own_data.py; here are the commands of its text.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from packaging.requirements import Requirement
from safetensors.torch import save_file

from gcisg_suite import gallery
from gcisg_suite.miniature.network import MiniResNet
from tests.classification.conftest import TINY as TINY_CLASSIFICATION
from tests.classification.conftest import write_images
from tests.detection.scenes import TINY as TINY_DETECTION
from tests.documents import ROOT, blocks, commands, run
from tests.test_own_data import SMALL, make_classification, make_detection, make_segmentation

DOCUMENTS = ("README.md", "docs/start.md", "docs/install.md", "docs/your_model.md", "docs/data.md", "docs/faq.md",
             "docs/gpu.md", "docs/gallery.md", "docs/which_method.md")  # fmt: skip
DETECTION = [*map(str, TINY_DETECTION), "SOLVER.MAX_ITER", "2", "SOLVER.STEPS", "()", "REGULARIZER.QUEUE_LENGTH", "32"]


def dry(command: str) -> None:
    """Make's plan: the commands would install a new environment, train for minutes or run all tests."""
    words = [word.replace("/your/env/bin/python", sys.executable).replace("/its/python", sys.executable)
             for word in shlex.split(command)]  # fmt: skip
    environment = {**os.environ, **dict(word.split("=") for word in words if "=" in word), "MAKEFLAGS": ""}
    goal = [word for word in words if "=" not in word][1:]
    process = subprocess.run(
        ["make", "-n", *goal], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    assert "python" in process.stdout


def metadata(command: str) -> None:
    """The package's metadata and the extra are built; nothing is fetched."""
    what = shlex.split(command)[-1]
    source = str(ROOT) + re.sub(r"^(\.|gcisg)", "", what)
    flags = ["--dry-run", "--no-deps", "--no-index", "--no-build-isolation", "--quiet", "--disable-pip-version-check"]
    process = subprocess.run(
        [sys.executable, "-m", "pip", "install", *flags, source], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    assert "does not provide the extra" not in process.stderr


def requirements(command: str) -> None:
    """Each line of the file is a requirement; nothing is fetched."""
    lines = [line.partition("#")[0].strip() for line in (ROOT / shlex.split(command)[-1]).read_text().splitlines()]
    assert [Requirement(line) for line in lines if line]


def shown(command: str) -> None:
    """Its help, without the environment that is set before it."""
    as_written("--help")(re.sub(r"^PYTHONPATH=\S+ ", "", command))


def wheels(command: str) -> None:
    """Into a folder of its own and from one that has nothing to fetch: the flags are right."""
    words = [word for word in shlex.split(command)[1:] if not word.endswith("*.whl")]
    words[words.index("--target") + 1] = "site"
    process = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert "You must give at least one requirement" in process.stderr, process.stderr


def flags(command: str) -> None:
    """Pip knows its flags; tests/test_package.py makes and installs the wheel."""
    subprocess.run([sys.executable, "-m", *shlex.split(command), "--help"], capture_output=True, check=True)


def as_written(*more: str) -> Callable[[str], None]:
    def execute(command: str) -> None:
        assert run(command, *more) == 0, command

    return execute


def evaluate(command: str) -> None:
    """Training was cut short, so its last checkpoint takes the documented name."""
    words = shlex.split(command)
    goal = Path(words[words.index("--checkpoint") + 1])
    newest = max(goal.parent.glob("iter_*.pth"), key=lambda path: path.stat().st_mtime)
    shutil.copy(newest, goal)
    as_written(*TINY_CLASSIFICATION)(command)


def export(command: str) -> None:
    """A checkpoint of a smaller network of the same kind, never trained, takes the documented name."""
    words = shlex.split(command)
    config, goal = (words[words.index(flag) + 1] for flag in ("--config", "--checkpoint"))
    Path(goal).parent.mkdir(parents=True)
    if config.endswith(".yaml"):
        import gcisg_det  # noqa: F401 - repairs Detectron2 0.5 before it is imported

        # isort: split
        from detectron2.modeling import build_model

        from gcisg_det.config import read_config

        torch.save({"model": build_model(read_config(config, DETECTION)).state_dict()}, goal)
        more = DETECTION
    else:
        from gcisg_cls.classifier import SynToRealClassifier

        model = SynToRealClassifier("resnet18", regularizer={"method": "gcisg", "queue_length": 32})
        torch.save({"state_dict": model.state_dict()}, goal)
        more = ["model.backbone=resnet18"]
    as_written(*more)(command)
    assert [path.suffix for path in Path("release").glob(f"{Path(config).stem}-*.pth")] == [".pth"]


def without_pages(command: str) -> None:
    """tests/test_gallery.py photographs a page; these are made by minutes of training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gallery, "PAGES", {})
        patch.setattr(gallery, "browser", lambda: "any")
        as_written()(command)


def own_config(command: str) -> None:
    """The losses of the method are in what it logged."""
    as_written()(command)
    folder = Path("work_dirs", Path(shlex.split(command)[-1]).stem)
    logs = [*folder.glob("metrics.json"), *folder.glob("*/vis_data/scalars.json")]
    terms = {f"loss_{term}_stage{stage}" for term in ("ci", "guidance") for stage in (3, 4)}
    assert terms <= set(re.findall(r'"(loss_\w+)"', logs[0].read_text()))


RULES: list[tuple[str, Callable[[str], None]]] = [
    (r"(\S+=\S+ )*make (setup|demo|test|test-fast|test-openmmlab|bench|docs|gpu|wheels)$", dry),
    # What they do is tested in tests/test_bench_gpu.py; the wheels are there after `make wheels`, which fetches them.
    (r"(PYTHONPATH=\S+ )?(gcisg bench gpu|python benchmarks/gpu\.py) ", shown),
    (r"python -m pip install --no-index", wheels),
    (r"pip install .*-r requirements/\w+\.txt$", requirements),
    (r"pip install ", metadata),
    (r"pip wheel ", flags),
    (r"python tools/(doctor\.py( --config my/project/segmentor\.py)?$|report\.py )", as_written()),
    (r"gcisg --(help|install-completion --help)$", as_written()),
    (r"gcisg [\w-]+$", as_written("--help")),  # named in the text
    (r"python tools/audit_data\.py --dataset class-folders", as_written("--workers", "1")),
    # Minutes of training or drawing; what they do is tested in tests/classification/test_mini.py and tests/miniature.
    (r"python tools/(demo|prepare_mini)\.py", as_written("--help")),
    (r"python tools/(train_net|new_project)\.py$", as_written("--help")),  # named in the text
    (r"python tools/gallery\.py$", without_pages),
    (r"python tools/sweep\.py .*--split test$", as_written("--dry-run")),
    (r"python tools/export\.py ", export),
    (r"python tools/train_net\.py .*_mini\.py .*--eval-only", evaluate),
    (r"python tools/predict\.py .*_mini\.py ", as_written("--overrides", *TINY_CLASSIFICATION)),
    (r"python tools/train_net\.py --config projects/classification/\w+_mini\.py", as_written(*TINY_CLASSIFICATION)),
    (r"python tools/train_net\.py --config my/project/(segmentor\.py|detector\.yaml)$", own_config),
    (
        r"python tools/train_net\.py --config my/project/gcisg\.py ",
        as_written(*(item for item in SMALL["classification"] if "backbone" not in item and "weights" not in item)),
    ),
]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder like a checkout's, with small data: the miniature, `my/` with class folders, and weights."""
    for name in ("projects", "tools"):
        (tmp_path / name).symlink_to(ROOT / name)
    for seed, part in enumerate(["source", "dev", "test", "reference/train", "reference/val"]):
        write_images(tmp_path / "data/mini/classification" / part, seed=seed)
    torch.manual_seed(0)
    torch.save(MiniResNet(num_classes=3).state_dict(), tmp_path / "data/mini/reference.pth")
    for seed, name in enumerate(("synthetic", "real")):
        make_classification(tmp_path / "my" / name, np.random.default_rng(seed))
    monkeypatch.setenv("GCISG_DATA", "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


# What a reader has already: plain configs of the frameworks, on small data.
MMSEG = """
default_scope = "mmseg"
pipeline = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"), dict(type="PackSegInputs")]
data = dict(
    type="BaseSegDataset", data_root="my/pairs", img_suffix=".png", metainfo=dict(classes=("road", "car", "person")),
    data_prefix=dict(img_path="images", seg_map_path="labels"), pipeline=pipeline,
)
train_dataloader = dict(batch_size=2, sampler=dict(type="InfiniteSampler"), dataset=data)
val_dataloader = dict(batch_size=1, sampler=dict(type="DefaultSampler"), dataset=dict(**data, test_mode=True))
val_evaluator = dict(type="IoUMetric")
train_cfg = dict(type="IterBasedTrainLoop", max_iters=2, val_interval=2)
val_cfg = dict(type="ValLoop")
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.01))
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(type="SegDataPreProcessor", bgr_to_rgb=True, size=(128, 128)),
    backbone=dict(
        type="ResNet", depth=18, stem_channels=8, base_channels=8, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)
    ),
    decode_head=dict(type="FCNHead", in_channels=64, in_index=3, channels=8, num_convs=1, num_classes=3),
    train_cfg=dict(), test_cfg=dict(mode="whole"),
)
"""
DETECTRON2 = """
MODEL:
  META_ARCHITECTURE: "RetinaNet"
  DEVICE: "cpu"
  WEIGHTS: ""
  BACKBONE: {NAME: "build_retinanet_resnet_fpn_backbone"}
  RESNETS: {OUT_FEATURES: ["res3", "res4", "res5"], RES2_OUT_CHANNELS: 32, STEM_OUT_CHANNELS: 8, WIDTH_PER_GROUP: 8}
  FPN: {IN_FEATURES: ["res3", "res4", "res5"], OUT_CHANNELS: 16}
  RETINANET: {NUM_CLASSES: 3, NUM_CONVS: 1}
DATASETS:
  COCO: [["mine", "my/boxes/annotations.json", "my/boxes/images"]]
  TRAIN: ("mine",)
  TEST: ("mine",)
INPUT:
  MIN_SIZE_TRAIN: (96,)
  MIN_SIZE_TEST: 96
SOLVER:
  MAX_ITER: 2
  STEPS: ()
  IMS_PER_BATCH: 2
DATALOADER: {NUM_WORKERS: 0}
"""


def add_what_a_reader_has(place, document):
    """The configs that the document's own build on, and its own, at the paths that they name first."""
    make_segmentation(place / "my/pairs", np.random.default_rng(0))
    make_detection(place / "my/boxes", np.random.default_rng(0))
    assert run("python tools/new_project.py --task classification --synthetic my/synthetic --real my/real "
               "--out my/project --workers 1") == 0  # fmt: skip
    torch.save(torchvision.models.resnext50_32x4d().state_dict(), place / "my/resnext50.pth")
    save_file(timm.create_model("convnext_atto").state_dict(), place / "my/convnext.safetensors")
    (place / "my/project/your_mmseg_config.py").write_text(MMSEG)
    (place / "my/project/your_detectron2_config.yaml").write_text(DETECTRON2)
    for block in blocks(document):
        first = block.text.partition("\n")[0]
        if first.startswith("# my/project/"):
            (place / first.removeprefix("# ")).write_text(block.text)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_runs(document, place):
    if document in ("README.md", "docs/your_model.md"):
        add_what_a_reader_has(place, document)
    found = list(dict.fromkeys(commands(document)))
    assert found
    for command in found:
        rule = next((rule for pattern, rule in RULES if re.match(pattern, command)), None)
        assert rule is not None, f"{document}: no rule says how `{command}` is run here; add one"
        rule(command)


def test_the_commands_in_the_text_of_your_data_run(place):
    inline = [command for command in commands("docs/your_data.md") if "my/project/gcisg.py train_cfg" in command]
    torch.save(torchvision.models.resnet18().state_dict(), place / "weights.pth")
    assert run("python tools/new_project.py --task classification --synthetic my/synthetic --real my/real "
               "--out my/project --workers 1") == 0  # fmt: skip
    for command in inline:
        as_written(*SMALL["classification"])(command)
    assert len(inline) == 1


def test_the_training_loop_runs():
    (code,) = (block.text for block in blocks("docs/your_model.md") if "build_regularizer" in block.text)
    scope: dict = {}
    exec(code, scope)
    assert {"loss_task", "loss_guidance_stage3", "loss_ci_stage4"} <= scope["losses"].keys()
    assert scope["regularizer"].queues["stage4"].features.requires_grad is False

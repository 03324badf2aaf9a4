"""An error of the data is one line on the screen, whatever process of the loader meets it."""

import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from gcisg_core.nonfinite import NonFiniteError
from gcisg_core.problems import DataError, worker_message
from gcisg_core.workers import end_workers
from gcisg_suite.cli import main
from gcisg_suite.commands.arguments import UsageError
from tests.test_own_data import COLOURS, MAKE

PROJECTS = Path(__file__).parents[1] / "projects"
SCHEDULE = "train_cfg = dict(max_iters=2, val_interval=2)\n"
SEGMENTATION = f"""\
_base_ = "{PROJECTS}/segmentation/baseline_mini.py"
metainfo = dict(classes={tuple(COLOURS)}, palette={[*COLOURS.values()]})
load = [dict(type="LoadCheckedImage"), dict(type="LoadClassLabels")]
own = dict(_delete_=True, type="ImageLabelDataset", metainfo=metainfo)
crop = [*load, dict(type="RandomCrop", crop_size=(64, 64)), dict(type="PackSegInputs")]
train_dataloader = dict(batch_size=2, dataset=dict(dataset=dict(**own, data_root="my/synthetic", pipeline=crop)))
whole = [*load, dict(type="PackSegInputs", meta_keys=("img_path", "seg_map_path", "ori_shape", "img_shape", "domain"))]
val_dataloader = dict(dataset=dict(**own, data_root="my/real", test_mode=True, pipeline=whole))
test_dataloader = val_dataloader
head = dict(num_classes=3, loss_decode=dict(class_weight=None))
model = dict(backbone=dict(weights=None), data_preprocessor=dict(size=(64, 64)), decode_head=head)
{SCHEDULE}"""
CLASSIFICATION = f"""\
_base_ = "{PROJECTS}/classification/baseline_mini.py"
classes = ("bird", "boat", "bus")
train_dataloader = dict(batch_size=2, dataset=dict(dataset=dict(root="my/synthetic", classes=classes)))
val_dataloader = dict(dataset=dict(root="my/real", classes=classes))
test_dataloader = val_dataloader
model = dict(num_classes=3, weights=None)
{SCHEDULE}"""
DETECTION = f"""\
_BASE_: "{PROJECTS}/detection/Base-mini.yaml"
MODEL: {{WEIGHTS: "", ROI_HEADS: {{NUM_CLASSES: 3}}}}
DATASETS:
  COCO: [["synthetic", "my/synthetic/annotations.json", "my/synthetic/images"],
         ["real", "my/real/annotations.json", "my/real/images"]]
  TRAIN: ("synthetic",)
  TEST: ("real",)
SOLVER: {{MAX_ITER: 2, STEPS: [1], IMS_PER_BATCH: 2, WARMUP_ITERS: 0}}
SEED: 3
"""
TASKS = {"classification": ("mine.py", CLASSIFICATION), "segmentation": ("mine.py", SEGMENTATION),
         "detection": ("mine.yaml", DETECTION)}  # fmt: skip


def train(task, workers, context=None):
    """Runs the command; returns what it ends with."""
    if task == "detection":
        overrides = ["DATALOADER.NUM_WORKERS", str(workers)]
    else:
        overrides = [f"train_dataloader.num_workers={workers}"]
        overrides += [f"train_dataloader.multiprocessing_context={context}"] if context else []
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--config", TASKS[task][0], "--output", "run", *overrides])
    assert not multiprocessing.active_children()  # nothing is left to the garbage collector, which is slow at it
    return str(stopped.value.code)


@pytest.fixture
def start_method():
    """Detectron2 leaves the way in which workers start to Python."""
    before = multiprocessing.get_start_method()
    yield lambda name: multiprocessing.set_start_method(name, force=True)
    multiprocessing.set_start_method(before, force=True)


@pytest.mark.parametrize("task", TASKS)
def test_a_damaged_image_is_one_line_with_any_workers(task, tmp_path, monkeypatch, capsys, start_method):
    for seed, name in enumerate(("synthetic", "real")):
        MAKE[task](tmp_path / "my" / name, np.random.default_rng(seed))
    for path in (tmp_path / "my/synthetic").rglob("*.png"):
        if path.parent.name != "labels":
            path.write_bytes(path.read_bytes()[:100])
    monkeypatch.chdir(tmp_path)
    Path(TASKS[task][0]).write_text(TASKS[task][1])
    alone = train(task, 0)
    assert alone.startswith("error: my/synthetic/")
    assert ".png: not a readable image (" in alone
    assert alone.endswith(". Copy or download it again, or remove it from the data set")
    assert "\n" not in alone
    assert train(task, 2) == alone
    if task == "detection":
        start_method("spawn")
    assert train(task, 1, "spawn") == alone

    shown = capsys.readouterr()
    screen = (shown.out + shown.err).splitlines()
    assert "Traceback" not in shown.out + shown.err
    assert len(screen) < 3 * 40, screen
    logged = "".join(path.read_text() for path in Path("run").rglob("*log*") if path.is_file())
    listing = "Running with full config" if task == "detection" else "Config:\n"
    assert listing in logged
    assert listing not in shown.out + shown.err


class Failing(Dataset):
    """Raises its error for every item."""

    def __init__(self, error):
        self.error = error

    def __len__(self):
        return 1

    def __getitem__(self, index):
        try:
            raise KeyError("the cause, which has a traceback of its own")
        except KeyError as cause:
            raise self.error from cause


ERRORS = [
    DataError("a b/c.png", "is wrong. Twice: here, and there", "Mend it. Or: remove it"),
    DataError("data.json annotation 3", "bbox is [0, 0, -1, 2]", "Remove it"),
    ValueError("num_classes is 3: expected 4"),
    ValueError("of two lines:\nDataError: no"),
    FileNotFoundError("a.png: no such file"),
    NonFiniteError("loss is nan; see record.pth"),
    UsageError("--root a: no such folder"),
]


@pytest.mark.parametrize(("error", "context"), [(ERRORS[0], "spawn"), *((error, "fork") for error in ERRORS)], ids=repr)
def test_class_and_message_come_out_of_a_worker_as_they_went_in(error, context):
    loader = DataLoader(Failing(error), num_workers=1, multiprocessing_context=context)
    with pytest.raises(type(error)) as raised:
        next(iter(loader))
    end_workers()
    assert type(raised.value) is type(error)
    assert worker_message(str(raised.value)) == str(error)
    if isinstance(error, DataError):
        assert str(raised.value) == str(error)
        assert str(raised.value.problem) == str(error.problem)
        assert raised.value.problem.file == error.problem.file


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_errors_can_be_pickled(error):
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.args) == (type(error), str(error), error.args)
    assert getattr(copy, "problem", None) == getattr(error, "problem", None)


def test_a_name_with_a_line_end_stays_on_one_line():
    assert str(DataError("a\nb.png", "is wrong", "Mend it")) == "a\\nb.png: is wrong. Mend it"


def test_other_texts_are_left_alone():
    for text in ("", "Caught a cold", "Caught ValueError in DataLoader worker process 0."):
        assert worker_message(text) == text

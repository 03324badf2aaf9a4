"""What messages about detection's data and configs tell people to do, done: each is provoked and followed."""

import re
import shutil
from pathlib import Path

import pytest

pytest.importorskip("detectron2")
import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

# isort: split

from gcisg_core.problems import DataError
from gcisg_det import custom_imports, lazy
from gcisg_det.audit import audit_cityscapes_boxes, audit_sim10k
from gcisg_det.config import read_config, read_run_config
from gcisg_det.datasets import cityscapes, sim10k
from gcisg_det.engine import Trainer
from tests.coco.files import each, make
from tests.detection.own_coco import config, write
from tests.detection.scenes import PROJECT, SCENES, framework_log, make_cityscapes, make_sim10k, voc_object
from tests.remedies import says


def written(name, text):
    """Writes a file with another content, and the one that it had."""
    kept = []

    def spoil(root):
        kept[:] = [(root / name).read_text()]
        (root / name).write_text(text)

    return spoil, lambda root: (root / name).write_text(kept[0])


def gone(name):
    return (lambda root: shutil.move(root / name, root / "away")), (
        lambda root: shutil.move(root / "away", root / name)
    )


def repeated(root):
    with (root / LIST).open("a") as file:
        file.write("0000001\n")


LIST = "ImageSets/Main/trainval10k.txt"
FRAME = "aachen/aachen_000000_000019_"
IMAGE = f"leftImg8bit/val/{FRAME}leftImg8bit.png"
SIM10K = "Unpack the annotations of Sim10k again"
LABELS = "Unpack gtFine_trainvaltest.zip again"
MISSING = "datasets/cityscapes.py: Download it again, or remove its label"
# What the message says to do, the data, how their folder is spoilt, and how the message is followed.
FOLDERS = [
    (SIM10K, "sim10k", *written("Annotations/0000002.xml", "<object>")),
    (SIM10K, "sim10k", *written(LIST, "")),
    ("Download the images and the annotations of Sim10k", "sim10k", *gone("JPEGImages")),
    ("Remove the repeated lines", "sim10k", repeated,
        lambda root: (root / LIST).write_text("\n".join(dict.fromkeys((root / LIST).read_text().split())))),
    ("Download the counterparts, or remove the files", "sim10k", lambda root: (root / "Annotations/spare.xml").touch(),
        lambda root: (root / "Annotations/spare.xml").unlink()),
    (LABELS, "cityscapes", *written(f"gtFine/val/{FRAME}gtFine_polygons.json", "{")),
    ("Download `leftImg8bit_trainvaltest.zip` and `gtFine_trainvaltest.zip`", "cityscapes", *gone("gtFine/val")),
    (MISSING, "cityscapes", *gone(IMAGE)),
    (MISSING, "cityscapes", lambda root: (root / IMAGE).unlink(),
        lambda root: [path.unlink() for path in root.glob(f"gtFine/val/{FRAME}*")]),
]  # fmt: skip


@pytest.mark.remedy(*FOLDERS)
@pytest.mark.parametrize(("words", "name", "spoil", "follow"), FOLDERS)
def test_official_downloads(tmp_path, words, name, spoil, follow):
    if name == "sim10k":
        folder, root, audit = make_sim10k(tmp_path, 3), tmp_path / "sim10k", audit_sim10k
    else:
        folder = root = make_cityscapes(tmp_path, [SCENES[0], SCENES[0]])
        audit = audit_cityscapes_boxes
    spoil(folder)
    found = audit(root, workers=1).problems
    assert found
    assert all(words.rpartition(".py: ")[2] in problem.remedy for problem in found)
    follow(folder)
    assert audit(root, workers=1).problems == []


@pytest.mark.remedy(
    "Nothing to do: the reader drops this box", "Nothing to do: the reader clips this box", "Nothing to do"
)
def test_boxes_that_ask_for_nothing(tmp_path, caplog):
    odd = voc_object((9, 9, 3, 3)) + voc_object((-9, 1, 9, 9))
    folder = make_sim10k(tmp_path, 2, {1: odd})
    assert [problem.remedy for problem in audit_sim10k(tmp_path / "sim10k", workers=1).problems] == [
        "Nothing to do: the reader drops this box", "Nothing to do: the reader clips this box"
    ]  # fmt: skip
    with framework_log(caplog):
        records = sim10k.load_sim10k(folder)
    assert "boxes, left out: 1, such as 0000001.xml (9.0, 9.0, 3.0, 3.0). Nothing to do" in caplog.text
    assert [item["bbox"] for item in records[1]["annotations"]] == [(0, 0, 9, 9)]


@pytest.mark.remedy("The test split has no labels: use train or val")
def test_a_split_without_labels(tmp_path):
    make_cityscapes(tmp_path, SCENES[1:2], split="test")
    folder = tmp_path / "cityscapes"
    with pytest.raises(DataError, match="none of 1 images has a car. The test split has no labels: use train or val"):
        cityscapes.load_cityscapes_cars(folder, "test")
    make_cityscapes(tmp_path / "more", SCENES[:1])
    assert len(cityscapes.load_cityscapes_cars(tmp_path / "more/cityscapes", "val")) == 1


@pytest.mark.remedy("{} has the classes {}, but {} has {}. Give both the same categories")
def test_data_sets_of_other_classes(tmp_path):
    make_sim10k(tmp_path, 2)
    content = make()
    content["categories"].pop()
    each("category_id", 1)(content)
    given = [
        "DATASETS.ROOT",
        str(tmp_path),
        "DATASETS.TEST",
        ("sim10k_trainval_car",),
        "MODEL.ROI_HEADS.NUM_CLASSES",
        1,
    ]

    def build():
        write(tmp_path, content, "synthetic")
        return Trainer.build_train_loader(config(tmp_path, *given, sets=("synthetic",)))

    with pytest.raises(ValueError, match="synthetic has the classes cup, but sim10k_trainval_car has car. Give both"):
        build()
    content["categories"][0]["name"] = "car"
    build()


BASE = PROJECT / "baseline_r50_fpn.yaml"
# What the message says to do, a config that provokes it, and the config after it was done.
YAMLS = [
    ("Name a config file, relative to this one", "_BASE_: none.yaml", "_BASE_: base.yaml"),
    ("Name one config", "_BASE_: [base.yaml]", "_BASE_: base.yaml"),
    ("Write KEY: VALUE lines, indented below their node", "MODEL: {RPN: 3}", "MODEL:\n  RPN:\n    NMS_THRESH: 0.5"),
    ("gcisg_det/custom_imports.py: Correct it", "CUSTOM_IMPORTS: own_code", 'CUSTOM_IMPORTS: ["own_code"]'),
    ("gcisg_det/custom_imports.py: Correct it", 'CUSTOM_IMPORTS: ["own_code:own"]',
        'CUSTOM_IMPORTS: ["own_code:add_it"]'),
    ("gcisg_det/custom_imports.py: Install the module, or start in its folder with PYTHONPATH=.",
        'CUSTOM_IMPORTS: ["own_code_elsewhere"]', 'CUSTOM_IMPORTS: ["own_code_elsewhere"]'),
]  # fmt: skip


@pytest.mark.remedy(*YAMLS)
@pytest.mark.parametrize(("words", "wrong", "right"), YAMLS)
def test_configs_of_detectron2(tmp_path, monkeypatch, words, wrong, right):
    for name in ("own_code", "own_code_elsewhere"):
        (tmp_path / f"{name}.py").write_text("def add_it(cfg):\n    cfg.OWN = 3\n")
    (tmp_path / "base.yaml").write_text(f"_BASE_: {BASE}\n")
    file = tmp_path / "own.yaml"
    file.write_text(wrong)
    if "Install" not in words:
        monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DataError) as raised:
        read_config(file)
    assert raised.value.problem.remedy == words.rpartition(".py: ")[2]
    monkeypatch.syspath_prepend(tmp_path)
    file.write_text(right)
    assert read_config(file).MODEL.RPN.NMS_THRESH > 0


@pytest.mark.remedy("Name such a class, derived from that Trainer instead of DefaultTrainer")
def test_a_trainer_of_another_class(tmp_path, monkeypatch):
    text = "from gcisg_det.engine import Trainer\n\n\nclass Wrong:\n    pass\n\n\nclass Own(Trainer):\n    pass\n"
    (tmp_path / "own_trainer.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DataError, match="of a class derived from gcisg_det.engine.Trainer. Name such a class"):
        custom_imports.trainer("own_trainer:Wrong", Trainer, "a.yaml")
    assert issubclass(custom_imports.trainer("own_trainer:Own", Trainer, "a.yaml"), Trainer)


@pytest.mark.remedy("gcisg_det/config.py: Add --trust if the run is your own, or name the config that you trained with")
def test_a_runs_config_that_imports_code(tmp_path, monkeypatch):
    (tmp_path / "own_run.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "config.yaml").write_text('CUSTOM_IMPORTS: ["own_run"]')
    with pytest.raises(DataError, match="Add --trust if the run is your own, or name the config that you trained with"):
        read_run_config(str(tmp_path / "config.yaml"))
    read_run_config(str(tmp_path / "config.yaml"), trust=True)
    read_config(str(tmp_path / "config.yaml"))


LAZY = re.sub(r"register_coco\(.*", "pass", Path(__file__).with_name("lazy_retinanet.py").read_text())
# What the message says to do, lines at the end of a LazyConfig, and lines after it was done.
PROGRAMS = [
    ("lazy/config.py: Correct it", "model.x = (", ""),
    ("lazy/config.py: Correct it", "undefined()", ""),
    ("The key has no effect: rename it, or remove it (del train.{})", "train['max_itr'] = 3", "train['max_iter'] = 3"),
    ("The key has no effect: rename it, or remove it (del train.{})", "train['clip_grad'] = dict(enabled=True)", None),
    ("Rename or remove it", "dataloader['train'].batch = 3", "dataloader['train'].total_batch_size = 3"),
    ("Rename or remove it", "dataloader['train'].batch = 3", ""),
]


@pytest.mark.remedy(*PROGRAMS)
@pytest.mark.parametrize(("words", "wrong", "right"), PROGRAMS)
def test_lazy_configs(tmp_path, words, wrong, right):
    file = tmp_path / "own.py"
    start = f"{LAZY}\nfrom omegaconf import OmegaConf\ntrain = OmegaConf.create(train)\n"
    file.write_text(start + wrong)
    with pytest.raises(DataError) as raised:
        lazy.read_config(str(file))
    remedy = raised.value.problem.remedy
    assert says(remedy, words.rpartition(".py: ")[2])
    removal = remedy.rpartition("(")[2].rstrip(")")  # as it is printed
    file.write_text(start + (f"{wrong}\n{removal}" if right is None else right))
    assert lazy.read_config(str(file)).train.seed == 3

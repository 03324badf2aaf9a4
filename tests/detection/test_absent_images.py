"""Images that are absent or of another size: named, and skipped in training where the config says so."""

import itertools

import pytest

pytest.importorskip("detectron2")
import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

# isort: split
from detectron2.data import DatasetCatalog

from gcisg_core.problems import DataError
from gcisg_det.audit import audit_cityscapes_boxes
from gcisg_det.datasets import cityscapes
from gcisg_det.engine import Trainer
from tests.coco.files import make
from tests.detection.own_coco import config, write
from tests.detection.scenes import SCENES, framework_log, make_cityscapes, make_sim10k, picture, tiny_config, voc_object


def test_images_of_cityscapes_that_are_missing_are_named(tmp_path):
    folder = make_cityscapes(tmp_path, SCENES)
    missing = sorted(folder.glob("leftImg8bit/val/*/*.png"))[0]
    missing.unlink()
    found = audit_cityscapes_boxes(folder, workers=1).problems
    assert [(problem.file, problem.what) for problem in found] == [(str(missing), "image missing")]
    for convention in cityscapes.CONVENTIONS:
        with pytest.raises(DataError, match=f"{missing}: image missing, one of 1 .* Download it again"):
            cityscapes.load_cityscapes_cars(folder, "val", convention)


MAKE = {
    "sim10k_trainval_car": lambda root: make_sim10k(root, 3, {key: voc_object((1, 1, 60, 60)) for key in range(3)}),
    "cityscapes_train_car_coco": lambda root: make_cityscapes(root, SCENES, split="train"),
}


@pytest.mark.remedy("In training, INPUT.ON_BAD_SAMPLE skip leaves them out")
@pytest.mark.parametrize("name", MAKE)
def test_training_does_without_absent_images_where_told(tmp_path, name, caplog):
    images = sorted(path for path in MAKE[name](tmp_path).rglob("*.[jp][pn]g") if "gtFine" not in path.parts)
    images[0].unlink()
    train = (tmp_path, tmp_path / "run", "DATASETS.TRAIN", (name,))
    for more in (["DATASETS.TEST", ()], ["DATASETS.TEST", (name,), "INPUT.ON_BAD_SAMPLE", "skip"]):
        tiny_config(*train, *more)
        with pytest.raises(DataError, match=f"{images[0]}: .* In training, INPUT.ON_BAD_SAMPLE skip leaves them out"):
            DatasetCatalog.get(name)
    tiny_config(*train, "DATASETS.TEST", (), "INPUT.ON_BAD_SAMPLE", "skip")
    with framework_log(caplog):
        records = DatasetCatalog.get(name)
    assert [record["file_name"] for record in records] == [*map(str, images[1:])]
    assert f"Skipped: 1 images of {images[0].parents[1 if 'sim10k' in name else 3]} do not exist" in caplog.text


def test_an_image_of_another_size_is_skipped_in_training_where_told(tmp_path, caplog):
    for name in ("synthetic", "real"):
        write(tmp_path, make(), name)
    picture(1, size=(60, 60)).save(tmp_path / "synthetic/2.png")
    with framework_log(caplog):
        loader = Trainer.build_train_loader(config(tmp_path, "INPUT.ON_BAD_SAMPLE", "skip"))
        used = {item["file_name"][-5:] for batch in itertools.islice(loader, 6) for item in batch}
    assert used == {"1.png", "3.png"}
    assert "2.png: is 60 x 60 pixels, " in caplog.text


def test_other_formats_of_own_data_do_without_them_too(tmp_path, caplog):
    images = sorted((make_sim10k(tmp_path, 3, {key: voc_object((1, 1, 60, 60)) for key in range(3)})).rglob("*.jpg"))
    images[0].unlink()
    own = [["mine", "sim10k", str(images[0].parents[1]), "trainval10k"]]
    train = ("DATASETS.OWN", own, "DATASETS.TRAIN", ("mine",), "DATASETS.TEST", ())
    tiny_config(tmp_path, tmp_path / "run", *train)
    with pytest.raises(DataError, match="In training, INPUT.ON_BAD_SAMPLE skip leaves them out"):
        DatasetCatalog.get("mine")
    tiny_config(tmp_path, tmp_path / "run", *train, "INPUT.ON_BAD_SAMPLE", "skip")
    assert [record["file_name"] for record in DatasetCatalog.get("mine")] == [*map(str, images[1:])]

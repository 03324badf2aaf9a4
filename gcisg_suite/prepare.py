"""Make the miniature benchmark: images, scenes, and the reference network that plays the role of ImageNet's."""

from __future__ import annotations

from collections.abc import Collection

from gcisg_suite.places import mini_root
from gcisg_suite.tasks import TASKS, load


def prepare(tasks: Collection[str]) -> None:
    """Make what these tasks need and what is missing, in `$GCISG_DATA/mini`."""
    steps = {what: door for name in tasks for what, door in TASKS[name].prepares.items()}
    for what, door in steps.items():
        print(f"{what}: {load(door)()}")


def images() -> object:
    """The images of classification, and those that Acc_IN is measured on."""
    from gcisg_suite.miniature.classification import prepare as prepare_images

    return prepare_images(mini_root() / "classification")


def scenes() -> object:
    """The scenes of segmentation and detection."""
    from gcisg_suite.miniature.scenes import prepare as prepare_scenes

    return prepare_scenes(mini_root() / "scenes")


def reference() -> object:
    """The shipped reference network, beside the data."""
    from gcisg_suite.miniature.reference import shipped_reference

    return shipped_reference(mini_root())


def references(count: int) -> None:
    """Make further reference networks, for experiments about them, of each task that has such."""
    for task in (task for task in TASKS.values() if "reference" in task.doors):
        for seed in range(1, count + 1):
            print(f"Another reference network: {task.door('reference')(seed)}")

"""What the subcommands share: a flag has the same name and meaning in all of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from gcisg_suite.places import did_you_mean, find_config
from gcisg_suite.tasks import framework_of


class UsageError(Exception):
    """The command line is wrong; the message names the flag."""


Config = Annotated[str, Parameter(help="A .py (mmengine) or .yaml (Detectron2) config.")]
Overrides = Annotated[str, Parameter(help="key=value (mmengine) or KEY VALUE (Detectron2) config overrides.")]
Device = Annotated[str | None, Parameter(help="cpu, cuda, cuda:1, ... (default: cuda if there is one).")]
Flag = Annotated[bool, Parameter(show_default=False)]
Several = Parameter(consume_multiple=True)  # `--flag A B C`


OWN = Parameter(group=Group("Your own data", sort_key=1))
SEGMENTATION = Parameter(group=Group("Your own data: segmentation", sort_key=2))
DETECTION = Parameter(group=Group("Your own data: detection", sort_key=3))


@Parameter(name="*")
@dataclass(frozen=True)
class DataOptions:
    """Describes your own data. Each option applies to some formats only; the defaults depend on the format.

    Attributes:
        classes: Names, or one file with one class on each line, `name` or `name R G B`.
        images: Name of the folder that holds the images (default: images). Not for classification.
        labels: Name of the folder that holds the label images (default: labels); for new-project, it may also be a
            COCO JSON file.
        image_suffix: Ending of the names of image files (default: that of any image format).
        label_suffix: Ending of the names of label files (default: that of any image format).
        num_classes: Number of classes N, if they have no names; their label values are 0 to N - 1.
        label_values: The value of each class in the label images, such as 0 255.
        reduce_zero_label: Label value 0 means no class, and 1 is the first class.
        ignore_index: A label value that means no class, in addition to 255.
        annotations: The COCO JSON file: a path, or its name in the folder.
    """

    classes: Annotated[list[str] | None, Several, OWN] = None
    images: Annotated[str | None, OWN] = None
    labels: Annotated[str | None, OWN] = None
    image_suffix: Annotated[str | None, SEGMENTATION] = None
    label_suffix: Annotated[str | None, SEGMENTATION] = None
    num_classes: Annotated[int | None, SEGMENTATION] = None
    label_values: Annotated[list[int] | None, Several, SEGMENTATION] = None
    reduce_zero_label: Annotated[Flag, SEGMENTATION] = False
    ignore_index: Annotated[int | None, SEGMENTATION] = None
    annotations: Annotated[Path | None, DETECTION] = None

    def given(self, allowed: Collection[str], where: str) -> dict[str, Any]:
        """The options that were given, by name.

        Args:
            allowed: The names that are allowed here.
            where: The flag that decides it, and its value.

        Raises:
            UsageError: an option is not allowed here, or a value is out of range.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        given = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
            if value is not None and value is not False
        }
        for name in sorted(given.keys() - {*allowed}):
            raise UsageError(f"--{name.replace('_', '-')} does not apply to {where}")
        if self.num_classes is not None and not 1 <= self.num_classes <= 254:
            raise UsageError(f"--num-classes {self.num_classes}: expected 1 to 254")
        return given


NOT_GIVEN = DataOptions()


def check_exists(flag: str, path: str | Path | None) -> None:
    """Refuse a given path that does not exist."""
    if path is not None and not Path(path).exists():
        raise UsageError(f"{flag} {path}: no such file or folder")


def check_file(flag: str, path: str | Path | None) -> None:
    """Refuse a given file that does not exist; for a config, name the one that may be meant."""
    if path is not None and not Path(path).is_file():
        raise UsageError(f"{flag} {path}: no such file{did_you_mean(str(path)) if flag == '--config' else ''}")


def check_folder(flag: str, path: Path) -> None:
    """Refuse an output folder if it, or a folder above it, is a file."""
    there = next((place for place in (path, *path.parents) if place.exists()), Path())
    if not there.is_dir():
        raise UsageError(f"{flag} {path}: {there} is a file; name a folder")


def check_at_least(flag: str, value: int, least: int = 1) -> None:
    """Refuse a number that is too small."""
    if value < least:
        raise UsageError(f"{flag} {value}: expected at least {least}")


def config_file(name: str) -> str:
    """The file of a config that one of the frameworks can read."""
    file = find_config(name)
    try:
        framework_of(file)
    except ValueError as error:
        raise UsageError(f"--config {error}{did_you_mean(file)}") from error
    check_file("--config", file)
    return file


def chosen_device(given: str | None) -> str:
    """The given device, or the best available one."""
    import torch

    return given or ("cuda" if torch.cuda.is_available() else "cpu")

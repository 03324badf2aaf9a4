"""The formats of detection data for `DATASETS.OWN`. Each format is a file with a reader, and a row here.

    DATASETS:
      OWN: [["my_val", "cityscapes", "my/streets", "val", "coco"]]  # name, format, the format's fields
      TEST: ("my_val",)

For COCO's JSON there is `DATASETS.COCO`: it is evaluated unchanged, while the truth of these formats is converted.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from detectron2.config import CfgNode

from gcisg_core.lookup import choose
from gcisg_core.problems import DataError

from .absent import skipped_sets
from .cityscapes import load_cityscapes_cars
from .sim10k import load_sim10k


class Format(NamedTuple):
    """A row of the table.

    Attributes:
        fields: The fields of an entry, after the name of the data set and the format.
        load: `(**fields)` -> Detectron2's data set dictionaries; raises `DataError`.
        classes: `(**fields)` -> the classes in the order of `category_id`; raises `DataError`.
        skips: Whether `load` also takes the argument `skips`, which skips missing images.
    """

    fields: tuple[str, ...]
    load: Callable[..., list[dict[str, Any]]]
    classes: Callable[..., Sequence[str]]
    skips: bool = False


def _cars(**_: str) -> list[str]:
    return ["car"]


FORMATS = {
    "sim10k": Format(("folder", "split"), load_sim10k, _cars, skips=True),
    "cityscapes": Format(("folder", "split", "convention"), load_cityscapes_cars, _cars, skips=True),
}


def own_formats(cfg: CfgNode) -> Iterator[tuple[str, functools.partial, dict[str, Any]]]:
    """Name, reader and metadata of each entry of `DATASETS.OWN`.

    Raises:
        ValueError: a format is unknown, or an entry does not have the fields of its format.
    """
    for entry in cfg.DATASETS.OWN:
        texts = isinstance(entry, list | tuple) and all(isinstance(item, str) for item in entry)
        row = choose(FORMATS, entry[1], "format in DATASETS.OWN") if texts and len(entry) > 1 else None
        if row is None or len(entry) != 2 + len(row.fields):
            expected = f"[name, format, {', '.join(row.fields)}]" if row else "[name, format, the format's fields]"
            raise ValueError(f"DATASETS.OWN has the entry {entry!r}, expected {expected}")
        fields = dict(zip(row.fields, entry[2:], strict=True))
        try:
            known = {"thing_classes": [*row.classes(**fields)]}
        except DataError:  # the data may be missing here, as prediction does not need them; the reader reports it
            known = {}
        skips = {"skips": entry[0] in skipped_sets(cfg)} if row.skips else {}
        yield entry[0], functools.partial(row.load, **fields, **skips), {**known, "convention": entry[1]}

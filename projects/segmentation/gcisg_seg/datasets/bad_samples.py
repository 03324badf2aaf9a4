"""Handles pairs that cannot be used."""

from __future__ import annotations

import logging
from typing import Any

from mmengine.logging import print_log

from gcisg_core.problems import DataError, Problem
from gcisg_seg.layouts import Found, Pair


class BadSamples:
    """Adds `on_bad_sample` to a data set of mmseg; put it before the data set in the bases of a class.

    Args:
        *args: Arguments of the data set.
        on_bad_sample: `"error"` stops at the first unusable pair and names it. `"skip"` logs a warning that names it
            and continues: images or labels without a counterpart are left out, and a pair that cannot be read is
            replaced by another sample. Evaluation never skips, as its result would belong to other images.
        **kwargs: Arguments of the data set.

    Raises:
        ValueError: the value is invalid, or it is "skip" in evaluation.
    """

    def __init__(self, *args: Any, on_bad_sample: str = "error", **kwargs: Any) -> None:
        if on_bad_sample not in ("error", "skip"):
            raise ValueError(f"on_bad_sample is {on_bad_sample!r}; expected 'error' or 'skip'")
        if on_bad_sample == "skip" and kwargs.get("test_mode"):
            raise ValueError("on_bad_sample='skip' is for training; fix or remove bad pairs before evaluating")
        self.on_bad_sample = on_bad_sample
        super().__init__(*args, **kwargs)

    def usable(self, found: Found) -> list[Pair]:
        """Log what is left out, and return the pairs. Raises `DataError`; with "skip", only if no pair is left."""
        for note in found.notes:
            print_log(str(note), logger="current")
        faults = found.problems + found.unpaired
        if self.on_bad_sample == "skip" and found.pairs and found.unpaired and not found.problems:
            names = ", ".join(problem.file for problem in found.unpaired[:3])
            more = ", ..." if len(found.unpaired) > 3 else ""
            text = f"Skipped: {len(found.unpaired)} files without a counterpart ({names}{more})"
            print_log(text, logger="current", level=logging.WARNING)
        elif faults:
            raise _first_of(faults)
        return found.pairs

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on one pair; None makes mmengine draw another sample."""
        try:
            return super().prepare_data(idx)  # type: ignore[misc]
        except DataError as error:
            if self.on_bad_sample == "error":
                raise
            print_log(f"Skipped: {error}", logger="current", level=logging.WARNING)
            return None


def _first_of(faults: list[Problem]) -> DataError:
    first = faults[0]
    more = f" (the first of {len(faults)} such faults)" if len(faults) > 1 else ""
    return DataError(first.file, first.what + more, f"{first.remedy}. `gcisg audit` lists every fault")

"""Images that training and evaluation share: identical files, and copies that were re-encoded, resized or brightened.

All pairs of 16 x 16 colour thumbnails are compared by their correlation, which is one matrix product. Hashes of 64 bits
(imagehash, imagededup) take as long, since decoding dominates, and call nearly all renders of one object on an empty
background equal. Here, such data raise the threshold: a pair is reported if it is ten times as close to equality as a
training image usually is to its nearest neighbour in the training data.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gcisg_core.problems import Problem
from gcisg_suite.audit.images import SHARED, Look, same_files
from gcisg_suite.progress import SLOW, Progress

MIN_CORRELATION = 0.98  # of a reported pair; JPEG of quality 30, half the size, noise of 8 grey levels: 0.994 and more
TIMES_CLOSER = 10  # a pair must be this many times closer than usual
MIN_DEVIATION = 4.0  # standard deviation in grey levels; thumbnails that vary less are not compared
ROWS = 256  # rows of the correlation matrix computed at a time
SAMPLE = 256  # training images whose nearest neighbour is searched


def shared_images(training: Sequence[Look | None], evaluation: Sequence[Look | None]) -> list[Problem]:
    """A problem for each evaluation image that is also in the training data, identical or nearly."""
    digests: dict[str, Look] = {item.digest: item for item in reversed(training) if item is not None}
    same = [item for item in evaluation if item is not None and not item.flat and item.digest in digests]
    copies = [problem for item in same for problem in same_files([digests[item.digest], item])]
    trained = {item.path for item in training if item is not None}
    twice = [
        Problem(item.path, "is also an image of the training data", "Evaluate on other images: name another folder")
        for item in same
        if item.path in trained
    ]
    return copies + twice + near_duplicates(training, evaluation)


def near_duplicates(training: Sequence[Look | None], evaluation: Sequence[Look | None]) -> list[Problem]:
    """A problem for each evaluation image that looks like a training image; identical files are reported elsewhere."""
    seen = [item for item in training if item is not None and not item.flat]
    asked = [item for item in evaluation if item is not None and not item.flat]
    if len(seen) < 2 or not asked:
        return []
    rows, others = _standardised(seen), _standardised(asked)
    chosen = np.linspace(0, len(seen) - 1, min(SAMPLE, len(seen))).astype(int)
    usual = float(np.median(_nearest(rows[chosen], rows, chosen)[1]))
    limit = max(MIN_CORRELATION, 1 - (1 - usual) / TIMES_CLOSER)
    return [
        Problem(
            item.path,
            f"looks like {seen[index].path} (correlation {value:.3f})",
            f"Compare them. {SHARED}",
            "looks like an image of the training data",
        )
        for item, index, value in zip(asked, *_nearest(others, rows), strict=True)
        if value > limit and item.digest != seen[index].digest
    ]


def _standardised(looks: Sequence[Look]) -> np.ndarray:
    """Thumbnails with mean 0 and norm 1, (N, 768), float32; zeros where an image varies too little."""
    rows = np.stack([np.frombuffer(item.thumbnail, np.uint8) for item in looks]).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    rows[lengths[:, 0] < MIN_DEVIATION * rows.shape[1] ** 0.5] = 0
    standardised: np.ndarray = rows / np.maximum(lengths, 1e-6)
    return standardised


def _nearest(rows: np.ndarray, among: np.ndarray, own: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """For each row, the most similar row of `among` and its correlation.

    Args:
        rows: (M, d), standardised.
        among: (N, d).
        own: (M,) index of each row itself in `among`, which is excluded.
    """
    indices, values = np.zeros(len(rows), int), np.zeros(len(rows), np.float32)
    with Progress("searching for near-duplicates", len(rows), "image", after=SLOW) as shown:
        for start in range(0, len(rows), ROWS):
            part = slice(start, start + ROWS)
            similar = rows[part] @ among.T
            if own is not None:
                similar[np.arange(len(similar)), own[part]] = -1
            indices[part] = similar.argmax(axis=1)
            values[part] = similar.max(axis=1)
            shown.reach(min(start + ROWS, len(rows)))
    return indices, values

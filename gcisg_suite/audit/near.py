"""Images that training and evaluation share: the same files, and copies that were encoded, resized or brightened anew.

Thumbnails of 16 x 16 colours are compared by their correlation, all with all, which is one product of matrices. Hashes
of 64 bits (imagehash, imagededup) take as long for what these tools look at, since decoding decides, and call nearly
all renders of one object on an empty ground equal. Here such data raise the limit themselves: a pair counts if it is
ten times as close to equality as a training image usually is to its nearest neighbour in training.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gcisg_core.problems import Problem
from gcisg_suite.audit.images import SHARED, Look, same_files

LEAST = 0.98  # correlation; JPEG of quality 30, half the size, noise of 8 grey levels: 0.994 and more
CLOSER = 10  # times
FAINT = 4.0  # grey levels of deviation; what varies less has no look to compare
ROWS = 256  # of the matrix at a time
SAMPLE = 256  # training images whose nearest neighbour is looked for


def shared_images(training: Sequence[Look | None], evaluation: Sequence[Look | None]) -> list[Problem]:
    """A line for each image of the evaluation that is in the training data as well, byte for byte or nearly."""
    digests: dict[str, Look] = {item.digest: item for item in reversed(training) if item is not None}
    same = [item for item in evaluation if item is not None and not item.flat and item.digest in digests]
    copies = [problem for item in same for problem in same_files([digests[item.digest], item])]
    trained = {item.path for item in training if item is not None}
    twice = [
        Problem(item.path, "is an image of the training data as well", "Evaluate on other images: name another folder")
        for item in same
        if item.path in trained
    ]
    return copies + twice + near_duplicates(training, evaluation)


def near_duplicates(training: Sequence[Look | None], evaluation: Sequence[Look | None]) -> list[Problem]:
    """A line for each image of the evaluation that looks like one of training; the same file has its line elsewhere."""
    seen = [item for item in training if item is not None and not item.flat]
    asked = [item for item in evaluation if item is not None and not item.flat]
    if len(seen) < 2 or not asked:
        return []
    rows, others = _standardised(seen), _standardised(asked)
    chosen = np.linspace(0, len(seen) - 1, min(SAMPLE, len(seen))).astype(int)
    usual = float(np.median(_nearest(rows[chosen], rows, chosen)[1]))
    limit = max(LEAST, 1 - (1 - usual) / CLOSER)
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
    """Thumbnails of mean 0 and length 1, (N, 768), float32; zeros where an image is faint."""
    rows = np.stack([np.frombuffer(item.thumbnail, np.uint8) for item in looks]).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    rows[lengths[:, 0] < FAINT * rows.shape[1] ** 0.5] = 0
    standardised: np.ndarray = rows / np.maximum(lengths, 1e-6)
    return standardised


def _nearest(rows: np.ndarray, among: np.ndarray, own: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Of each row the most similar of the others, and its correlation.

    Args:
        rows: (M, d), standardised.
        among: (N, d).
        own: (M,) the place of each row itself in `among`, which does not count.
    """
    indices, values = np.zeros(len(rows), int), np.zeros(len(rows), np.float32)
    for start in range(0, len(rows), ROWS):
        part = slice(start, start + ROWS)
        similar = rows[part] @ among.T
        if own is not None:
            similar[np.arange(len(similar)), own[part]] = -1
        indices[part] = similar.argmax(axis=1)
        values[part] = similar.max(axis=1)
    return indices, values

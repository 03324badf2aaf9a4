"""How long training on your own data takes: epochs of the data, within bounds."""

from __future__ import annotations

from dataclasses import dataclass

LEAST = 500  # iterations that fine-tuning needs, however few images there are
PARTS = 10  # evaluations, checkpoints


@dataclass(frozen=True)
class Schedule:
    """The length of a training.

    Attributes:
        images: Number of training images.
        batch: Images per iteration.
        epochs: How often each image should be seen.
        most: Most iterations, those of the recipe for large data.
    """

    images: int
    batch: int
    epochs: int
    most: int

    @property
    def iterations(self) -> int:
        """Those of the epochs, rounded to a multiple of ten, at least 500."""
        wanted = min(max(self.epochs * self.images / self.batch, LEAST), self.most)
        return round(wanted / PARTS) * PARTS

    @property
    def interval(self) -> int:
        """Iterations between two evaluations or checkpoints."""
        return self.iterations // PARTS

    def __str__(self) -> str:
        epochs = self.iterations * self.batch / max(self.images, 1)
        many = f"{epochs:,.0f}" if epochs >= 10 else f"{epochs:.1f}"
        length = f"{self.iterations} iterations of {self.batch} images, {many} epochs of {self.images} images"
        return f"{length}; a checkpoint every {self.interval}"

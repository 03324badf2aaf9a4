"""How long a training on data of your own is: epochs of the data, within bounds."""

from __future__ import annotations

from dataclasses import dataclass

LEAST = 500  # iterations; what a fine-tuning needs, however few the images are
PARTS = 10  # evaluations, checkpoints


@dataclass(frozen=True)
class Schedule:
    """The length of a training.

    Attributes:
        images: To train on.
        batch: Images of an iteration.
        epochs: Times that each image should be seen.
        most: Iterations, of the recipe for large data.
    """

    images: int
    batch: int
    epochs: int
    most: int

    @property
    def iterations(self) -> int:
        """A multiple of ten: those of the epochs, at least 500."""
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

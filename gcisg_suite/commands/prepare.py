"""`gcisg prepare`."""

from __future__ import annotations

from typing import Annotated

from gcisg_suite.commands.arguments import Several, check_at_least
from gcisg_suite.commands.demo import chosen_tasks


def prepare(*, tasks: Annotated[list[str] | None, Several] = None, references: int = 0) -> None:
    """Make the data of the miniature benchmark: images, scenes, and a reference network that stands in for ImageNet's.

    Existing files are kept. Results go to $GCISG_DATA/mini (default: data/mini).

    Args:
        tasks: Tasks to prepare (default: all whose framework is installed).
        references: Number of additional reference networks to make, for classification.
    """
    chosen = chosen_tasks(tasks, lambda task: bool(task.prepares))
    check_at_least("--references", references, 0)

    from gcisg_suite.prepare import prepare as prepare_all
    from gcisg_suite.prepare import references as prepare_references

    prepare_all(chosen)
    prepare_references(references)

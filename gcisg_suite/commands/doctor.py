"""`gcisg doctor`."""

from __future__ import annotations


def doctor() -> int:
    """Say what is installed for each task, what is missing or does not fit, and the command that mends it.

    Exit code 1 when something must be mended.
    """
    from gcisg_suite.doctor import examine

    return 1 if examine() else 0

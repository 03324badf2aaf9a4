"""`gcisg doctor`."""

from __future__ import annotations

from gcisg_suite.commands.arguments import Config, Flag, Overrides, UsageError, config_file


def doctor(*overrides: Overrides, config: Config | None = None, again: Flag = False) -> int:
    """List what is installed for each task, what is missing or incompatible, and the command that fixes it.

    With --config, it shows instead where the stages of the config's backbone are, and which of them each method reads:

        gcisg doctor --config projects/classification/gcisg_mini.py

    The exit code is 1 if something must be fixed.

    Args:
        again: Repeat the whole check, even if the last one found nothing wrong and no package, system library or driver
            has changed since.
    """
    if config is None:
        if overrides:
            raise UsageError(f"{overrides[0]}: overrides need --config")
        from gcisg_suite.doctor import examine

        return 1 if examine(again) else 0
    file = config_file(config)

    from gcisg_suite.student import describe

    for line in describe(file, list(overrides)):
        print(line)
    return 0

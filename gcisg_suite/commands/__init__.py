"""The subcommands of `gcisg`. Modules here import heavy packages only when the command runs."""

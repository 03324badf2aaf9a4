"""The subcommands of `gcisg`. A module here imports what is light; what it needs to run, once it runs."""

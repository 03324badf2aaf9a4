"""`gcisg zoo`."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

from gcisg_suite.commands.arguments import UsageError, check_file, check_folder

app = App(
    name="zoo",
    help="""The model zoo: list its models, download their files, and verify them.

For example:

    gcisg zoo list
    gcisg zoo show classification/gcisg_mini
    gcisg zoo verify
    gcisg zoo download classification/gcisg_mini --output weights

MODEL_ZOO.md shows the same models as a table; `gcisg zoo write` writes it from zoo/rows.yml.""",
)


@app.command(name="list")
def list_() -> None:
    """List every model, its metrics and its file."""
    from tabulate import tabulate

    from gcisg_suite.zoo.zoo import read_models, rows, zoo_folder

    print(tabulate(rows(read_models(zoo_folder())), headers=("model", "result", "checkpoint"), disable_numparse=True))


@app.command
def show(name: str, /) -> None:
    """Show everything about a model, including the command that trains it.

    Args:
        name: `<task>/<config>`.
    """
    import yaml

    from gcisg_suite.zoo.zoo import choose_model

    print(yaml.safe_dump(choose_model(name), sort_keys=False, allow_unicode=True, width=120), end="")


@app.command
def verify(*names: str) -> int:
    """Verify the checkpoints: check the hash, load strictly and, if the data exist, evaluate again.

    Args:
        names: Only these models (default: all that have a file).
    """
    from gcisg_suite.zoo.zoo import verify_all

    return verify_all(names)


@app.command
def download(name: str, /, *, output: Path = Path("weights"), base_url: str | None = None) -> None:
    """Download a checkpoint and verify its hash.

    Args:
        name: `<task>/<config>`.
        output: Folder to save the file in.
        base_url: Address of the files (default: the one in the metafile).
    """
    check_folder("--output", output)
    from gcisg_suite.zoo.zoo import choose_model
    from gcisg_suite.zoo.zoo import download as fetch

    print(fetch(choose_model(name), base_url, output))


@app.command
def write(*, pack: str | None = None, checkpoint: Path | None = None, log: Path | None = None, seed: int = 0) -> None:
    """Write the zoo's files, zoo/metafile.yml and MODEL_ZOO.md, or pack a trained checkpoint into it.

    For example:

        gcisg zoo write
        gcisg zoo write --pack classification/gcisg_mini \\
            --checkpoint iter_210.pth --log scalars.json

    Args:
        pack: `<task>/<config>` of the row that the checkpoint belongs to.
        checkpoint: A checkpoint of training.
        log: scalars.json or metrics.json of the run.
        seed: Seed of the run.
    """
    if pack and not (checkpoint and log):
        raise UsageError("--pack needs the files --checkpoint and --log")
    check_file("--checkpoint", checkpoint)
    check_file("--log", log)

    from gcisg_core.files import write_text
    from gcisg_suite.places import zoo_folder
    from gcisg_suite.zoo.write import add, contents

    if pack and checkpoint and log:
        add(zoo_folder(), pack, checkpoint, log, seed)
    for path, text in contents(zoo_folder()).items():
        write_text(path, text)
        print(path)

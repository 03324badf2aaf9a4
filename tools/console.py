"""The installed commands `gcisg-train`, ...: each runs the script of this folder as `python tools/...` does."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def _command(script: str) -> Callable[[], None]:
    def main() -> None:
        sys.path.insert(0, str(FOLDER))  # as for a script: some import each other
        runpy.run_path(str(FOLDER / script), run_name="__main__")

    return main


train = _command("train_net.py")
demo = _command("demo.py")
prepare = _command("prepare_mini.py")
audit = _command("audit_data.py")
sweep = _command("sweep.py")
export = _command("export.py")
analyze = _command("analyze.py")
predict = _command("predict.py")
doctor = _command("doctor.py")
zoo = _command("zoo.py")
new_project = _command("new_project.py")
report = _command("report.py")
select = _command("select_checkpoint.py")

"""Every sweep that is shipped, in miniature and on the papers' data: its configs exist and take its overrides."""

import copy
from functools import cache
from pathlib import Path

import pytest
from mmengine.config import Config

from gcisg_core.config import parse_settings
from gcisg_core.integrations import mmengine
from gcisg_core.regularizers import METHODS
from gcisg_suite.sweep import variants

PROJECTS = Path(__file__).parents[1] / "projects"
GRIDS = sorted(PROJECTS.glob("*/sweeps/*.yaml"))
# Asks why something happens in the miniature, or needs what only the miniature has.
MINIATURE_ALONE = {"ci", "references", "guidance", "joint", "detection/methods_weights"}


READ = cache(Config.fromfile)


def values_of(path, overrides, monkeypatch):
    """The method's settings of a config of either framework; reading each file once saves most of the time."""
    if path.suffix == ".yaml":
        from gcisg_det.config import read_config, regularizer_values

        return regularizer_values(read_config(path, overrides))
    monkeypatch.setattr(Config, "fromfile", lambda path, **_: copy.deepcopy(READ(path)))
    config = mmengine.load_config(str(path), overrides)
    if "start" in config:
        assert (path.parent / f"{config.start.config}.py").is_file()
    return dict(config.model.regularizer)


@pytest.mark.parametrize("scale", ["mini", "paper"])
@pytest.mark.parametrize("grid", GRIDS, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_each_variant_is_a_config_that_takes_its_overrides(grid, scale, monkeypatch):
    if scale == "paper" and MINIATURE_ALONE & {grid.stem, f"{grid.parts[-3]}/{grid.stem}"}:
        with pytest.raises(ValueError, match="miniature only"):
            variants.read_sweep(grid, scale)
        return
    task, found = variants.read_sweep(grid, scale)
    assert task == grid.parts[-3]
    for name, variant in found.items():
        assert variant.is_mini == (scale == "mini")
        path = PROJECTS / task / f"{variant.config}{variants.TASKS[task].suffix}"
        values = values_of(path, variant.overrides, monkeypatch)
        method = METHODS[values.pop("method")]
        assert parse_settings(method.settings_class, values), name

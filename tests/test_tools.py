"""The commands around training: doctor, Makefile, sweep."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from gcisg_core.shell import gcisg_command
from gcisg_suite import doctor, doctor_memory
from gcisg_suite.cli import main
from gcisg_suite.commands.sweep import parse_seeds
from gcisg_suite.tasks import TASKS
from tests.command import gcisg

ROOT = Path(__file__).parents[1]


def run(*command, code=0, **environment):
    process = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
        check=False,
    )
    assert process.returncode == code, process.stdout + process.stderr
    return process.stdout + process.stderr


class TestDoctor:
    @pytest.fixture(autouse=True)
    def memory(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))

    def test_finds_everything_in_place(self):
        output = run(sys.executable, "tools/doctor.py")
        assert "Everything is in place." in output
        assert {"classification", "segmentation", "detection"} <= set(output.split())

    def test_a_verdict_is_kept_until_something_changes(self, tmp_path, monkeypatch, capsys):
        looked = []
        healthy = [doctor.Check("all", "torch", "2.0", "")]
        monkeypatch.setattr(doctor, "_look", lambda: looked.append(1) or healthy)
        for _ in range(2):
            assert doctor.examine() == 0
            assert "ok    all  torch  2.0\n\nEverything is in place." in capsys.readouterr().out
        assert len(looked) == 1
        doctor.examine(again=True)
        (tmp_path / "site/some-1.0.dist-info").mkdir(parents=True)
        monkeypatch.syspath_prepend(tmp_path / "site")
        doctor.examine()
        assert len(looked) == 3
        doctor_memory.memory_file().write_text("no JSON")
        healthy.append(doctor.Check("all", "numpy", "none", "pip install numpy"))
        for _ in range(2):
            assert doctor.examine() == 1
        assert len(looked) == 5

    def test_names_what_is_missing_and_the_command_that_mends_it(self, tmp_path, monkeypatch):
        (tmp_path / "mmseg.py").write_text("raise ImportError('libGL.so.1 is missing')")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "mmseg", raising=False)
        ended = gcisg("doctor")
        assert ended.code == 1
        line = next(line for line in ended.out.splitlines() if line.startswith("FIX "))
        assert "mmseg" in line
        assert "libGL.so.1 is missing" in line
        assert "pip install -r requirements/frameworks.txt" in line
        assert "1 to fix; the last column says how." in ended.out


class TestMakefile:
    def test_an_environment_of_ones_own_is_used_and_nothing_installed(self):
        output = run("make", "--no-print-directory", "-n", "test", "PYTHON=/some/env/bin/python", MAKEFLAGS="")
        assert output.strip() == "/some/env/bin/python -m pytest -n 2 --dist worksteal"

    def test_the_fast_tests_are_the_core_and_the_methods_of_each_task(self):
        plan = run("make", "--no-print-directory", "-n", "test", "test-fast", "PYTHON=python", MAKEFLAGS="")
        every, command = plan.splitlines()
        assert command.startswith(every)
        paths = command.removeprefix(every).split()
        assert all((ROOT / path).exists() for path in paths)
        assert {"tests/core", *(f"tests/{task}" for task in TASKS)} <= {*paths, *(str(Path(p).parent) for p in paths)}

    def test_help_lists_the_commands(self):
        output = run("make", "help", MAKEFLAGS="")
        assert all(name in output for name in ("setup", "demo", "test", "test-fast", "lint", "bench"))


class TestSweep:
    @pytest.fixture
    def grid(self, tmp_path):
        path = tmp_path / "grid.yaml"
        path.write_text(
            "variants: {A: {config: baseline_mini, overrides: {x: 1}}, B: {config: gcisg_mini}}\n"
            "grid: {m.tau: [0.1, 0.2]}\n"
        )
        return path

    @pytest.fixture
    def sweep(self):
        from gcisg_suite.sweep import sweep

        return sweep

    def test_reads_variants_and_their_product(self, sweep, grid):
        assert sweep.read_sweep(grid) == ("classification", {
            "A, tau 0.1": ("baseline_mini", ["x=1", "m.tau=0.1"]),
            "A, tau 0.2": ("baseline_mini", ["x=1", "m.tau=0.2"]),
            "B, tau 0.1": ("gcisg_mini", ["m.tau=0.1"]), "B, tau 0.2": ("gcisg_mini", ["m.tau=0.2"]),
        })  # fmt: skip

    def test_overrides_are_written_as_the_framework_takes_them(self, sweep, grid):
        grid.write_text("task: detection\nvariants: {A: {config: a, overrides: {SEED: 3, X.Y: 0.5}}}\n")
        assert sweep.read_sweep(grid) == ("detection", {"A": ("a", ["SEED", "3", "X.Y", "0.5"])})

    def test_a_config_takes_the_place_of_the_grids(self, sweep, grid, tmp_path):
        own = tmp_path / "mine.py"
        grid.write_text("grid: {x: [1, 2]}\n")
        expected = {f"mine, x {x}": (str(tmp_path / "mine"), [f"x={x}"]) for x in (1, 2)}
        assert sweep.read_sweep(grid, config=own)[1] == expected
        ours = Path("projects/classification/gcisg_r101_visda17.py")
        grid.write_text("variants: {A: {config: baseline_mini, overrides: {x: 1}}, B: {config: baseline_mini}}\n")
        assert [v.config for v in sweep.read_sweep(grid, config=ours)[1].values()] == ["gcisg_r101_visda17"] * 2
        grid.write_text("variants: {A: {config: baseline_mini}, B: {config: gcisg_mini}}\n")
        with pytest.raises(ValueError, match="compares several configs"):
            sweep.read_sweep(grid, config=ours)

    def test_the_papers_scale_has_the_counterparts_and_what_the_file_replaces(self, sweep, grid):
        text = "variants: {A: {config: baseline_mini, overrides: {start.config: gcisg_mini, x: 1}}}\n"
        grid.write_text(text + "grid: {y: [1]}\npaper: {grid: {y: [2]}}\n")
        name, overrides = "baseline_r101_visda17", ["start.config=gcisg_r101_visda17", "x=1", "y=2"]
        assert sweep.read_sweep(grid, "paper")[1] == {"A, y 2": (name, overrides)}
        grid.write_text(text + "paper: false\n")
        with pytest.raises(ValueError, match="miniature only"):
            sweep.read_sweep(grid, "paper")

    def test_the_papers_data_have_no_dev_split(self, sweep, grid):
        with pytest.raises(SystemExit, match="only the miniature has a dev split"):
            main(["sweep", "--sweep", str(grid), "--scale", "paper", "--split", "dev", "--dry-run"])

    def test_a_misspelt_key_is_named(self, sweep, grid):
        grid.write_text("variant: {}")
        with pytest.raises(ValueError, match="Did you mean 'variants'"):
            sweep.read_sweep(grid)
        grid.write_text("task: detect\nvariants: {}")
        with pytest.raises(ValueError, match="Did you mean 'detection'"):
            sweep.read_sweep(grid)

    def test_missing_runs_are_printed_and_collected(self, sweep, grid, tmp_path, capsys, monkeypatch):
        measures = dict.fromkeys(sweep.TASKS["classification"].metrics, 50.0)
        line = json.dumps({"variant": "A, tau 0.1", "seed": 0, "dev": measures}) + "\n"
        out = tmp_path / "grid_dev.jsonl"
        out.write_text(line)
        main(["sweep", "--sweep", str(grid), "--dry-run"])
        said = capsys.readouterr()
        commands = [shlex.split(command) for command in said.out.splitlines()]
        before = "When all of these have ended, collect their results in the same folder: "
        (collect,) = re.findall(rf"^{before}.*(--sweep .*)\n$", said.err)
        main(["sweep", "--sweep", str(grid), "--dry-run", "--launcher", "local"])
        assert "--launcher local submits these as 3 jobs" in capsys.readouterr().err
        assert [command[command.index("--only") + 1] for command in commands] == [
            "A, tau 0.2", "B, tau 0.1", "B, tau 0.2",
        ]  # fmt: skip
        program, words = gcisg_command("sweep"), commands[0][commands[0].index("sweep") :]
        assert shlex.join(commands[0]) == f"{program} {shlex.join(words[1:])}"
        main([*words, "--dry-run"])
        (command,) = capsys.readouterr().out.splitlines()
        flags = ("--sweep", "--only", "--seeds", "--split", "--jobs")
        again = shlex.split(command)
        assert [again[again.index(flag) + 1] for flag in flags] == [str(grid), "A, tau 0.2", "0", "dev", "1"]
        (tmp_path / "done").mkdir()
        (tmp_path / "done" / "grid_dev.0.jsonl").write_text(line + line.replace("0.1", "0.2") + '{"variant": "B')
        monkeypatch.chdir(tmp_path / "done")
        main(["sweep", *shlex.split(collect), "--plot", str(tmp_path / "plot.png")])
        assert [entry["variant"] for entry in sweep.read_runs(out)] == ["A, tau 0.1", "A, tau 0.2"]
        assert "| A, tau 0.2 | 1 " in " ".join(capsys.readouterr().out.split())
        assert (tmp_path / "plot.png").stat().st_size > 1000

    @pytest.mark.remedy("Remove its lines, or give the variant another name")
    def test_lines_of_another_grid_are_refused(self, sweep, grid, tmp_path):
        entry = {
            "variant": "A, tau 0.1",
            "seed": 3,
            "config": "baseline_mini",
            "overrides": ["x=2", "m.tau=0.1"],
            "dev": {},
        }
        (tmp_path / "grid_dev.jsonl").write_text(json.dumps(entry) + "\n")
        with pytest.raises(SystemExit, match=r"'A, tau 0.1', seed 3, was run with the overrides \['x=2'.* Remove its"):
            main(["sweep", "--sweep", str(grid), "--dry-run"])
        text = grid.read_text()
        grid.write_text(text.replace("A:", "Another:"))
        main(["sweep", "--sweep", str(grid), "--dry-run"])
        grid.write_text(text)
        (tmp_path / "grid_dev.jsonl").write_text("")
        main(["sweep", "--sweep", str(grid), "--dry-run"])

    def test_the_hash_follows_what_a_config_inherits(self, tmp_path):
        from gcisg_suite.sweep.run import config_hash

        base, config = tmp_path / "base.py", tmp_path / "config.py"
        config.write_text("_base_ = 'base.py'\n")
        found = set()
        for text, overrides in (("x = 1\n", []), ("x = 1  # so\n", []), ("x = 2\n", []), ("x = 1\n", ["x=3"])):
            base.write_text(text)
            found.add(config_hash(config, overrides))
        assert len(found) == 3

    def test_seeds_of_different_configs_are_reported(self, sweep, tmp_path, capsys):
        runs = [{"variant": "A", "seed": seed, "hash": str(seed)} for seed in range(2)]
        sweep.check_runs(runs, {}, tmp_path)
        assert "'A' was run with 2 different configs" in capsys.readouterr().err

    def test_a_line_that_a_kill_cut_short_is_not_read(self, sweep, tmp_path):
        path = tmp_path / "runs.jsonl"
        first, second = ({"variant": "mine", "seed": seed} for seed in (0, 2))
        path.write_text(f'{json.dumps(first)}\n{{"variant": "mi')
        assert sweep.read_runs(path) == [first]
        sweep.append_runs(path, [second])
        assert path.read_text() == f"{json.dumps(first)}\n{json.dumps(second)}\n"

    def test_differences_are_paired_by_seed(self, sweep):
        """Against scipy's paired t-test on the same numbers."""
        from scipy import stats

        first, second = [60.0, 62.0, 61.0, 65.0], [63.0, 64.5, 63.0, 69.0]
        runs = [
            {"variant": name, "seed": seed, "dev": {"mIoU": value}}
            for name, values in (("none", first), ("GCISG", second)) for seed, value in enumerate(values)
        ]  # fmt: skip
        rows = list(sweep.table(runs, "dev", ["mIoU"]))
        interval = stats.ttest_rel(second, first).confidence_interval(0.95)
        assert rows[1][-1] == f"+2.88 [{interval.low:+.2f}, {interval.high:+.2f}]"
        assert rows[0][:3] == ["none", "4", "62.00 ± 2.16"]

    def test_seeds_are_a_range_with_both_ends(self):
        assert parse_seeds("3-5") == [3, 4, 5]
        assert parse_seeds("2") == [2]

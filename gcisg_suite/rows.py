"""What a row of the table of tasks holds; the rows themselves are in `gcisg_suite.tasks`."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from gcisg_core.trackers import OF_BOTH
from gcisg_suite.places import project_folder


def load(door: str, install: str = "") -> Any:
    """The object that `module:name` names.

    Args:
        door: `module:name`.
        install: The command that installs what the module imports; "" if there is none.

    Raises:
        ValueError: a package that the module imports is not installed.
    """
    module, _, name = door.partition(":")
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        raise ValueError(not_installed(error.name, install)) from error


def not_installed(package: str | None, install: str) -> str:
    """The message for a missing package; ``install`` is as in :func:`load`."""
    how = f"{install}; " if install else ""
    return f"{package} is not installed; {how}`gcisg doctor` lists what is missing"


@dataclass(frozen=True)
class Framework:
    """A training framework.

    Attributes:
        name: Its name in the NaN recorder's files.
        suffixes: Suffixes of its configs; new configs get the first one.
        read_config: `(file, overrides)` -> the config.
        read_run: `(file, overrides, trust)`: the same for the config that training wrote into a run's folder. Nothing
            in it is run; with ``trust`` it may import any module.
        train: `(args)` -> None trains or evaluates; `args` are those of `gcisg train`. Called in each process of a run,
            which finds its place in the environment variables of torchrun.
        student: `config` -> the network that a method regularises, untrained, and the method's values.
        evaluate: `(config_file, checkpoint, with_metrics, work_dir)` -> metrics of a checkpoint on the config's test
            data; with ``with_metrics=False`` it is only loaded.
        replay: Module with `build_model(record, folder, trust)` and `framework()`, and `context(record)` where a step
            needs one.
        base: First line of a config that inherits from `{}`, a quoted path.
        as_text: A config -> its whole content as text.
        trackers: What `gcisg train --tracker` offers.
        install: The command that installs it; "" if there is none.
        owns: Whether a file with one of the suffixes is a config of this framework; it is read, never run.
        key: Pattern of an override's first word. It holds key and value, unless `pairs` says that the value follows.
    """

    name: str
    suffixes: tuple[str, ...]
    read_config: str
    read_run: str
    train: str
    student: str
    evaluate: str
    replay: str
    base: str
    as_text: Callable[[Any], str]
    key: str
    pairs: bool = False
    trackers: tuple[str, ...] = OF_BOTH
    install: str = ""
    owns: Callable[[Path], bool] = lambda _: True

    def door(self, name: str) -> Any:
        """The function that the attribute of this name names. Raises as :func:`load`."""
        return load(getattr(self, name), self.install)

    def overrides(self, settings: Mapping[str, Any]) -> list[str]:
        """Settings by key, as words of a command line."""
        if self.pairs:
            return [str(part) for setting in settings.items() for part in setting]
        return [f"{key}={value}" for key, value in settings.items()]


class Package(NamedTuple):
    """A package that a task needs, for `gcisg doctor`.

    Attributes:
        module: What is imported.
        fix: The command that installs it; `{pip}` stands for `python -m pip install`, `{python}` for the interpreter.
        distributions: Its names on the index; the first one that is installed counts.
        least: The oldest version that works.
    """

    module: str
    fix: str
    distributions: tuple[str, ...]
    least: str = "0.0"


class Audit(NamedTuple):
    """The audit of a data set.

    Attributes:
        door: `module:function` of `(root, workers, **options)`.
        options: Names of the flags of `gcisg audit` that only it takes.
    """

    door: str
    options: tuple[str, ...] = ()


# What a task can offer -> arguments and result of the function. A task need not offer all; a caller that needs more
# raises an error.
DOORS = {
    "analysis": "(config, options) -> gcisg_suite.analysis.task.EvalTask",
    "demo": "(runs) -> the task's section of the demonstration",
    "differences": "(runs) -> gcisg_suite.report.differences.Differences of two runs on the miniature's test split",
    "export": "(config, checkpoint) -> gcisg_core.export.Export",
    "mini": "(config_name, splits, work_dir, overrides, seed, source) -> metrics of a run on the miniature",
    "named_predictor": "(name, checkpoint, device) -> a predictor of a network that has no config, or None",
    "new_project": "(answers) -> gcisg_suite.new_project.Project",
    "panel": "(runs) -> gcisg_suite.report.page.Picture of what they predict",
    "paper": "(config_file, work_dir, overrides, seed) -> metrics of a run on any other data",
    "predictor": "(config, checkpoint, device, score) -> what `gcisg predict` runs",
    "reference": "(seed) -> the file of another reference network of the miniature",
    "source_config": "(config, root) -> the config with source images as its test data",
    "target_config": "(config, data) -> the config with target images as its test data",
}


@dataclass(frozen=True)
class TaskSpec:
    """A row of the table of tasks.

    Attributes:
        name: The task, and its folder under `projects/`.
        framework: What trains it.
        package: What its configs import (`custom_imports`), by which they are recognised.
        packages: The packages that it needs, the framework first, without which the task cannot run.
        recognises: Whether a config that imports no task's package belongs to this task.
        install: The command that installs all its packages; "" if there is none.
        metrics: The metrics of a sweep's runs; the first one is compared.
        recipe: Replaces `mini` in the names of the configs for the papers' data.
        doors: Name -> `module:function`, see :data:`DOORS`.
        audits: Data set of `gcisg audit` -> its audit.
        own_data: The audit of your own data, and the further options of `gcisg new-project`.
        prepares: Part of the miniature -> `module:function` without arguments that makes it, in this order.
    """

    name: str
    framework: Framework
    package: str
    packages: tuple[Package, ...]
    recognises: Callable[[Any], bool] = lambda _: False
    install: str = ""
    metrics: tuple[str, ...] = ()
    recipe: str = ""
    doors: Mapping[str, str] = field(default_factory=dict)
    audits: Mapping[str, Audit] = field(default_factory=dict)
    own_data: tuple[str, ...] = ()
    prepares: Mapping[str, str] = field(default_factory=dict)

    def door(self, name: str) -> Any:
        """The function of this task that :data:`DOORS` describes.

        Raises:
            ValueError: the task offers no such thing.
        """
        return load(self.place(name), self.install)

    def place(self, name: str) -> str:
        """Where the function is, `module:function`; nothing is imported. Raises as :meth:`door`."""
        if name not in self.doors:
            what = f"{name!r}, {DOORS[name]}"
            raise ValueError(f"the task {self.name} does not offer this: its row in gcisg_suite/tasks.py has no {what}")
        return self.doors[name]

    @property
    def suffix(self) -> str:
        """The suffix of its new configs."""
        return self.framework.suffixes[0]

    @property
    def data_options(self) -> tuple[str, ...]:
        """Names of the flags of `gcisg new-project` for this task: its audit's and its own."""
        return tuple(name for audit in self.own_data[:1] for name in self.audits[audit].options) + self.own_data[1:]

    @property
    def needs(self) -> str:
        """The module without which the task cannot run."""
        return self.packages[0].module

    @property
    def is_installed(self) -> bool:
        """Whether the framework is installed; nothing is imported."""
        return importlib.util.find_spec(self.needs) is not None

    @property
    def folder(self) -> Path:
        """The folder of its configs; nothing is imported."""
        spec = importlib.util.find_spec(self.package)
        assert spec is not None
        assert spec.origin is not None
        return project_folder(spec.origin, self.name)

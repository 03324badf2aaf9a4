# PYTHON=/some/env/bin/python uses an environment that exists and installs nothing over it.
VENV := .venv
OFFICIAL_VENV := .venv-openmmlab
ifdef PYTHON
PY := $(PYTHON)
READY :=
OFFICIAL_PY := $(PYTHON)
OFFICIAL_READY :=
else
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
OFFICIAL_PY := $(OFFICIAL_VENV)/bin/python
OFFICIAL_READY := $(OFFICIAL_VENV)/.ready
endif
# What runs with the official OpenMMLab packages and without Detectron2.
OFFICIAL_TESTS := tests/segmentation tests/core/test_official.py tests/integrations/test_mmengine.py tests/integrations/test_openmmlab.py
SYSTEM_PYTHON ?= python3
export MPLBACKEND := Agg

.PHONY: help setup demo test test-fast test-openmmlab faults fuzz lint bench peers gpu wheels docs clean
help:  ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: $(READY)  ## install everything that is missing into .venv
	@$(PY) tools/doctor.py

# One stamp: set-up runs again only when a requirement changed.
$(VENV)/.ready: requirements/torch.txt requirements/frameworks.txt requirements/detectron2.txt setup.py
	$(SYSTEM_PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or later is needed; name one with SYSTEM_PYTHON=python3.11")'
	test -x $(PY) || $(SYSTEM_PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check uv
	$(PY) -m uv pip install --compile-bytecode --python $(PY) -r requirements/torch.txt -r requirements/frameworks.txt
	$(PY) -c 'import detectron2' 2>/dev/null || $(PY) -m uv pip install --compile-bytecode --python $(PY) --no-deps --no-build-isolation \
		-C--global-option=build_py -C--build-option=--skip-build --require-hashes -r requirements/detectron2.txt
	$(PY) -m uv pip install --compile-bytecode --python $(PY) -e '.[all]' -r requirements/torch.txt -r requirements/frameworks.txt
	@touch $@

demo: $(READY)  ## train baseline and GCISG on the miniature benchmark and write runs/demo/report.html (DEMO="--tasks classification")
	$(PY) tools/demo.py $(DEMO)

# Each process goes through its half in order, so that what a file prepares is made once, and takes over from the other.
PYTEST := $(PY) -m pytest -n 2 --dist worksteal
# The core, the command, and a run of each method in each task.
FAST := tests/core tests/suite tests/test_layers.py tests/classification/test_methods.py \
	tests/segmentation/test_seg_methods.py tests/detection/test_methods.py

test: $(READY)  ## run every test on two processes
	$(PYTEST)

test-fast: $(READY)  ## run the core's tests and those of the methods in each task
	$(PYTEST) $(FAST)

test-openmmlab: $(OFFICIAL_READY)  ## run segmentation's tests with the official OpenMMLab packages, in an environment of its own
	$(OFFICIAL_PY) -m pytest -n 2 --dist worksteal $(OFFICIAL_TESTS)

$(OFFICIAL_VENV)/.ready: requirements/torch.txt requirements/openmmlab.txt setup.py
	test -x $(OFFICIAL_PY) || $(SYSTEM_PYTHON) -m venv $(OFFICIAL_VENV)
	$(OFFICIAL_PY) -m pip install --quiet --disable-pip-version-check uv
	$(OFFICIAL_PY) -m uv pip install --compile-bytecode --python $(OFFICIAL_PY) -e '.[segmentation-openmmlab,guides,dev]' \
		-r requirements/torch.txt -r requirements/openmmlab.txt
	@touch $@

faults: $(READY)  ## kill and resume runs, and compare them bit for bit (FAULTS="--runs 20 --seed 7 --tasks detection")
	PYTHONPATH=$$(echo . projects/* | tr ' ' :) $(PY) -m tests.faults.sweep $(FAULTS)

fuzz: $(READY)  ## thousands of mutated files of every format, other ones each time (FUZZ="-k coco --hypothesis-seed 7")
	GCISG_FUZZ=$${GCISG_FUZZ:-2000} $(PY) -m pytest tests/faults/test_mutations.py $(FUZZ)

lint: $(READY)  ## ruff (lint and format) and mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	MYPYPATH=$$(echo projects/* | tr ' ' :) $(PY) -m mypy

gpu: $(READY)  ## test and measure everything on a GPU, in 8 minutes (GPU="--minutes 5 --out runs/mine")
	$(PY) -m gcisg_suite bench gpu $(GPU)

# For a machine without a network that has torch, torchvision and the usual scientific packages: docs/gpu.md.
WHEELS := runs/wheels
WHEELS_PYTHON := 3.12
GLIBC := 2_28 2_27 2_17
wheels: $(READY)  ## collect what `make gpu` needs on a machine without a network (WHEELS_PYTHON=3.12)
	$(PY) -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir $(WHEELS) \
		-r requirements/gpu.txt $$(grep -o '^onedl-[^ ]*' requirements/frameworks.txt)
# Some versions of pip (23.2 is one) do not give -C to the lines of a requirements file, hence two steps.
	$(PY) -m pip download --quiet --disable-pip-version-check --no-deps --no-build-isolation --use-pep517 --require-hashes \
		--dest $(WHEELS) -r requirements/detectron2.txt
	$(PY) -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --use-pep517 \
		-C--global-option=build_py -C--build-option=--skip-build --wheel-dir $(WHEELS) $(WHEELS)/detectron2_cdo-*.tar.gz
	rm $(WHEELS)/detectron2_cdo-*.tar.gz
	$(PY) -m wheel tags --remove --python-tag py3 --abi-tag none --platform-tag any $(WHEELS)/detectron2_cdo-*.whl
	$(PY) -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest $(WHEELS) \
		--python-version $(WHEELS_PYTHON) --implementation cp \
		$(foreach version,$(GLIBC),--platform manylinux_$(version)_x86_64) pycocotools

# Every table of benchmarks/results in one sitting, each on one thread of a machine that does nothing else.
BENCHMARKS := startup ci_loss peers step_cost methods memory scaling guidance_strength
bench: $(READY) data/mini  ## measure everything on the CPU; tables go to benchmarks/results, in 50 minutes (BENCHMARKS="peers")
	$(PY) -c 'import lightly' 2>/dev/null || $(MAKE) --no-print-directory peers
	for name in $(BENCHMARKS); do PYTHONPATH=$(PEERS) $(PY) benchmarks/$$name.py || exit 1; done

data/mini: | $(READY)
	$(PY) tools/prepare_mini.py

PEERS := runs/peers
peers: $(READY)  ## install lightly, which benchmarks/peers.py measures beside GCISG, into runs/peers and nowhere else
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(PEERS) lightly==1.6.0

docs: $(READY)  ## build the documents into runs/docs, pages that need no network
	$(PY) -m mkdocs build --strict --quiet

clean:  ## remove what the commands made, the environment excepted
	rm -rf runs work_dirs data/mini .pytest_cache .mypy_cache .ruff_cache

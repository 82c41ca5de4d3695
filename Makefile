# BiplanarBoneRecon. `make demo` and `make test` do all their set-up themselves, in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SLICER_VENV := .venv-slicer
DATA ?= ../shared/data
RUNS := training-runs
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install --constraint constraints.txt
WORKERS ?= 2
ABLATION_STEPS ?= 1000

.PHONY: help demo test lint engine-tests module-tests screenshots bench measurements real-input model ablation realism sample-case clean

help:
	@echo "make demo         set up, and reconstruct the bundled sample into demo/"
	@echo "make test         set up, lint, and run every test"
	@echo "make screenshots  the README's pictures of the Slicer module, from its real panel"
	@echo "make bench        speed and exactness of the sampler with the full-size networks"
	@echo "make measurements  bench and cold start, written to docs/measured/"
	@echo "make real-input    reconstruct real input, written to docs/measured/ (needs DATA=$(DATA))"
	@echo "make model        shape model, population, three stages, measurements: the bundled model again (needs DATA=$(DATA); hours)"
	@echo "make ablation     what each part of the training is worth, after make model's first steps (needs DATA=$(DATA); an hour)"
	@echo "make realism      synthetic CT beside the real one (needs DATA=$(DATA) and make model's shape model)"
	@echo "make sample-case  make the bundled sample case again (needs DATA=$(DATA))"
	@echo "make clean        remove everything that these commands made"

# torch comes first and alone: a version range would pull the CUDA build and gigabytes with it.
$(VENV)/torch: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or 3.12 is needed, this is " + sys.version.split()[0] + ": call make PYTHON=python3.11") if not (3, 11) <= sys.version_info[:2] < (3, 13) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing torch..."
	@$(PIP) torch
	@touch $@

$(VENV)/engine: $(VENV)/torch pyproject.toml
	@echo "Installing the engine..."
	@$(PIP) --editable .
	@touch $@

$(VENV)/tests: $(VENV)/engine
	@echo "Installing what the tests need..."
	@$(PIP) --editable ".[train,dicom-codecs,dev]"
	@touch $@

demo: $(VENV)/engine
	$(BIN)/ssrkd demo --out demo --overwrite

# Slicer's own MRML brings another VTK than the engine's tests use, so it lives apart.
$(SLICER_VENV)/ready: constraints-slicer.txt pyproject.toml
	@test -x $(SLICER_VENV)/bin/python || $(PYTHON) -m venv $(SLICER_VENV)
	@echo "Installing Slicer's MRML and Qt for the module's tests..."
	@$(SLICER_VENV)/bin/python -m pip --disable-pip-version-check --quiet install --constraint constraints-slicer.txt torch
	@$(SLICER_VENV)/bin/python -m pip --disable-pip-version-check --quiet install --constraint constraints-slicer.txt --editable ".[slicer,planning]" PySide6 pytest
	@touch $@

lint: $(VENV)/tests
	$(BIN)/ruff check SSRKDCore Testing BiplanarBoneRecon
	$(BIN)/ruff format --check SSRKDCore Testing BiplanarBoneRecon
	$(BIN)/mypy

# The pages are tested in the browser that Qt brings.
engine-tests: $(VENV)/tests $(SLICER_VENV)/ready
	$(BIN)/pytest -n $(WORKERS) Testing/engine

module-tests: $(SLICER_VENV)/ready
	QT_QPA_PLATFORM=offscreen OMP_NUM_THREADS=1 $(SLICER_VENV)/bin/python -m pytest -q --rootdir . Testing/module

screenshots: $(SLICER_VENV)/ready
	QT_QPA_PLATFORM=offscreen $(SLICER_VENV)/bin/python Testing/module/screenshots.py

test: lint engine-tests module-tests

bench: $(VENV)/engine
	$(BIN)/ssrkd bench

measurements: $(VENV)/engine
	mkdir -p docs/measured
	$(BIN)/ssrkd bench --json > docs/measured/bench.json
	$(BIN)/python -m SSRKDCore.evaluation.cold_start --out docs/measured/cold_start.json

real-input: $(VENV)/engine
	mkdir -p docs/measured
	$(BIN)/python -m SSRKDCore.evaluation.real_input --data $(DATA) --work $(RUNS)/real-input --out docs/measured/real_input.json

model: $(VENV)/tests
	$(BIN)/python -m SSRKDCore.training.recipe --config configs/compact.json --data $(DATA) --work $(RUNS)/compact
	$(BIN)/python -m SSRKDCore.training.publish --config configs/compact.json --data $(DATA) --work $(RUNS)/compact $(addprefix --ablation ,$(wildcard docs/measured/ablation.json)) --out Resources/Models/compact

ablation: $(VENV)/tests
	$(BIN)/python -m SSRKDCore.training.ablation --config configs/compact.json --data $(DATA) --work $(RUNS)/compact --steps $(ABLATION_STEPS) --out docs/measured/ablation.json

realism: $(VENV)/tests
	$(BIN)/python -m SSRKDCore.population.ct_realism --data $(DATA) --shape-model $(RUNS)/compact/shape_model.npz --out docs/measured --pictures docs/pictures

sample-case: $(VENV)/tests
	$(BIN)/python -m SSRKDCore.population.sample_case --data $(DATA) --out Resources/SampleCase

clean:
	rm -rf $(VENV) $(SLICER_VENV) demo build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find SSRKDCore Testing -name __pycache__ -type d -prune -exec rm -rf {} +

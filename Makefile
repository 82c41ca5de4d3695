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
# Steps of the students of experiments that train, and the knees that experiments are measured on.
CURVE_STEPS ?= 400
VOLUME_STEPS ?= 1200
KNEES ?= 4

.PHONY: help demo test lint engine-tests module-tests screenshots bench measurements gpu real-input real-pair model correction ablation baselines table experiments curves two-sites degradations keep guides view-scales view-motion trust trust-other-sites calibration bent-knees remedy-cost realism sample-case clean

help:
	@echo "make demo         set up, and reconstruct the bundled sample into demo/"
	@echo "make test         set up, lint, and run every test"
	@echo "make screenshots  the README's pictures of the Slicer module, from its real panel"
	@echo "make bench        speed and exactness of the sampler with the full-size networks"
	@echo "make measurements  bench and cold start, written to docs/measured/"
	@echo "make gpu          speed on an NVIDIA GPU, and the tests that need one, written to docs/measured/"
	@echo "make real-input    reconstruct real input, written to docs/measured/ (needs DATA=$(DATA))"
	@echo "make real-pair    outlines beside the edges of a real calibrated pair, written to docs/measured/ (needs DATA=$(DATA))"
	@echo "make model        shape model, population, three stages, measurements: the bundled model again (needs DATA=$(DATA); hours)"
	@echo "make correction   what refinement leaves wrong, learnt for the bundled model after make model's population; make trust has to follow (an hour)"
	@echo "make ablation     what each part of the training is worth, after make model's first steps (needs DATA=$(DATA); an hour)"
	@echo "make baselines    the intensity model and the volume network that the table compares with (half an hour)"
	@echo "make table        Table 1: our model, its network alone, and the three baselines on the same knees"
	@echo "make experiments  the paper's figures and the tests beyond them, on KNEES=$(KNEES) knees each (half an hour)"
	@echo "make curves       learning curves and numbers of views, by many small trainings (hours)"
	@echo "make two-sites    the bundled model and students on other sites' images, with and without each remedy (two hours)"
	@echo "make degradations worse and worse images, with and without remedies, on KNEES=$(KNEES) knees (half an hour)"
	@echo "make keep         tables and pictures of these, written to docs/measured/experiments, where those of others stay"
	@echo "make guides       cutting guides made on reconstructions, seated on the true bones; errors of measurements (after make trust, needs DATA=$(DATA))"
	@echo "make view-scales  the network that compares the scale and height of two views, after make model (an hour)"
	@echo "make view-motion  how well turns of the second view are known, after make trust (an hour)"
	@echo "make trust        what the traffic light is judged by, and how well it judges, written to docs/measured/trust"
	@echo "make trust-other-sites  likewise on images of a digital room and of an old mobile unit that it was not fitted to, after make model"
	@echo "make calibration  how well the relative pose of two radiographs is found, after make trust, written to docs/measured/calibration (half an hour)"
	@echo "make bent-knees   what a knee that bends between the two exposures does, after make model and make trust, written to docs/measured/bent_knees"
	@echo "make remedy-cost  what the remedies for real images cost beside a reconstruction, written to docs/measured (THREADS=2: on two threads)"
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
	$(BIN)/ssrkd bench --json > docs/measured/bench.json.part
	mv docs/measured/bench.json.part docs/measured/bench.json
	$(BIN)/python -m SSRKDCore.evaluation.cold_start --out docs/measured/cold_start.json

# What only a machine with an NVIDIA GPU can tell: speed there, and the tests that are skipped without one.
gpu: $(VENV)/tests
	mkdir -p docs/measured
	$(BIN)/ssrkd bench --device cuda --warm-up 5 --repeats 20 --json > docs/measured/bench_cuda.json.part
	mv docs/measured/bench_cuda.json.part docs/measured/bench_cuda.json
	$(BIN)/python -m pytest -q -rs Testing/engine/test_drr_tigre.py Testing/engine/test_reconstruction_device_path.py Testing/engine/test_reconstruction_devices.py

real-input: $(VENV)/engine
	mkdir -p docs/measured
	$(BIN)/python -m SSRKDCore.evaluation.real_input --data $(DATA) --work $(RUNS)/real-input --out docs/measured/real_input.json

real-pair: $(VENV)/engine
	$(BIN)/python -m SSRKDCore.evaluation.real_pair --data $(DATA)/xray_autoscoper --match-style Resources/Models/compact/style.json --out $(RUNS)/real-pair
	mkdir -p docs/measured/real_pair
	cp $(RUNS)/real-pair/real_pair.json docs/measured/real_pair/

model: $(VENV)/tests
	$(BIN)/python -m SSRKDCore.training.recipe --config configs/compact.json --data $(DATA) --work $(RUNS)/compact
	$(BIN)/python -m SSRKDCore.training.publish --config configs/compact.json --data $(DATA) --work $(RUNS)/compact $(addprefix --ablation ,$(wildcard docs/measured/ablation.json)) --out Resources/Models/compact

ablation: $(VENV)/tests
	$(BIN)/python -m SSRKDCore.training.ablation --config configs/compact.json --data $(DATA) --work $(RUNS)/compact --steps $(ABLATION_STEPS) --out docs/measured/ablation.json

WORK := $(RUNS)/compact
SYNTHETIC := $(WORK)/test-cases/synthetic-room
RESULTS := $(WORK)/experiments
EXPERIMENT := $(BIN)/ssrkd experiment

# Knees of another seed than those that the network learnt from.
correction: $(VENV)/tests
	$(BIN)/ssrkd population --shape-model $(WORK)/shape_model.npz --cases 240 --seed 616 --voxel 0.9 --metal-share 0.08 --no-radiographs --out $(WORK)/correction-population
	$(BIN)/python -m SSRKDCore.training.fit_surface_correction --model Resources/Models/compact --cases $(WORK)/correction-population --data $(DATA) --work $(WORK)/surface-correction

baselines: $(VENV)/tests
	$(BIN)/python -m SSRKDCore.evaluation.baselines.fit_intensity_model --cases $(WORK)/population --shape-model $(WORK)/shape_model.npz --out $(WORK)/intensity_model.npz
	$(BIN)/python -m SSRKDCore.evaluation.baselines.train_volume_cnn --samples $(WORK)/samples --set steps=$(VOLUME_STEPS) --out $(WORK)/volume-cnn

METHODS := --method model --method network --method ssm=$(WORK)/shape_model.npz \
	--method ssim=$(WORK)/shape_model.npz,$(WORK)/intensity_model.npz --method volume-cnn=$(WORK)/volume-cnn/model

# The rows of SSR-KD without its parts: the students of `make ablation`, which comes first.
ABLATED := $(WORK)/ablation-$(ABLATION_STEPS)
PARTS := --method "without unlabelled cases:network=$(ABLATED)/labelled-only/model" \
	--method "with pseudo labels:network=$(ABLATED)/with-pseudo-labels/model" \
	--method "and distillation:network=$(ABLATED)/with-distillation/model" \
	--method "and enhancement (in full):network=$(ABLATED)/with-enhancement/model"

table: $(VENV)/tests
	$(EXPERIMENT) table $(METHODS) --cases $(WORK)/test-cases/unseen-room --out $(RESULTS)/table-unseen-legs
	$(EXPERIMENT) table $(METHODS) --cases $(SYNTHETIC) --limit 12 --out $(RESULTS)/table-synthetic
	$(EXPERIMENT) table $(PARTS) --cases $(WORK)/test-cases/unseen-room --out $(RESULTS)/table-parts-unseen-legs
	$(EXPERIMENT) table $(PARTS) --cases $(SYNTHETIC) --limit 12 --out $(RESULTS)/table-parts-synthetic

experiments: $(VENV)/tests
	set -e; for name in separation metal noise calibration renderer gallery; do \
	  $(EXPERIMENT) $$name --cases $(SYNTHETIC) --limit $(KNEES) --out $(RESULTS)/$$name; done
	set -e; for name in flexion size; do \
	  $(EXPERIMENT) $$name --shape-model $(WORK)/shape_model.npz --limit $(KNEES) --out $(RESULTS)/$$name; done
	$(EXPERIMENT) external --data $(DATA) --out $(RESULTS)/external
	$(EXPERIMENT) error-map --cases $(SYNTHETIC) --limit 20 --shape-model $(WORK)/shape_model.npz --out $(RESULTS)/error-map
	$(EXPERIMENT) self-assessment --cases $(SYNTHETIC) --limit 20 --out $(RESULTS)/self-assessment

STUDENTS := --cases $(SYNTHETIC) --config configs/compact.json --work $(WORK) --steps $(CURVE_STEPS) --helpers recipe

# Tables and pictures of whatever experiment has finished go with the project.
keep: $(VENV)/tests
	$(BIN)/python -m SSRKDCore.evaluation.experiments.keep $(RESULTS) --add --out docs/measured/experiments

# Teacher and segmenter are the recipe's: with so few steps a helper of a few cases teaches nothing.
curves: $(VENV)/tests
	set -e; for name in learning-curve-labelled learning-curve-unlabelled; do \
	  $(EXPERIMENT) $$name $(STUDENTS) --limit 8 --out $(RESULTS)/$$name; done
	$(EXPERIMENT) views $(STUDENTS) --limit 8 --unlabelled 70 --out $(RESULTS)/views

two-sites: $(VENV)/tests
	$(EXPERIMENT) two-sites --model Resources/Models/compact --config configs/compact.json --work $(WORK) --cases $(SYNTHETIC) --limit 8 --out $(RESULTS)/two-sites-given
	$(EXPERIMENT) two-sites $(STUDENTS) --limit $(KNEES) --out $(RESULTS)/two-sites

degradations: $(VENV)/tests
	$(EXPERIMENT) degradations --cases $(SYNTHETIC) --limit $(KNEES) --match-style Resources/Models/compact/style.json --out $(RESULTS)/degradations

guides: $(VENV)/tests
	$(BIN)/python -m SSRKDCore.planning.guide_study --cases $(WORK)/test-cases/unseen-room $(SYNTHETIC) --limit 5 --model Resources/Models/compact --out $(RUNS)/guides
	mkdir -p docs/measured/guides
	cp $(addprefix $(RUNS)/guides/,study.json cases.csv guides.png table/table.csv) docs/measured/guides/
	$(BIN)/python -m SSRKDCore.planning.measurement_errors --cases $(WORK)/test-cases/unseen-room --model Resources/Models/compact --out docs/measured/measurement_errors/unseen-room --overwrite
	$(BIN)/python -m SSRKDCore.planning.measurement_errors --cases $(SYNTHETIC) --limit 20 --model Resources/Models/compact --out docs/measured/measurement_errors/synthetic-room --overwrite
	$(BIN)/python -m SSRKDCore.planning.measurement_errors --left-out $(WORK)/trust-left-out --data $(DATA) --model Resources/Models/compact --out docs/measured/measurement_errors/left-out --overwrite
	$(BIN)/python -m SSRKDCore.planning.reconstruction_errors --errors $(foreach group,unseen-room left-out synthetic-room,docs/measured/measurement_errors/$(group)/errors.json) --out SSRKDCore/planning/reconstruction_errors.json

# Fitted on knees of another seed: on those that the network learnt from it is surer than it should be. Intervals are calibrated on people
# left out of the shape prior one at a time, and widened on images of rooms that the training never saw.
# Training cases to learn from, and those that trust is fitted to for what its spread is worth.
view-scales: $(VENV)/tests
	$(BIN)/ssrkd population --shape-model $(WORK)/shape_model.npz --cases 48 --seed 515 --voxel 0.9 --metal-share 0.08 --no-radiographs --out $(WORK)/trust-population
	$(BIN)/python -m SSRKDCore.trust.fit_view_scales --cases $(WORK)/population --held-out $(WORK)/trust-population --work $(WORK)/view-scales --out Resources/ViewScales

# After make trust, whose people left out it takes.
view-motion: $(VENV)/tests
	$(BIN)/python -m SSRKDCore.trust.fit_view_motion --model Resources/Models/compact --cases $(WORK)/trust-population --data $(DATA) --left-out $(WORK)/trust-left-out --work $(WORK)/view-motion --out Resources/ViewMotion

trust: $(VENV)/tests
	$(BIN)/ssrkd population --shape-model $(WORK)/shape_model.npz --cases 48 --seed 515 --voxel 0.9 --metal-share 0.08 --no-radiographs --out $(WORK)/trust-population
	$(BIN)/python -m SSRKDCore.trust.fit_reference --model Resources/Models/compact --cases $(WORK)/trust-population
	$(BIN)/python -m SSRKDCore.trust.left_out_people --model Resources/Models/compact --data $(DATA) --work $(WORK)/trust-left-out
	$(BIN)/python -m SSRKDCore.trust.fit_widening --model Resources/Models/compact --cases $(WORK)/trust-population
	$(BIN)/python -m SSRKDCore.trust.measure --model Resources/Models/compact $(foreach set,synthetic-room unseen-room unseen-c_arm unseen-paper,--cases $(WORK)/test-cases/$(set)) --count 14 --stand-ins 4 --spoiled 4 --data $(DATA) --out docs/measured/trust --overwrite

# On test knees as the two-sites experiment's sites show them: nothing is fitted to these sites, and no choice was made on these knees there.
trust-other-sites: $(VENV)/tests
	$(BIN)/python -m SSRKDCore.evaluation.experiments.cases_at_site --cases $(SYNTHETIC) --skip 8 --site B --out $(WORK)/test-cases/site-b
	$(BIN)/python -m SSRKDCore.evaluation.experiments.cases_at_site --cases $(SYNTHETIC) --skip 8 --site C --out $(WORK)/test-cases/site-c
	$(BIN)/python -m SSRKDCore.trust.measure --model Resources/Models/compact --cases $(WORK)/test-cases/site-b --stand-ins 0 --spoiled 4 --out docs/measured/trust_digital_room --overwrite
	$(BIN)/python -m SSRKDCore.trust.measure --model Resources/Models/compact --cases $(WORK)/test-cases/site-c --stand-ins 0 --spoiled 4 --out docs/measured/trust_mobile_unit --overwrite

# After make trust, whose population and people left out it takes.
calibration: $(VENV)/tests
	$(BIN)/python -m SSRKDCore.geometry.calibration.pair_study --cases $(SYNTHETIC) --other $(WORK)/test-cases/unseen-room --reconstructed 10 --ct-cases $(WORK)/trust-population --left-out $(WORK)/trust-left-out --data $(DATA) --work $(WORK)/pair-study --overwrite --out docs/measured/calibration

bent-knees: $(VENV)/tests
	$(BIN)/python -m SSRKDCore.trust.bent_knee_study --model Resources/Models/compact --shape-model $(WORK)/shape_model.npz $(foreach leg,TLEM2_CT_L TLEM2_CT_R ICL_MRI_R,--leg $(DATA)/legs/$(leg)) --work $(WORK)/bent-knees --overwrite --out docs/measured/bent_knees

remedy-cost: $(VENV)/tests
	$(if $(THREADS),OMP_NUM_THREADS=$(THREADS)) $(BIN)/python -m SSRKDCore.reconstruction.remedy_cost --repeats 7 --surface-tolerance 0.2 $(if $(THREADS),--threads $(THREADS)) --out docs/measured/remedy_cost.json

realism: $(VENV)/tests
	$(BIN)/python -m SSRKDCore.population.ct_realism --data $(DATA) --shape-model $(RUNS)/compact/shape_model.npz --out docs/measured --pictures docs/pictures

sample-case: $(VENV)/tests
	$(BIN)/python -m SSRKDCore.population.sample_case --data $(DATA) --out Resources/SampleCase

clean:
	rm -rf $(VENV) $(SLICER_VENV) demo build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find SSRKDCore Testing -name __pycache__ -type d -prune -exec rm -rf {} +

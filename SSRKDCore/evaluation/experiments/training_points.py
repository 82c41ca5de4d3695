"""Experiments that train: each point is a student of its own, on its own cases, at the same budget of steps as all the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.case_evaluation import Reconstruct, case_reconstruction
from SSRKDCore.evaluation.experiments.case_subsets import linked_store, nested_cases
from SSRKDCore.evaluation.experiments.framework import MakeCase, Plan, Point, given_case
from SSRKDCore.evaluation.experiments.registry import Request
from SSRKDCore.evaluation.experiments.sources import CaseSource
from SSRKDCore.json_files import write_json
from SSRKDCore.networks.model_folder import load_model
from SSRKDCore.networks.weights_file import sha256_of
from SSRKDCore.training.recipe import Recipe, Workplace, run_command
from SSRKDCore.training.sample_store import SampleStore
from SSRKDCore.training.whole_persons import person_of

#: Where helpers come from: trained anew on the point's own labelled cases, or those of the recipe's folder.
HELPERS = ("own", "recipe")
#: In the folder of an experiment: samples, helpers and students.
TRAINING_FOLDER = "training"


@dataclass(frozen=True)
class TrainingPoint:
    """A student and what it learns from.

    Attributes
    ----------
    name: as tables call it. series, value: as `Point`.
    labelled, unlabelled: numbers of cases.
    changes: of the recipe's X-ray settings.
    make: what is done to the test cases, see `Point`.
    """

    name: str
    labelled: int
    unlabelled: int
    changes: Mapping[str, Any] = field(default_factory=dict)
    series: str = ""
    value: float | None = None
    make: MakeCase = given_case


@dataclass(frozen=True)
class TrainingPlace:
    """What all points of an experiment share.

    Attributes
    ----------
    recipe: whose stages' settings and population are used. work: the recipe's folder, with its samples and helpers.
    out: of all that is trained. steps: optimiser steps of every student, 0 where none is trained.
    helper_steps: of the segmenter and of the teacher, where `helpers` is "own"; 0 takes the recipe's.
    helpers: see `HELPERS`. seed: of the choice of cases.
    labelled, unlabelled: numbers of cases that the points have; empty takes the experiment's own. resolution, device: of reconstruction.
    """

    recipe: Recipe
    work: Workplace
    out: Path
    steps: int
    helper_steps: int = 0
    helpers: str = "own"
    seed: int = 0
    labelled: tuple[int, ...] = ()
    unlabelled: tuple[int, ...] = ()
    resolution: int = 128
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.helpers not in HELPERS:
            raise InputError(f"The helpers are {self.helpers!r}: use {' or '.join(HELPERS)}.")
        if self.steps < 0 or self.helper_steps < 0 or self.seed < 0:
            raise InputError("Steps, the helpers' steps and the seed must be 0 or more: correct them.")
        if any(count < 1 for count in self.labelled) or any(count < 0 for count in self.unlabelled):
            raise InputError(
                "Points need at least 1 labelled case, and 0 or more unlabelled ones: correct the numbers."
            )

    def one(self, kind: str, usual: int) -> int:
        """The number of cases of a kind ("labelled", "unlabelled") that all points share. Raises InputError where several are given."""
        given: tuple[int, ...] = getattr(self, kind)
        if len(given) > 1:
            raise InputError(f"All points of this experiment have one number of {kind} cases: give --{kind} one.")
        return given[0] if given else usual

    @property
    def batch(self) -> int:
        """Cases in a step of every student."""
        student = self.recipe.training.get("xray", {})
        return int(student.get("labelled_batch", 1)) + int(student.get("unlabelled_batch", 1))

    def student_batches(self, with_unlabelled: bool = True) -> dict[str, Any]:
        """X-ray settings that make `batch` cases a step, half of them unlabelled where there are any; without, the teacher's features
        are learnt on the labelled cases.
        """
        if with_unlabelled:
            return {"labelled_batch": self.batch - self.batch // 2, "unlabelled_batch": self.batch // 2}
        return {"labelled_batch": self.batch, "unlabelled_batch": 0, "pseudo_labels": False, "distilled": "both"}

    @property
    def budget(self) -> str:
        """The budget in words, for plots."""
        helpers = (
            f"teacher and segmenter trained on the point's own labelled cases ({self.helper_steps or 'the recipe’s'} steps each)"
            if self.helpers == "own"
            else "teacher and segmenter of the recipe, which saw all its labelled cases"
        )
        return f"every student {self.steps} steps of {self.batch} cases; {helpers}"


def training_settings(place: TrainingPlace, point: TrainingPoint) -> dict[str, Any]:
    """All that decides what a point's student is, plain values."""
    return {
        "labelled": point.labelled,
        "unlabelled": point.unlabelled,
        "changes": dict(point.changes),
        "training": dict(place.recipe.training),
        "samples": SampleStore(place.work.samples).fingerprint,
        "steps": place.steps,
        "helper_steps": place.helper_steps,
        "helpers": place.helpers,
        "case_seed": place.seed,
    }


def train_point(place: TrainingPlace, point: TrainingPoint) -> Path:
    """The model folder of a point, trained unless it is there; a run that was stopped goes on.

    Points with the same cases share helpers and the teacher's outputs. Raises InputError when the point's folder holds a student of
    other settings or cases, or the store has too few cases; Cancelled.
    """
    if place.steps < 1:
        raise InputError("Students need at least 1 step: say how many with --steps.")
    store = SampleStore(place.work.samples)
    name = f"{point.labelled}-labelled-{point.unlabelled}-unlabelled"
    cases = linked_store(
        store, nested_cases(store, point.labelled, point.unlabelled, place.seed), place.out / "samples" / name
    )
    teacher, segmenter = point_helpers(place, point)
    changes = {**place.recipe.training.get("xray", {}), **point.changes, "steps": place.steps, "epochs": 0}
    helpers: list[str | Path] = ["--teacher", teacher, "--segmenter", segmenter]
    return _train(place, "xray", changes, cases.folder, student_folder(place, point), helpers)


def student_folder(place: TrainingPlace, point: TrainingPoint) -> Path:
    """Where a point's student is trained."""
    return place.out / "students" / point.name.replace(" ", "-")


def point_helpers(place: TrainingPlace, point: TrainingPoint) -> tuple[Path, Path]:
    """Model folders of the teacher and of the segmenter of a point, trained where they have to be and are missing.

    Own helpers learn from the point's labelled cases alone, so that they are the same for every number of unlabelled ones.
    """
    if place.helpers == "recipe":
        return place.work.model("ct"), place.work.model("segmenter")
    store = SampleStore(place.work.samples)
    root = place.out / "helpers" / f"{point.labelled}-labelled"
    cases = linked_store(store, nested_cases(store, point.labelled, 0, place.seed), root / "samples")
    models = []
    for stage in ("ct", "segmenter"):
        changes = {**place.recipe.training.get(stage, {}), "unlabelled_batch": 0, "peers": 1}
        if place.helper_steps:
            changes |= {"steps": place.helper_steps, "epochs": 0}
        models.append(_train(place, stage, changes, cases.folder, root / stage, []))
    return models[0], models[1]


def _train(
    place: TrainingPlace,
    stage: str,
    changes: Mapping[str, Any],
    samples: Path,
    run: Path,
    options: Sequence[str | Path],
) -> Path:
    """The model folder of a stage; `ssrkd train` refuses a run of other settings or cases, and passes over a finished one."""
    run.parent.mkdir(parents=True, exist_ok=True)
    configuration = run.parent / f"{run.name}.json"
    training = {**place.recipe.training, stage: dict(changes)}
    # Validation would take cases away from a point that has seven; what counts is measured on the test cases.
    training["run"] = {**training.get("run", {}), "held_out": 0}
    write_json(configuration, training)
    run_command("train", stage, "--samples", samples, "--config", configuration, *options, "--out", run)
    return run / "model"


def refuse_known_cases(place: TrainingPlace, sources: Sequence[CaseSource]) -> None:
    """Raises InputError for test cases among the samples, or of persons who are."""
    store = SampleStore(place.work.samples)
    seen, persons = set(store.case_ids), {case.person for case in store.cases}
    for case in (source.case for source in sources):
        if case.id in seen:
            raise InputError(f"The test case {case.id} is among the training samples: name folders of unseen cases.")
        if person_of(case) in persons:
            raise InputError(
                f"The test case {case.id} is a knee of {person_of(case)}, of whom another is among the training samples: name cases of"
                " unseen persons."
            )


def trained_plan(
    request: Request,
    points: Sequence[TrainingPoint],
    axes: Mapping[str, str],
    train: Callable[[TrainingPlace, TrainingPoint], Path] = train_point,
) -> Plan:
    """Train the student of every point that is wanted, and give the plan that measures them all on the same cases.

    Parameters
    ----------
    request: its cases, points and place of training. points: all that the experiment has. axes: as `Plan`.
    train: gives the model folder of a point.

    Raises as `train_point`, and InputError without test cases or a place to train, or for test cases among the samples.
    """
    place, sources = request.needed_training(), request.case_sources()
    chosen = request.wanted([point.name for point in points])
    refuse_known_cases(place, sources)
    measured = []
    for point in points:
        if point.name not in chosen:
            continue
        folder = train(place, point)
        settings = {**training_settings(place, point), "weights": sha256_of(folder / "weights.safetensors")}
        method: Reconstruct = case_reconstruction(load_model(folder), place.resolution, place.device)
        measured.append(Point(point.name, point.make, point.series, point.value, settings, method))
    return Plan(measured, sources, axes)

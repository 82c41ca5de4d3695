"""What site B can do with images of its own: train a style network, or fine-tune a student, on knees that no test case shows."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from SSRKDCore.cases import CASE_FILE
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.experiments.case_subsets import linked_store, nested_cases
from SSRKDCore.evaluation.experiments.second_site import site_settings
from SSRKDCore.evaluation.experiments.sources import CaseSource, Source, seed_of
from SSRKDCore.evaluation.experiments.training_points import TrainingPlace
from SSRKDCore.networks.model_folder import load_model
from SSRKDCore.networks.weights_file import sha256_of
from SSRKDCore.training.finetune import FinetuneJob, FinetuneOutcome, finetune
from SSRKDCore.training.sample_store import SampleStore
from SSRKDCore.training.settings import RunSettings
from SSRKDCore.training.style_settings import style_preset
from SSRKDCore.training.style_training import StyleJob, StyleOutcome, train_style
from SSRKDCore.training.test_sets import synthetic_cases

#: Site B's own knees, of which the first are labelled; further knees of the population, drawn with a seed of their own.
SITE_KNEES, LABELLED_KNEES, SITE_SEED = 12, 8, 70707
#: Optimiser steps of the style network, and at most of fine-tuning.
STYLE_STEPS, FINETUNE_STEPS = 1500, 300
#: Real cases that judge the style network, and site A's cases that it takes the look from.
_HELD_OUT, _LOOK_CASES = 2, 60

Make = Callable[[Source, Path, int], Path]


@dataclass(frozen=True)
class Remedy:
    """A model that site B trained.

    Attributes
    ----------
    folder: the model folder. settings: all that decides what it is, plain values. words: of how it was trained, for readers.
    """

    folder: Path
    settings: dict[str, Any]
    words: str


def site_b_knees(place: TrainingPlace, make: Make, tests: Sequence[CaseSource]) -> list[Path]:
    """Site B's own cases, made unless they are there.

    Raises InputError without the shape model of the recipe's folder, or where a test case is among them; Cancelled.
    """
    if not place.work.shape_model.is_file():
        raise InputError(f"{place.work.shape_model} is missing, and site B's own knees are drawn from it: name --work.")
    root = place.out / "site-b"
    drawn = synthetic_cases(place.work.shape_model, SITE_KNEES, site_seed(place), root / "knees").folder
    knees = sorted(path.parent for path in drawn.glob(f"*/{CASE_FILE}"))
    return site_b_cases(knees[:SITE_KNEES], root / "cases", place.seed, make, tests)


def site_seed(place: TrainingPlace) -> int:
    """A seed that neither the training population nor the recipe's test cases have."""
    taken = {place.recipe.population.get(name) for name in ("seed", "test_seed")}
    return next(seed for seed in count(SITE_SEED) if seed not in taken)


def site_b_cases(
    knees: Sequence[Path], out: Path, seed: int, make: Make, tests: Sequence[CaseSource] = ()
) -> list[Path]:
    """Case folders of given knees as site B shows them, in their order; those that are there are kept.

    Parameters
    ----------
    knees: cases with a CT or bones. out: folder of the cases. seed: of their noise. make: as `second_site.site_b_maker` gives it.
    tests: cases that must not be among them.

    Raises InputError where a test case is among the knees, by its id.
    """
    known = {source.case.id for source in tests}
    found = []
    for folder in knees:
        source = CaseSource(folder)
        if source.case.id in known:
            raise InputError(
                f"The test case {source.case.id} is one of site B's own knees: name folders of other cases."
            )
        target = out / source.id
        if not (target / CASE_FILE).is_file():
            unfinished = out / f".unfinished-{source.id}"
            shutil.rmtree(unfinished, ignore_errors=True)
            make(source, unfinished, seed_of(source, seed)).rename(target)
        source.close()
        found.append(target)
    return found


def translated_site(place: TrainingPlace, cases: Sequence[Path]) -> Remedy:
    """An unpaired style network between site B's radiographs and site A's samples, as `ssrkd style train` trains it.

    cases: all cases of one folder. Raises as `train_style`.
    """
    store = SampleStore(place.work.samples)
    chosen = nested_cases(store, min(_LOOK_CASES, sum(store.labelled)), 0, place.seed)
    simulated = linked_store(store, chosen, place.out / "samples" / "look-of-site-a")
    settings = style_preset("compact").changed({"steps": STYLE_STEPS})
    job = StyleJob(
        cases[0].parent, simulated.folder, place.out / "style", settings, _run(place), min(_HELD_OUT, len(cases) - 1),
        "site B to site A",
    )  # fmt: skip
    outcome = train_style(job)
    described = {**_of_site(place, cases), "training": settings.to_dict(), "samples": simulated.fingerprint}
    return Remedy(
        outcome.folder, _with_weights(described, outcome.folder), _style_words(outcome, len(cases), len(chosen))
    )


def _style_words(outcome: StyleOutcome, real: int, simulated: int) -> str:
    found = outcome.measures
    refused = "" if outcome.accepted else ", and it moved edges of them, so that `ssrkd style` would not let it be used"
    return (
        f"Translated: a style network, {STYLE_STEPS} steps on the radiographs of {real} other knees of site B and {simulated} of site A; on"
        f" held-out knees of site B the distance between grey values went from {found['look_distance_before']:.3f} to"
        f" {found['look_distance']:.3f}{refused}."
    )


def finetuned_site(place: TrainingPlace, student: Path, cases: Sequence[Path]) -> Remedy:
    """A student that went on learning from site B's labelled cases, as `ssrkd finetune` does it. Raises as `finetune`."""
    chosen = list(cases[:LABELLED_KNEES])
    changes = {"steps": FINETUNE_STEPS}
    job = FinetuneJob(
        load_model(student), chosen, place.out / "fine-tuned", settings=changes, run=_run(place), resolution=place.resolution,
        device=place.device, name="plain student, fine-tuned at site B",
    )  # fmt: skip
    outcome = finetune(job)
    described = {**_of_site(place, chosen), "changes": changes, "student": sha256_of(student / "weights.safetensors")}
    return Remedy(outcome.folder, _with_weights(described, outcome.folder), _finetuning_words(outcome, len(chosen)))


def _finetuning_words(outcome: FinetuneOutcome, count: int) -> str:
    uses, stopping = outcome.record["cases"], outcome.record["stopping"]
    refused = "" if outcome.accepted else ", so that `ssrkd finetune` would not let it take the first one's place"
    return (
        f"Fine-tuned: the plain student on {count} labelled other knees of site B ({uses['training']} to learn from,"
        f" {uses['stopping']} to stop, {uses['held_out']} to compare), at most {FINETUNE_STEPS} steps; the weights of step"
        f" {stopping['best_step']} were best, and {outcome.comparison['verdict']} on what was to compare{refused}."
    )


def _of_site(place: TrainingPlace, cases: Sequence[Path]) -> dict[str, Any]:
    return {
        "site": site_settings(),
        "seed": site_seed(place),
        "cases": {folder.name: CaseSource(folder).fingerprint for folder in cases},
    }


def _with_weights(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    return {**settings, "weights": sha256_of(folder / "weights.safetensors")}


def _run(place: TrainingPlace) -> RunSettings:
    """On what and how: as the commands do unless they are told otherwise, with the threads of the recipe."""
    accelerator = {"cuda": "gpu", "mps": "mps"}.get(place.device, "cpu")
    threads = int(place.recipe.training.get("run", {}).get("threads", 0))
    return RunSettings(accelerator=accelerator, threads=threads, checkpoint_minutes=1.0)

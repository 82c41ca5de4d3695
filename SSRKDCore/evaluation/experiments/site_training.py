"""What a site can do with images of its own: train a style network, or fine-tune a model, on knees that no test case shows."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from SSRKDCore.cases import CASE_FILE
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.experiments.case_subsets import linked_store, nested_cases
from SSRKDCore.evaluation.experiments.second_site import SITE_B, Site
from SSRKDCore.evaluation.experiments.sources import CaseSource, Source, seed_of
from SSRKDCore.evaluation.experiments.training_points import TrainingPlace
from SSRKDCore.networks.model_folder import Model
from SSRKDCore.networks.model_settings import settings_identity
from SSRKDCore.networks.weights_file import sha256_of
from SSRKDCore.radiographs.style_matching import StyleReference, fitted_style
from SSRKDCore.training.finetune import FinetuneJob, FinetuneOutcome, finetune
from SSRKDCore.training.initial_weights import weights_sha256
from SSRKDCore.training.sample_store import SampleStore
from SSRKDCore.training.settings import RunSettings
from SSRKDCore.training.style_settings import style_preset
from SSRKDCore.training.style_training import StyleJob, StyleOutcome, train_style
from SSRKDCore.training.test_sets import synthetic_cases
from SSRKDCore.training.whole_persons import person_of

#: A site's own knees, of which the first are labelled; further knees of the population, drawn with a seed of their own.
SITE_KNEES, LABELLED_KNEES, SITE_SEED = 12, 8, 70707
#: Optimiser steps of the style network, and at most of fine-tuning.
STYLE_STEPS, FINETUNE_STEPS = 700, 200
#: Real cases that judge the style network, and site A's cases that it takes the look from.
_HELD_OUT, _LOOK_CASES = 4, 60

Make = Callable[[Source, Path, int], Path]


@dataclass(frozen=True)
class Remedy:
    """A model that a site trained.

    Attributes
    ----------
    folder: the model folder. settings: all that decides what it is, plain values. words: of how it was trained, for readers.
    """

    folder: Path
    settings: dict[str, Any]
    words: str


def site_knees(place: TrainingPlace, site: Site, make: Make, tests: Sequence[CaseSource]) -> list[Path]:
    """A site's own cases, made unless they are there. All sites have the same knees.

    make: as `second_site.site_maker` gives it. tests: cases that must not be among them.

    Raises InputError without the shape model of the recipe's folder, or where a test case is among them; Cancelled.
    """
    if not place.work.shape_model.is_file():
        raise InputError(
            f"{place.work.shape_model} is missing, and site {site.name}'s own knees are drawn from it: name --work."
        )
    # The first site's folder has them since it was the only one.
    drawn = synthetic_cases(
        place.work.shape_model, SITE_KNEES, site_seed(place), _folder(place, SITE_B) / "knees"
    ).folder
    knees = sorted(path.parent for path in drawn.glob(f"*/{CASE_FILE}"))
    return site_cases(knees[:SITE_KNEES], _folder(place, site) / "cases", place.seed, make, tests, site)


def _folder(place: TrainingPlace, site: Site) -> Path:
    return place.out / f"site-{site.name.lower()}"


def _named(folder: str, site: Site) -> str:
    """The folder of what a site trains."""
    return folder if site is SITE_B else f"{folder}-{site.name.lower()}"


def site_seed(place: TrainingPlace) -> int:
    """A seed that neither the training population nor the recipe's test cases have."""
    taken = {place.recipe.population.get(name) for name in ("seed", "test_seed")}
    return next(seed for seed in count(SITE_SEED) if seed not in taken)


def site_cases(
    knees: Sequence[Path], out: Path, seed: int, make: Make, tests: Sequence[CaseSource] = (), site: Site = SITE_B
) -> list[Path]:
    """Case folders of given knees as a site shows them, in their order; those that are there are kept.

    Parameters
    ----------
    knees: cases with a CT or bones. out: folder of the cases. seed: of their noise. make: as `second_site.site_maker` gives it.
    tests: cases that must not be among them.

    Raises InputError where a test case is among the knees, by its id, or another knee of its person.
    """
    known = {source.case.id for source in tests}
    persons = {person_of(source.case) for source in tests}
    found = []
    for folder in knees:
        source = CaseSource(folder)
        if source.case.id in known:
            raise InputError(
                f"The test case {source.case.id} is one of site {site.name}'s own knees: name folders of other cases."
            )
        if person_of(source.case) in persons:
            raise InputError(
                f"{folder}, one of site {site.name}'s own knees, is of {person_of(source.case)}, of whom a test case is: name folders of"
                " cases of other persons."
            )
        target = out / source.id
        if not (target / CASE_FILE).is_file():
            unfinished = out / f".unfinished-{source.id}"
            shutil.rmtree(unfinished, ignore_errors=True)
            make(source, unfinished, seed_of(source, seed)).rename(target)
        source.close()
        found.append(target)
    return found


def look_of_samples(place: TrainingPlace) -> StyleReference:
    """The style of site A's training images, from the folder of the experiment, where it is fitted first if it is missing."""
    path = place.out / "style-reference.json"
    if not path.is_file():
        store = SampleStore(place.work.samples)
        chosen = sorted({int(i) for i in np.linspace(0, len(store) - 1, min(_LOOK_CASES, len(store)))})
        images = (image.astype(np.float64) for case in chosen for image in store.read(case, 0, teacher=False).images)
        look = fitted_style(images, f"{len(chosen)} cases of samples {store.fingerprint}")
        Path(place.out).mkdir(parents=True, exist_ok=True)
        look.save(path)
    return StyleReference.load(path)


def translated_site(place: TrainingPlace, cases: Sequence[Path], site: Site = SITE_B) -> Remedy:
    """An unpaired style network between a site's radiographs and site A's samples, as `ssrkd style train` trains it.

    cases: all cases of one folder. Raises as `train_style`.
    """
    store = SampleStore(place.work.samples)
    chosen = nested_cases(store, min(_LOOK_CASES, sum(store.labelled)), 0, place.seed)
    simulated = linked_store(store, chosen, place.out / "samples" / "look-of-site-a")
    settings = style_preset("compact").changed({"steps": STYLE_STEPS})
    held_out = min(_HELD_OUT, len(cases) - 1)
    job = StyleJob(
        cases[0].parent, simulated.folder, place.out / _named("style", site), settings, _run(place),
        held_out, f"site {site.name} to site A",
    )  # fmt: skip
    outcome = train_style(job)
    described = {**_of_site(place, cases, site), "training": settings.to_dict(), "samples": simulated.fingerprint}
    words = _style_words(outcome, len(cases), held_out, len(chosen), site)
    return Remedy(outcome.folder, _with_weights(described, outcome.folder), words)


def _style_words(outcome: StyleOutcome, real: int, held_out: int, simulated: int, site: Site) -> str:
    found = outcome.measures
    refused = "" if outcome.accepted else f"; `ssrkd style` would not let it be used, for {outcome.refusal}"
    before, after = found["look_distance_before"], found["look_distance"]
    return (
        f"Translated at {site.name}: a style network, {STYLE_STEPS} steps on the radiographs of {real - held_out} other knees of site"
        f" {site.name} and {simulated} of site A; on {held_out} held-out knees of site {site.name} the distance from site A's images of"
        f" their layout went from {before:.3f} to {after:.3f} standard deviations of these{refused}."
    )


def finetuned_site(
    place: TrainingPlace,
    model: Model,
    cases: Sequence[Path],
    site: Site = SITE_B,
    called: str = "the plain student",
    rehearse: bool = False,
) -> Remedy:
    """A model that went on learning from a site's labelled cases, as `ssrkd finetune` does it. called: in words, for readers.
    rehearse: beside site A's samples, which the model learnt from.

    Raises as `finetune`.
    """
    chosen = list(cases[:LABELLED_KNEES])
    changes = {"steps": FINETUNE_STEPS}
    job = FinetuneJob(
        model, chosen, place.out / _named("fine-tuned", site), own_samples=place.work.samples if rehearse else None, settings=changes,
        run=_run(place), resolution=place.resolution,
        device=place.device, name=f"{called.removeprefix('the ')}, fine-tuned at site {site.name}",
    )  # fmt: skip
    outcome = finetune(job)
    described = {**_of_site(place, chosen, site), "changes": changes, "student": weights_sha256(model),
                 "network": settings_identity(model)}  # fmt: skip
    if rehearse:
        described["rehearsed"] = SampleStore(place.work.samples).fingerprint
    words = _finetuning_words(outcome, len(chosen), site, called)
    return Remedy(outcome.folder, _with_weights(described, outcome.folder), words)


def _finetuning_words(outcome: FinetuneOutcome, count: int, site: Site, called: str) -> str:
    beside = " beside site A's samples" if outcome.record["rehearsed"] else ""
    uses, stopping = outcome.record["cases"], outcome.record["stopping"]
    refused = "" if outcome.accepted else ", so that `ssrkd finetune` would not let it take the first one's place"
    return (
        f"Fine-tuned at {site.name}: {called} on {count} labelled other knees of site {site.name} ({uses['training']} to learn from,"
        f" {uses['stopping']} to stop, {uses['held_out']} to compare), at most {FINETUNE_STEPS} steps{beside}; the weights of step"
        f" {stopping['best_step']} were best, and {outcome.comparison['verdict']} on what was to compare{refused}."
    )


def _of_site(place: TrainingPlace, cases: Sequence[Path], site: Site) -> dict[str, Any]:
    return {
        "site": site.settings,
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

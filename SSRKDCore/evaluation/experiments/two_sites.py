"""Two image formations stand in for two hospitals: students of site A's images on site B's, with and without each remedy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from SSRKDCore.evaluation.case_evaluation import case_reconstruction
from SSRKDCore.evaluation.experiments.framework import Plan, Point, given_case
from SSRKDCore.evaluation.experiments.registry import Request
from SSRKDCore.evaluation.experiments.rtk_projector import load_rtk
from SSRKDCore.evaluation.experiments.second_site import site_b_maker, site_settings
from SSRKDCore.evaluation.experiments.site_training import finetuned_site, site_b_knees, translated_site
from SSRKDCore.evaluation.experiments.training_points import (
    TrainingPlace,
    TrainingPoint,
    refuse_known_cases,
    train_point,
    training_settings,
)
from SSRKDCore.networks.model_folder import load_model
from SSRKDCore.networks.weights_file import sha256_of
from SSRKDCore.radiographs.style_matching import StyleReference, fitted_style
from SSRKDCore.training.sample_store import SampleStore
from SSRKDCore.training.settings import PHYSICS

LABELLED, UNLABELLED = 70, 280
_STYLE_CASES = 60


@dataclass(frozen=True)
class SitePoint:
    """A student on a site.

    Attributes
    ----------
    name: as tables call it. augmentation: of the student's training. at_b: on site B's images, else on A's.
    prepare, match: remedies before the network, see `radiographs.preparation` and `radiographs.style_matching`.
    translate: by a style network, before the network. finetune: the student on site B's own cases. Both see `site_training`.
    """

    name: str
    augmentation: bool | str
    at_b: bool
    prepare: bool = False
    match: bool = False
    translate: bool = False
    finetune: bool = False


POINTS = (
    SitePoint("A on A, plain", False, False),
    SitePoint("A on B, plain", False, True),
    SitePoint("A on B, prepared", False, True, prepare=True),
    SitePoint("A on B, matched", False, True, match=True),
    SitePoint("A on B, translated", False, True, translate=True),
    SitePoint("A on B, fine-tuned", False, True, finetune=True),
    SitePoint("A on B, usual augmentation", True, True),
    SitePoint("A on B, physics augmentation", PHYSICS, True),
    SitePoint("A on B, physics, prepared and matched", PHYSICS, True, prepare=True, match=True),
    SitePoint("A on A, usual augmentation", True, False),
    SitePoint("A on A, physics augmentation", PHYSICS, False),
)
_NOTES = (
    "Site A: one energy, Siddon's projector. Site B: 70 kV spectrum, scatter, grid, detector, display curve, RTK's projector; "
    "the same knees and rigs at both.",
    "Teacher and segmenter are those of site A in every student.",
)
_STUDENTS: Mapping[bool | str, str] = {False: "plain", True: "usual augmentation", PHYSICS: "physics augmentation"}


def plan(request: Request) -> Plan:
    """Train the students that are wanted, one an augmentation, and what site B trains itself, and give the plan that measures them.

    Raises as `train_point`, `train_style` and `finetune`, and InputError without RTK, test cases or a place to train, or for test cases
    among the samples.
    """
    load_rtk()
    place, sources = request.needed_training(), request.case_sources()
    wanted = request.wanted([point.name for point in POINTS])
    refuse_known_cases(place, sources)
    labelled, unlabelled = place.one("labelled", LABELLED), place.one("unlabelled", UNLABELLED)
    look, at_b = _look(place), site_b_maker()
    chosen = [point for point in POINTS if point.name in wanted]
    own = site_b_knees(place, at_b, sources) if any(point.translate or point.finetune for point in chosen) else []
    points, notes = [], list(_NOTES)
    for point in chosen:
        changes = {**place.student_batches(unlabelled > 0), "augmentation": point.augmentation}
        student = TrainingPoint(_STUDENTS[point.augmentation], labelled, unlabelled, changes)
        folder = train_point(place, student)
        settings: dict[str, Any] = {
            **training_settings(place, student),
            "weights": sha256_of(folder / "weights.safetensors"),
            "site": site_settings() if point.at_b else "A",
            "prepare": point.prepare,
            "match": look.fingerprint if point.match else None,
        }
        style = None
        if point.translate:
            remedy = translated_site(place, own)
            style, settings["translate"] = load_model(remedy.folder), remedy.settings
            notes.append(remedy.words)
        if point.finetune:
            remedy = finetuned_site(place, folder, own)
            folder, settings["finetune"] = remedy.folder, remedy.settings
            notes.append(remedy.words)
        method = case_reconstruction(
            load_model(folder),
            place.resolution,
            place.device,
            style=style,
            prepare=point.prepare,
            look=look if point.match else None,
        )
        make = at_b if point.at_b else given_case
        points.append(Point(point.name, make, settings=settings, method=method))
    return Plan(points, sources, {"": "site and remedy"}, notes=tuple(notes))


def _look(place: TrainingPlace) -> StyleReference:
    """The style of site A's training images, from the folder of the experiment, where it is fitted first if it is missing."""
    path = place.out / "style-reference.json"
    if not path.is_file():
        store = SampleStore(place.work.samples)
        chosen = sorted({int(i) for i in np.linspace(0, len(store) - 1, min(_STYLE_CASES, len(store)))})
        images = (image.astype(np.float64) for case in chosen for image in store.read(case, 0, teacher=False).images)
        look = fitted_style(images, f"{len(chosen)} cases of samples {store.fingerprint}")
        Path(place.out).mkdir(parents=True, exist_ok=True)
        look.save(path)
    return StyleReference.load(path)

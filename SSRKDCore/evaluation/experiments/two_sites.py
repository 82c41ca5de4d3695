"""Two image formations stand in for two hospitals: students of site A's images on site B's, with and without each remedy.

A model that is given takes the students' place, and a third site is added, see `given_model_sites`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from SSRKDCore.evaluation.case_evaluation import case_reconstruction
from SSRKDCore.evaluation.experiments.framework import Plan, Point, given_case
from SSRKDCore.evaluation.experiments.given_model_sites import given_model_plan
from SSRKDCore.evaluation.experiments.registry import Request
from SSRKDCore.evaluation.experiments.rtk_projector import load_rtk
from SSRKDCore.evaluation.experiments.second_site import SITE_B, site_maker
from SSRKDCore.evaluation.experiments.site_training import (
    finetuned_site,
    look_of_samples,
    site_knees,
    translated_site,
)
from SSRKDCore.evaluation.experiments.training_points import (
    TrainingPoint,
    refuse_known_cases,
    train_point,
    training_settings,
)
from SSRKDCore.networks.model_folder import load_model
from SSRKDCore.networks.weights_file import sha256_of
from SSRKDCore.training.settings import PHYSICS

LABELLED, UNLABELLED = 70, 280


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
    f"Site A: one energy, Siddon's projector. Site B: {SITE_B.words}; the same knees and rigs at both.",
    "Teacher and segmenter are those of site A in every student.",
)
_STUDENTS: Mapping[bool | str, str] = {False: "plain", True: "usual augmentation", PHYSICS: "physics augmentation"}


def plan(request: Request) -> Plan:
    """Train the students that are wanted, one an augmentation, and what site B trains itself, and give the plan that measures them.

    A request with a model gets the plan of `given_model_sites` instead.

    Raises as `train_point`, `train_style` and `finetune`, and InputError without RTK, test cases or a place to train, or for test cases
    among the samples.
    """
    given = next(iter((request.methods or {}).values()), None)
    if given is not None and given.model is not None:
        return given_model_plan(request, given.model)
    load_rtk()
    place, sources = request.needed_training(), request.case_sources()
    wanted = request.wanted([point.name for point in POINTS])
    refuse_known_cases(place, sources)
    labelled, unlabelled = place.one("labelled", LABELLED), place.one("unlabelled", UNLABELLED)
    look, at_b = look_of_samples(place), site_maker(SITE_B)
    chosen = [point for point in POINTS if point.name in wanted]
    own = site_knees(place, SITE_B, at_b, sources) if any(point.translate or point.finetune for point in chosen) else []
    points, notes = [], list(_NOTES)
    for point in chosen:
        changes = {**place.student_batches(unlabelled > 0), "augmentation": point.augmentation}
        student = TrainingPoint(_STUDENTS[point.augmentation], labelled, unlabelled, changes)
        folder = train_point(place, student)
        settings: dict[str, Any] = {
            **training_settings(place, student),
            "weights": sha256_of(folder / "weights.safetensors"),
            "site": SITE_B.settings if point.at_b else "A",
            "prepare": point.prepare,
            "match": look.fingerprint if point.match else None,
        }
        style = None
        if point.translate:
            remedy = translated_site(place, own)
            style, settings["translate"] = load_model(remedy.folder), remedy.settings
            notes.append(remedy.words)
        if point.finetune:
            remedy = finetuned_site(place, load_model(folder), own)
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

"""A trained model at sites that its training never saw, with and without each remedy, refined and the network alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from SSRKDCore.evaluation.case_evaluation import case_reconstruction
from SSRKDCore.evaluation.experiments.framework import Plan, Point, given_case
from SSRKDCore.evaluation.experiments.registry import Request
from SSRKDCore.evaluation.experiments.rtk_projector import load_rtk
from SSRKDCore.evaluation.experiments.second_site import SITES, site_maker
from SSRKDCore.evaluation.experiments.site_training import (
    Remedy,
    finetuned_site,
    look_of_samples,
    site_knees,
    translated_site,
)
from SSRKDCore.evaluation.experiments.sources import CaseSource
from SSRKDCore.evaluation.experiments.training_points import TrainingPlace, refuse_known_cases
from SSRKDCore.networks.model_folder import Model, load_model, shape_prior_path, style_reference_path
from SSRKDCore.radiographs.style_matching import StyleReference
from SSRKDCore.reconstruction.matched_style import look_of

#: A point's name without it is of the model as it is used, with the shape prior that it brings.
NETWORK_ALONE = ", network alone"


@dataclass(frozen=True)
class GivenModelPoint:
    """A model on a site.

    Attributes
    ----------
    name: as tables call it. site: whose images are read, "A" for the cases as they are.
    prepare, match: remedies before the network, see `radiographs.preparation` and `radiographs.style_matching`.
    translate: by the site's style network. finetuned: name of the site whose own cases the model went on learning from, or "".
    refine: with the model's shape prior; False is the network alone.
    """

    name: str
    site: str
    prepare: bool = False
    match: bool = False
    translate: bool = False
    finetuned: str = ""
    refine: bool = True


def given_model_points(refined: bool) -> list[GivenModelPoint]:
    """The points of the experiment: of the network alone, and where there is a shape prior of the refined bones before them."""
    points = [GivenModelPoint("A on A, plain", "A")]
    points += [GivenModelPoint(f"A on A, fine-tuned at {name}", "A", finetuned=name) for name in SITES]
    for name in SITES:
        points += [
            GivenModelPoint(f"A on {name}, plain", name),
            GivenModelPoint(f"A on {name}, prepared", name, prepare=True),
            GivenModelPoint(f"A on {name}, matched", name, match=True),
            GivenModelPoint(f"A on {name}, prepared and matched", name, prepare=True, match=True),
            GivenModelPoint(f"A on {name}, translated", name, translate=True),
            GivenModelPoint(f"A on {name}, fine-tuned", name, finetuned=name),
        ]
    alone = [replace(point, name=f"{point.name}{NETWORK_ALONE}", refine=False) for point in points]
    return [*points, *alone] if refined else [replace(point, refine=False) for point in points]


def given_model_plan(request: Request, model: Model) -> Plan:
    """Train what the sites train themselves, and give the plan that measures the model there.

    Raises as `train_style` and `finetune`, and InputError without RTK, test cases, or the samples that the model learnt from, or for test
    cases among these.
    """
    load_rtk()
    place, sources = request.needed_training(), request.case_sources()
    points = given_model_points(shape_prior_path(model) is not None)
    wanted = request.wanted([point.name for point in points])
    refuse_known_cases(place, sources)
    chosen = [point for point in points if point.name in wanted]
    trained = _trained(place, chosen, sources, model)
    look = look_of(model) if style_reference_path(model) else look_of_samples(place)
    makers = {name: site_maker(site) for name, site in SITES.items()}
    made = [_point(point, model, place, look, trained, makers) for point in chosen]
    notes = (
        "Site A is what the model's training saw: one energy, Siddon's projector.",
        *(f"Site {site.name}: {site.words}." for site in SITES.values()),
        "The same knees and rigs at every site.",
        *(remedy.words for remedy in trained.values()),
    )
    return Plan(made, sources, {"": "site and remedy"}, notes=notes)


def _trained(
    place: TrainingPlace, points: list[GivenModelPoint], sources: list[CaseSource], model: Model
) -> dict[tuple[str, str], Remedy]:
    """("translate" or "finetune", site) -> what the site trained, as far as points want it."""
    found: dict[tuple[str, str], Remedy] = {}
    for name, site in SITES.items():
        translate = any(point.translate and point.site == name for point in points)
        tune = any(point.finetuned == name for point in points)
        own = site_knees(place, site, site_maker(site), sources) if translate or tune else []
        if translate:
            found["translate", name] = translated_site(place, own, site)
        if tune:
            found["finetune", name] = finetuned_site(
                place, model, own, site, f"the model '{model.name}'", rehearse=True
            )
    return found


def _point(
    point: GivenModelPoint,
    model: Model,
    place: TrainingPlace,
    look: StyleReference,
    trained: Mapping[tuple[str, str], Remedy],
    makers: Mapping[str, Any],
) -> Point:
    settings: dict[str, Any] = {
        "site": SITES[point.site].settings if point.site in SITES else point.site,
        "prepare": point.prepare,
        "match": look.fingerprint if point.match else None,
        "refine": point.refine,
    }
    style, reader = None, model
    if point.translate:
        remedy = trained["translate", point.site]
        style, settings["translate"] = load_model(remedy.folder), remedy.settings
    if point.finetuned:
        remedy = trained["finetune", point.finetuned]
        reader, settings["finetune"] = load_model(remedy.folder), remedy.settings
    method = case_reconstruction(
        reader,
        place.resolution,
        place.device,
        style=style,
        prepare=point.prepare,
        look=look if point.match else None,
        refine=point.refine,
    )
    return Point(point.name, makers.get(point.site, given_case), settings=settings, method=method)

"""The card of the shipped model: every figure in it is taken from a record, none is typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from SSRKDCore.training.model_evaluation import mean_over_bones, measured_table
from SSRKDCore.training.recipe import LICENCE, Recipe
from SSRKDCore.training.settings import MIXED, PHYSICS

#: What `augmentation` makes of a run's radiographs.
_LOOKS = {
    False: "as they are",
    True: "changed in grey values, blur and noise",
    PHYSICS: "exposed anew by physics",
    MIXED: "half of them exposed anew by physics, half changed in grey values, blur and noise",
}
#: The run whose images are volumes.
_ON_VOLUMES = "ct"


@dataclass(frozen=True)
class ShippedModel:
    """What the card is written from.

    Attributes
    ----------
    name: of the model.
    recipe: what it was made by.
    training: date, commit, remark, and the record of each stage.
    reports: of `ssrkd evaluate`, by test set. network_alone: likewise, without refinement.
    sources: by repository, licence and items of the anatomy it was made from.
    ablation: the four rows, or None.
    correction: the card of its surface correction, as `fit_surface_correction` writes it, or None where it brings none.
    """

    name: str
    recipe: Recipe
    training: Mapping[str, Any]
    reports: Mapping[str, Mapping[str, Any]]
    network_alone: Mapping[str, Mapping[str, Any]]
    sources: Mapping[str, Mapping[str, Any]]
    ablation: Mapping[str, Any] | None
    correction: Mapping[str, Any] | None = None


def _sources_text(sources: Mapping[str, Mapping[str, Any]]) -> str:
    return "\n".join(f"- {name}: {entry['licence']} ({len(entry['items'])} items)" for name, entry in sources.items())


def _augmentations(stages: Mapping[str, Mapping[str, Any]]) -> dict[str, bool | str]:
    """Run on radiographs -> its `augmentation`, where the record says it."""
    return {
        run: record["settings"]["augmentation"]
        for run, record in stages.items()
        if run != _ON_VOLUMES and "augmentation" in record.get("settings", {})
    }


def _looks_text(stages: Mapping[str, Mapping[str, Any]]) -> str:
    """How radiographs looked in training."""
    found = _augmentations(stages)
    if not found:
        return "How its radiographs were changed is not recorded for this copy."
    told = "; ".join(f"{run}: {_LOOKS[augmentation]}" for run, augmentation in found.items())
    return f"Radiographs in training (docs/image_domain.md): {told}."


def _unseen_text(stages: Mapping[str, Mapping[str, Any]]) -> str:
    """What training never showed. Physics lays shells about the leg that stand for casts, and nothing that stands for the rest."""
    shells = bool({PHYSICS, MIXED} & set(_augmentations(stages).values()))
    never = f"Children, {'' if shells else 'casts, '}severe deformity, fractures, flexion beyond 40 degrees, one view missing: never seen."
    return f"{never} Casts: as simulated shells only." if shells else never


def _budget_text(stages: Mapping[str, Mapping[str, Any]]) -> str:
    lines = ["| stage | steps | minutes | on |", "|---|---|---|---|"]
    for stage, record in stages.items():
        budget = record.get("budget", record)
        lines.append(
            f"| {stage} | {budget.get('steps', '-')} | {budget.get('seconds', 0) / 60:.0f} | {budget.get('device', '-')} |"
        )
    return "\n".join(lines)


def _ablation_text(ablation: Mapping[str, Any] | None) -> str:
    if ablation is None:
        return "Not measured for this copy."
    lines = [
        f"{ablation['steps']} steps of {ablation['cases_in_a_step']} cases each, {ablation['labelled_cases']} labelled and "
        f"{ablation['unlabelled_cases']} unlabelled knees; exact ASSD in mm, mean over the four bones, on legs never seen "
        f"(`{ablation['command']}`, commit {ablation['commit']}, {ablation['date']}):",
        "",
        "| trained with | " + " | ".join(ablation["measured_on"]) + " |",
        "|---" * (len(ablation["measured_on"]) + 1) + "|",
    ]
    for row, entry in ablation["rows"].items():
        figures = (entry["exact_assd_mm"][name] for name in ablation["measured_on"])
        cells = ("a bone was not found" if figure is None else f"{figure:.2f}" for figure in figures)
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _refinement_text(model: ShippedModel) -> str:
    """Mean over bones of both average distances, with and without refinement."""
    lines = [
        "| cases | exact ASSD mm, network alone | refined | paper-protocol ASSD mm, network alone | refined |",
        "|---|---|---|---|---|",
    ]
    for name, report in model.reports.items():
        pairs = (
            mean_over_bones(source, measure)
            for measure in ("exact_assd_mm", "paper_assd_mm")
            for source in (model.network_alone[name], report)
        )
        cells = ("a bone was not found" if figure is None else f"{figure:.2f}" for figure in pairs)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _correction_text(correction: Mapping[str, Any] | None) -> str:
    """What the surface correction learnt from, and the distances at its anchors before and after."""
    if correction is None:
        return "This copy brings no surface correction."
    training, priors, held_out = correction["training"], correction["priors"], correction["held_out"]
    fewest, most = (f"{100 * share:.0f}" for share in priors["people_left_out_share"])
    knees, people = held_out["errors_at_anchors"], correction["people_left_out_of_the_prior"]["errors_at_anchors"]
    looks = sorted({look for found in knees.values() for look in found} - {"all"})
    names = sorted({name for found in people.values() for name in found} - {"all"})
    rows = [(f"{held_out['cases']} held-out knees, {look}", knees, look) for look in looks]
    rows += [(f"left out of the prior: {name}", people, name) for name in names]
    lines = [
        f"Learnt from {training['cases']} synthetic knees more, {training['exposures']} exposures each, refined with {priors['count']}",
        f"shape priors that lack {fewest} to {most} % of the people",
        f"(`{correction['command']}`,",
        f"commit {correction['commit']}, {correction['date']}). Mean distance in mm at anchors, before and after:",
        "",
        "| cases | " + " | ".join(knees) + " |",
        "|---" * (len(knees) + 1) + "|",
    ]
    for title, source, row in rows:
        found = (source.get(bone, {}).get(row) for bone in knees)
        cells = ("-" if entry is None else f"{entry['before_mm']:.2f}, {entry['after_mm']:.2f}" for entry in found)
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def card_of(model: ShippedModel) -> str:
    """The text of MODEL_CARD.md."""
    population, training = model.recipe.population, model.training
    excluded = ", ".join(population["excluded_subjects"])
    return f"""# {model.name}

A small network that turns two calibrated knee radiographs into femur, tibia, fibula and patella. **Research software, not a medical
device. Do not plan surgery with it.**

- Task: the student of SSR-KD (Lin et al. 2026), architecture preset `compact`, side-agnostic, any calibrated rig of two views 30 to 90
  degrees apart (most of the training at about 90).
- Licence: {LICENCE}.
- Recipe: `make model` with `{model.recipe.path.as_posix()}`; card and figures written {training["date"]} at commit {training["commit"]}.
- How this copy was made: {training["remark"]}

## Trained on

Simulated radiographs only: {population["labelled"]} labelled and {population["unlabelled"]} unlabelled synthetic knees (`ssrkd population`,
CT in Hounsfield units around samples of a shape model), each seen through several random rigs. The shape model was made of:

{_sources_text(model.sources)}

{_looks_text(training["stages"])}

Never used for the shape model or for training: {excluded}; everything marked evaluation-only (OAI); any real radiograph; any real CT (the
VHF shanks were used to calibrate the tissues' Hounsfield units).

## Budget

{_budget_text(training["stages"])}

The weights are the running average at the end; no checkpoint was picked by a test case.

## Measured

By `ssrkd evaluate` at 256^3. Radiographs of real bones are simulated by `ssrkd radiograph` (another density model than in training, quantum
and electronic noise). "{next(iter(model.reports), "")}" are {population["test_cases"]} knees of the training population's own kind under
another seed: what the network learnt, not what it will meet. Exact distances (point to triangle) and the paper's protocol (point to point)
are different measures; never compare one with the other. A bone that was not found counts as a failure and has no distance. Written by
`python -m SSRKDCore.training.publish`; the same figures, case by case, are in `evaluation.json` beside this card.

{measured_table(model.reports)}

The OAI knees have no fibula and end flat inside the field of view; their ends count as surface.

## What refinement is worth

After the network, the shape model of the same bones is fitted to what the network saw and to the edges in the radiographs (see
docs/refinement.md; `--no-refine` leaves it out). Means over the bones of the same cases:

{_refinement_text(model)}

## What the surface correction learnt

What refinement leaves wrong is learnt, and taken away from patella, femur and tibia (docs/refinement.md).

{_correction_text(model.correction)}

## What each part of the training is worth

Without refinement.

{_ablation_text(model.ablation)}

## Known failures

- Trained on simulated radiographs only: on real ones expect much larger errors (see the README for what it gives on a real pair).
- Geometry is taken as told: a wrong magnification or angle gives a wrong bone. The traffic light (docs/trust.md) sees views that
  contradict one another, and not a scale that is wrong in both.
- {_unseen_text(training["stages"])}
- The fibula and the back of the patella are seen by few rays and are the least certain.
"""

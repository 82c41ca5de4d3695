"""Intervals calibrated on people whom the shape prior has not seen.

`python -m SSRKDCore.trust.left_out_people --model MODEL --data DIR --work DIR`, after `fit_reference`.

The knees that a reference is fitted on are drawn from the shape model that refinement uses as its prior: no knees are easier. A patient
is in no prior. So each person of the prior who has a whole knee in the anatomy folder is left out of it once (both legs), the prior is
made again without them, their legs are exposed and reconstructed with it, and the errors at the vertices, in units of what the reference
expects, are pooled over people. A bone's factor becomes their 95 % quantile where that is larger than the population's own: residuals of
cross-validation in place of a single split (Barber, Candes, Ramdas and Tibshirani, "Predictive inference with the jackknife+", Ann Stat
49, 2021, section 3).

People whom the model's card leaves out altogether, on whom it is measured, never take part, nor does data for evaluation only. The
network's weights have seen knees drawn from the whole shape model, these people's shapes among them, and so has the surface correction:
only training again would undo that.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.cases import find_cases, load_case
from SSRKDCore.console import progress_bar, say
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.evaluation.case_evaluation import reference_surfaces
from SSRKDCore.evaluation.experiments.result_log import ResultLog
from SSRKDCore.evaluation.field_of_view import flat_shaft_end
from SSRKDCore.networks.model_folder import (
    SHAPE_PRIOR_ENTRY,
    SHAPE_PRIOR_NAME,
    Model,
    load_model,
    shape_prior_path,
    surface_correction_path,
)
from SSRKDCore.networks.model_settings import settings_identity
from SSRKDCore.networks.weights_file import sha256_of
from SSRKDCore.population.bone_sources import manifest_items, read_bone_sources
from SSRKDCore.population.shape_model import KneeShapeModel
from SSRKDCore.refinement.shape_prior import read_shape_prior, write_shape_prior
from SSRKDCore.surface import Surface
from SSRKDCore.training.program import exit_code_of
from SSRKDCore.trust.error_model import ErrorModel, held_for_each, interval_factor
from SSRKDCore.trust.reference import (
    FILE_NAME,
    LEFT_OUT_PROVENANCE,
    TrustReference,
    model_identity,
    reference_of,
    save_reference,
)
from SSRKDCore.trust.training_observation import RESOLUTION, case_images, measured, vertex_errors
from SSRKDCore.trust.vertex_terms import TERM_NAMES

Progress = Callable[[float, str], None]

FEWEST_PEOPLE = 3
_LOG = "observations"


def people_to_leave_out(model: Model, data: Path) -> list[str]:
    """The people of a model's shape prior who have a whole knee, all bones in one frame, among the folder's legs.

    Raises InputError when the model brings no shape prior, or its prior knows too few of them.
    """
    card = _prior_card(model)
    legs = _legs(data, card["excluded_subjects"])
    people = sorted({item["subject"] for item in legs} & set(card["people"]))
    if len(people) < FEWEST_PEOPLE:
        raise InputError(
            f"{data} has whole knees of {len(people)} people of the model's shape prior, and {FEWEST_PEOPLE} are the least to "
            "calibrate on: give the anatomy folder that the model was made from."
        )
    return people


def model_without(model: Model, person: str, data: Path, work: Path, progress: Progress | None = None) -> Model:
    """The model with its shape prior made again without a person, whose file is kept in `work` and taken from there.

    Raises InputError when the folder's other people are not those of the model's prior.
    """
    card = _prior_card(model)
    excluded = sorted({*card["excluded_subjects"], person})
    folder = work / "priors" / person
    path = folder / SHAPE_PRIOR_NAME
    if not path.is_file():
        shape_model = KneeShapeModel.fit(
            data, excluded, work / "registrations", progress or (lambda fraction, words: None)
        )
        folder.mkdir(parents=True, exist_ok=True)
        write_shape_prior(shape_model, path)
    found = read_shape_prior(path).card
    if set(found.get("people", ())) != set(card["people"]) - {person} or found.get("excluded_subjects") != excluded:
        raise InputError(
            f"The shape prior of {path} is of other people than the model's without {person}: give the anatomy folder that the "
            f"model was made from, and another work folder than {work}."
        )
    entry = {"file": SHAPE_PRIOR_NAME, "sha256": sha256_of(path)}
    correction = surface_correction_path(model)
    if correction is not None:
        # The templates are the same ones whoever is left out.
        shutil.copyfile(correction, folder / correction.name)
    return replace(model, path=folder, card={**model.card, SHAPE_PRIOR_ENTRY: entry})


def left_out_records(
    model: Model,
    data: Path,
    work: Path,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> list[dict[str, Any]]:
    """What is known and true at the vertices of people left out: "case", "person", "rig", "terms" and "errors" by bone; plain values.

    Parameters
    ----------
    model: an X-ray model with a shape prior. data: the anatomy folder that it was made from.
    work: folder that keeps registrations, priors, cases, and records: the same call goes on from there.

    Raises InputError, Cancelled.
    """
    from SSRKDCore.training.test_sets import RIGS, unseen_legs

    people = people_to_leave_out(model, data)
    settings = {"model": model_identity(model), "settings": settings_identity(model), "people": people, "rigs": RIGS, "terms": TERM_NAMES,
                "resolution": RESOLUTION}  # fmt: skip
    log = ResultLog(work / _LOG, settings)
    done = {(record["case"], record["rig"]) for record in log.records}
    for index, person in enumerate(people):
        usable = {source.name: source.usable_to for source in read_bone_sources(data) if source.subject == person}
        _tell(progress, cancelled, index / len(people), f"leaving out {person}")
        without = model_without(model, person, data, work)
        sets = unseen_legs(data, [person], work / "cases" / person)
        jobs = [(rig, folder) for rig, group in zip(RIGS, sets, strict=True) for folder in find_cases(group.folder)]
        for place, (rig, folder) in enumerate(jobs):
            _tell(progress, cancelled, (index + place / len(jobs)) / len(people), f"{folder.name}, {rig}, left out")
            if (folder.name, rig) not in done:
                log.add({"person": person, "rig": rig, **observed(folder, without, usable.get(folder.name, {}))})
    return log.records


def observed(folder: Path, model: Model, usable_to: Mapping[str, float]) -> dict[str, Any]:
    """The case's name, and `vertex_terms` and true errors of its reconstruction by bone.

    usable_to: bone -> distance in mm from the joint line beyond which its surface is flawed, see `BoneSource`.
    """
    case = load_case(folder)
    images = case_images(case)
    result, measures = measured(images, case.rig, case.side, model)
    truth = reference_surfaces(case)
    extent = {name: scored_heights(name, surface, usable_to.get(name)) for name, surface in truth.items()}
    return {"case": case.id, "terms": measures.terms, "errors": vertex_errors(measures, result, truth, extent)}


def scored_heights(bone: str, surface: Surface, usable_to: float | None) -> tuple[float | None, float | None]:
    """(lowest z, highest z) in mm between which a real bone is bone: not beyond a flat end of its scan, nor beyond `usable_to` mm.

    The surface is in the anatomy folder's frame, whose z = 0 is the joint line; None leaves an end open.
    """
    flat = flat_shaft_end(surface, bone)
    heights = [abs(height) for height in (flat, usable_to) if height is not None]
    if not heights:
        return None, None
    return (None, min(heights)) if bone == "femur" else (-min(heights), None)


def calibrated(reference: TrustReference, records: Sequence[Mapping[str, Any]]) -> TrustReference:
    """The reference with factors that hold for the people left out too; calibrating it again starts from the population's factors.

    records: of `left_out_records`.
    """
    before = (reference.provenance.get(LEFT_OUT_PROVENANCE) or {}).get("population_factors") or {
        bone: model.factor for bone, model in reference.errors.items()
    }
    factors: dict[str, float] = {}
    held: dict[str, dict[str, float]] = {}
    for bone, model in reference.errors.items():
        chosen = [record for record in records if bone in record["terms"] and bone in record["errors"]]
        terms, errors = ([np.array(r[key][bone], dtype=np.float64) for r in chosen] for key in ("terms", "errors"))
        if any(np.isfinite(values).any() for values in errors):
            whose = [record["person"] for record in chosen]
            factors[bone] = interval_factor(model.weights, terms, errors, whose)
            held[bone] = held_for_each(model.weights, terms, errors, whose, before[bone])
    provenance = {
        "command": "python -m SSRKDCore.trust.left_out_people",
        "people": sorted({record["person"] for record in records}),
        "cases": len(records),
        "rigs": sorted({record["rig"] for record in records}),
        "population_factors": before,
        "left_out_factors": factors,
        "held_for_each": held,
    }
    errors_of = {
        bone: ErrorModel(model.weights, max(before[bone], factors.get(bone, 0.0)))
        for bone, model in reference.errors.items()
    }
    return replace(reference, errors=errors_of, provenance={**reference.provenance, LEFT_OUT_PROVENANCE: provenance})


def _legs(data: Path, excluded: Sequence[str]) -> list[dict[str, Any]]:
    return [
        item
        for item in manifest_items(data, excluded)
        if item["pose_is_anatomical"]
        and set(BONE_NAMES) <= set(item["files"])
        and (data / "legs" / item["id"]).is_dir()
    ]


def _prior_card(model: Model) -> dict[str, Any]:
    path = shape_prior_path(model)
    if path is None:
        raise InputError(f"The model '{model.name}' brings no shape prior: there is nothing to leave people out of.")
    card = read_shape_prior(path).card
    if not card.get("people") or "excluded_subjects" not in card:
        raise InputError(f"{path} does not say whose knees it was made from: publish the model again.")
    return card


def _tell(progress: Progress | None, cancelled: Callable[[], bool] | None, fraction: float, words: str) -> None:
    if cancelled is not None and cancelled():
        raise Cancelled("The calibration was cancelled.")
    if progress is not None:
        progress(fraction, words)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Calibrate trust's intervals on people left out of the shape prior.")
    parser.add_argument("--model", required=True, help="model folder, or the name of a bundled model")
    parser.add_argument("--data", type=Path, required=True, help="the anatomy folder that the model was made from")
    parser.add_argument(
        "--work", type=Path, required=True, help="folder to go on from; registrations, priors and cases stay in it"
    )
    parser.add_argument("--out", type=Path, help=f"file to write ({FILE_NAME} in the model's folder)")
    parsed = parser.parse_args(arguments)
    return exit_code_of("left_out_people", lambda: _run(parsed))


def _run(parsed: argparse.Namespace) -> None:
    """Calibrate, write and say; see `main`."""
    model = load_model(parsed.model)
    reference = reference_of(model)
    with progress_bar("Leaving people out") as progress:
        records = left_out_records(model, parsed.data, parsed.work, progress)
    found = calibrated(reference, records)
    out = parsed.out or Path(model.path) / FILE_NAME
    save_reference(out, found)
    # Priors and cases stay, records do not: they depend on how surfaces are made, of which their settings know nothing.
    shutil.rmtree(parsed.work / _LOG, ignore_errors=True)
    entry = found.provenance[LEFT_OUT_PROVENANCE]
    for bone in found.errors:
        say(
            f"{bone:<8} interval: {entry['population_factors'][bone]:.2f} x expected of the population, "
            f"{entry['left_out_factors'].get(bone, float('nan')):.2f} x of people left out{_held(entry['held_for_each'].get(bone))}"
        )
    say(f"Written: {out} ({', '.join(entry['people'])}; {entry['cases']} cases)")


def _held(shares: Mapping[str, float] | None) -> str:
    """How often the interval holds for a person on whom it was not calibrated, in words."""
    if not shares:
        return ""
    name, share = min(shares.items(), key=lambda entry: entry[1])
    return f"; calibrated without a person it holds for {np.mean(list(shares.values())):.1%} of theirs, {share:.1%} of {name}'s"


if __name__ == "__main__":
    sys.exit(main())

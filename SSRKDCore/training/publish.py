"""Measure the trained model and make the model folder that ships: `python -m SSRKDCore.training.publish`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from SSRKDCore.errors import InputError
from SSRKDCore.json_files import read_json, write_json
from SSRKDCore.networks.model_folder import (
    SHAPE_PRIOR_ENTRY,
    SHAPE_PRIOR_NAME,
    STYLE_REFERENCE_NAME,
    SURFACE_CORRECTION_NAME,
    Model,
    load_model,
    save_model,
    surface_correction_path,
)
from SSRKDCore.networks.model_settings import settings_identity
from SSRKDCore.population.shape_model import KneeShapeModel
from SSRKDCore.refinement.shape_prior import shape_prior_of, write_shape_prior
from SSRKDCore.refinement.surface_correction import surface_correction_of
from SSRKDCore.training.code_version import commit, today
from SSRKDCore.training.fit_surface_correction import fit_surface_correction
from SSRKDCore.training.model_evaluation import evaluate_sets
from SSRKDCore.training.program import exit_code_of
from SSRKDCore.training.recipe import LICENCE, Recipe, Workplace, make_correction_population, read_recipe, run_command
from SSRKDCore.training.shipped_card import ShippedModel, card_of
from SSRKDCore.training.test_sets import (
    TestSet,
    external_knees,
    synthetic_cases,
    unseen_legs,
    unseen_legs_of_known_tissue,
)

# What a surface correction is of.
_MADE_OF = ("weights", SHAPE_PRIOR_ENTRY)

EVALUATION_SCHEMA = "ssrkd-model-evaluation/1"


def make_test_sets(recipe: Recipe, place: Workplace, data: Path) -> list[TestSet]:
    """All sets of cases that the shipped model is measured on; what is there already is kept."""
    wanted = recipe.population
    synthetic = synthetic_cases(
        place.shape_model, wanted["test_cases"], wanted["test_seed"], place.test_cases / "synthetic-room"
    )
    subjects = wanted["excluded_subjects"]
    return [
        synthetic,
        *unseen_legs(data, subjects, place.test_cases),
        unseen_legs_of_known_tissue(data, subjects, place.test_cases),
        external_knees(data, place.test_cases),
    ]


def sources(data: Path, excluded: list[str]) -> dict[str, dict[str, Any]]:
    """By source repository: its licence, and how many of its items the population is made of."""
    manifest = read_json(data / "manifest.json", "the manifest of the anatomy folder")
    found: dict[str, dict[str, Any]] = {}
    for item in manifest["items"]:
        if item.get("suggested_use") != "train" or item.get("subject") in excluded:
            continue
        entry = found.setdefault(item["source_repository"], {"licence": item["licence"], "items": []})
        entry["items"].append(item["id"])
    return found


def training_records(recipe: Recipe, place: Workplace) -> dict[str, Any]:
    """What the model folder of each of the recipe's runs says of its training."""
    folders = {run: place.model(run) for run in recipe.runs}
    return {run: read_json(folder / "model.json", "a model description")["training"] for run, folder in folders.items()}


@dataclass(frozen=True)
class Companions:
    """Files that go with the shipped model: shape prior, style of its training images, and what is learnt of the errors of both."""

    shape_prior: Path
    style_reference: Path
    surface_correction: Path | None = None


def companions_of(folder: Path) -> Companions:
    """Those of a model folder: its trust is fitted to that shape prior. Raises InputError where it lacks one."""
    found = Companions(folder / SHAPE_PRIOR_NAME, folder / STYLE_REFERENCE_NAME)
    for path in (found.shape_prior, found.style_reference):
        if not path.is_file():
            raise InputError(f"{path} is missing: give --companions a model folder with both, or leave it out.")
    return found


def make_companions(place: Workplace) -> Companions:
    """Write both into the recipe's folder, from its shape model and its samples."""
    found = Companions(place.root / SHAPE_PRIOR_NAME, place.root / STYLE_REFERENCE_NAME)
    write_shape_prior(KneeShapeModel.load(place.shape_model), found.shape_prior)
    run_command("style-reference", "--samples", place.samples, "--out", found.style_reference, "--overwrite")
    return found


def with_correction(
    companions: Companions, given: Path | None, recipe: Recipe, place: Workplace, data: Path, folder: Path
) -> Companions:
    """With the surface correction of a saved model: the given folder's where it is of the same weights, settings and shape prior, or one
    that is learnt now, which takes half an hour of two cores."""
    if given is not None:
        kept, saved = load_model(given), load_model(folder)
        path = surface_correction_path(kept)
        same = all(kept.card[entry]["sha256"] == saved.card[entry]["sha256"] for entry in _MADE_OF)
        if path is not None and same and settings_identity(kept) == settings_identity(saved):
            return replace(companions, surface_correction=path)
    make_correction_population(recipe, place)
    fit_surface_correction(folder, place.correction_population, data, place.surface_correction)
    return replace(companions, surface_correction=folder / SURFACE_CORRECTION_NAME)


def _correction_card(folder: Path) -> Mapping[str, Any] | None:
    """What the surface correction of a saved model says of itself."""
    model = load_model(folder)
    prior = shape_prior_of(model)
    correction = None if prior is None else surface_correction_of(model, prior.templates)
    return None if correction is None else correction.card


def save(model: Model, training: Mapping[str, Any], card: str, companions: Companions, out: Path) -> None:
    """The shipped folder: float16 weights, the segmenter beside them where the network reads its image, and what goes with the model."""
    save_model(
        out, model.network, model.config, name=out.name, model_input=model.input, training=training, licence=LICENCE,
        dtype="float16", card=card, segmenter=model.segmenter, shape_prior=companions.shape_prior,
        surface_correction=companions.surface_correction, style_reference=companions.style_reference, overwrite=True,
    )  # fmt: skip


def publish(arguments: argparse.Namespace) -> None:
    """Save, measure, and write the card; see `main`."""
    recipe, place = read_recipe(arguments.config), Workplace(arguments.work)
    model = load_model(place.model(recipe.runs[-1]))
    training = {"date": today(), "commit": commit(), "command": "make model", "remark": arguments.remark,
                "recipe": read_json(arguments.config, "a training recipe"), "stages": training_records(recipe, place)}  # fmt: skip
    # float16 is what people get, so float16 is what is measured.
    unmeasured = place.root / arguments.out.name
    companions = companions_of(arguments.companions) if arguments.companions else make_companions(place)
    save(model, training, "Not measured yet.\n", companions, unmeasured)
    companions = with_correction(companions, arguments.companions, recipe, place, arguments.data, unmeasured)
    save(model, training, "Not measured yet.\n", companions, unmeasured)
    sets = make_test_sets(recipe, place, arguments.data)
    reports = evaluate_sets(unmeasured, sets, place.root / "evaluation")
    network_alone = evaluate_sets(unmeasured, sets, place.root / "evaluation-network-alone", refine=False)
    shipped = ShippedModel(
        arguments.out.name, recipe, training, reports, network_alone, sources(arguments.data, recipe.population["excluded_subjects"]),
        read_json(arguments.ablation, "an ablation") if arguments.ablation else None, _correction_card(unmeasured),
    )  # fmt: skip
    save(model, training, card_of(shipped), companions, arguments.out)
    write_json(
        arguments.out / "evaluation.json",
        {
            "schema": EVALUATION_SCHEMA,
            "commit": training["commit"],
            "date": training["date"],
            "groups": reports,
            "network_alone": network_alone,
        },
    )


def main() -> int:
    """Save the weights as they ship (float16), evaluate those on every test set, and write card and figures beside them."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="the recipe's folder")
    parser.add_argument("--out", type=Path, required=True, help="the model folder to write")
    parser.add_argument("--ablation", type=Path, help="JSON file of the ablation, for the card")
    parser.add_argument(
        "--companions",
        type=Path,
        help="model folder whose shape prior, style and, if of these weights, surface correction go with it (made again)",
    )
    parser.add_argument("--remark", default="by that recipe, unchanged.", help="how the run differed from the recipe")
    arguments = parser.parse_args()
    return exit_code_of("publish", lambda: publish(arguments))


if __name__ == "__main__":
    sys.exit(main())

"""From the anatomy folder to a model folder, one resumable step after another: `python -m SSRKDCore.training.recipe`.

The configuration names everything: who is left out, how many knees, the settings of the three stages and, where the student goes on in more
rooms (`many_rooms`), of that run. A step whose result is there is not repeated, and each step goes on where it was interrupted, so that the
same command finishes a run that was stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from SSRKDCore import cli, console
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.json_files import read_json, write_json
from SSRKDCore.training.program import exit_code_of

STAGES = ("segmenter", "ct", "xray")
#: The run in which the finished student goes on, where a recipe has such a section.
MANY_ROOMS = "many_rooms"
#: Of everything that is made of the anatomy folder.
LICENCE = "research only: trained on surfaces under CC BY-NC and other non-commercial or unstated licences (see MODEL_CARD.md)"
_POPULATION_FIELDS = (
    "excluded_subjects",
    "labelled",
    "unlabelled",
    "seed",
    "voxel_mm",
    "metal_share",
    "test_cases",
    "test_seed",
    "correction_cases",
    "correction_seed",
)


@dataclass(frozen=True)
class Recipe:
    """What a model is made of.

    Attributes
    ----------
    path: the configuration file.
    population: see `_POPULATION_FIELDS`; subjects, counts of cases, seeds, mm.
    training: what `ssrkd train --config` reads: preset, and changes of the samples, the stages and the run.
    many_rooms: changes of the student's settings for a run that starts from its weights; empty: there is none.
    """

    path: Path
    population: Mapping[str, Any]
    training: Mapping[str, Any]
    many_rooms: Mapping[str, Any] = field(default_factory=dict)

    @property
    def runs(self) -> tuple[str, ...]:
        """Names of the training runs, one after another; the last one's model is the recipe's."""
        return (*STAGES, MANY_ROOMS) if self.many_rooms else STAGES


def read_recipe(path: Path) -> Recipe:
    """The recipe of a file. Raises InputError when a field of the population is missing or unknown, or `many_rooms` is no object."""
    values = read_json(path, "a training recipe")
    population = values.pop("population", None)
    if not isinstance(population, dict) or set(population) != set(_POPULATION_FIELDS):
        raise InputError(f"{path}: population must hold {', '.join(_POPULATION_FIELDS)}, and nothing else: correct it.")
    many_rooms = values.pop(MANY_ROOMS, {})
    if not isinstance(many_rooms, dict):
        raise InputError(f"{path}: {MANY_ROOMS} must be an object with settings of the student: correct it.")
    values.pop("about", None)
    return Recipe(path, population, values, many_rooms)


@dataclass(frozen=True)
class Workplace:
    """Where the parts of a run lie, all below one folder."""

    root: Path

    @property
    def shape_model(self) -> Path:
        return self.root / "shape_model.npz"

    @property
    def shape_report(self) -> Path:
        return self.root / "shape_model.json"

    @property
    def population(self) -> Path:
        return self.root / "population"

    @property
    def correction_population(self) -> Path:
        return self.root / "correction-population"

    @property
    def surface_correction(self) -> Path:
        return self.root / "surface-correction"

    @property
    def samples(self) -> Path:
        return self.root / "samples"

    @property
    def test_cases(self) -> Path:
        return self.root / "test-cases"

    def run(self, name: str) -> Path:
        """The folder of a training run, see `Recipe.runs`."""
        return self.root / name.replace("_", "-")

    def model(self, run: str) -> Path:
        """The model folder of a finished run."""
        return self.run(run) / "model"

    @property
    def training_configuration(self) -> Path:
        return self.root / "training.json"


def run_command(*arguments: str | Path) -> None:
    """`ssrkd ARGUMENTS` in this process. Raises InputError when it failed, Cancelled when it was stopped."""
    words = [str(argument) for argument in arguments]
    console.complain(f"\n== ssrkd {' '.join(words)}")
    code = cli.main(words)
    if code == cli.EXIT_CANCELLED:
        raise Cancelled("stopped; the same command goes on from here")
    if code:
        raise InputError(f"`ssrkd {words[0]}` failed with exit code {code}: see the message above.")


def make_population(recipe: Recipe, place: Workplace, data: Path) -> None:
    """Shape model and training cases."""
    wanted = recipe.population
    if not place.shape_model.is_file():
        run_command("shape-model", "--data", data, "--exclude", *wanted["excluded_subjects"], "--out", place.shape_model,
                    "--report", place.shape_report)  # fmt: skip
    _population(recipe, place, wanted["labelled"], wanted["unlabelled"], wanted["seed"], place.population)


def make_correction_population(recipe: Recipe, place: Workplace) -> None:
    """Labelled cases that no network has learnt from, for the surface correction."""
    wanted = recipe.population
    _population(recipe, place, wanted["correction_cases"], 0, wanted["correction_seed"], place.correction_population)


def _population(recipe: Recipe, place: Workplace, labelled: int, unlabelled: int, seed: int, out: Path) -> None:
    wanted = recipe.population
    run_command(
        "population", "--shape-model", place.shape_model, "--cases", str(labelled), "--unlabelled", str(unlabelled),
        "--seed", str(seed), "--voxel", str(wanted["voxel_mm"]), "--metal-share", str(wanted["metal_share"]),
        "--no-radiographs", "--out", out,
    )  # fmt: skip


def train(recipe: Recipe, place: Workplace) -> None:
    """The recipe's runs, each with what the ones before gave."""
    write_json(place.training_configuration, dict(recipe.training))
    common: list[str | Path] = [
        "--cases",
        place.population,
        "--samples",
        place.samples,
        "--config",
        place.training_configuration,
    ]
    for run in recipe.runs:
        if (place.model(run) / "model.json").is_file():
            continue
        stage = "xray" if run == MANY_ROOMS else run
        helpers: list[str | Path] = []
        if stage == "xray":
            helpers = ["--teacher", place.model("ct"), "--segmenter", place.model("segmenter")]
        if run == MANY_ROOMS:
            helpers += ["--initial", place.model("xray"), *_assignments(recipe.many_rooms)]
        run_command("train", stage, *common, *helpers, "--licence", LICENCE, "--out", place.run(run))


def _assignments(values: Mapping[str, Any]) -> list[str]:
    """Settings as arguments of `ssrkd train`."""
    return [word for name, value in values.items() for word in ("--set", f"{name}={json.dumps(value)}")]


def follow(arguments: argparse.Namespace) -> None:
    """All steps of the recipe; see `main`."""
    recipe, place = read_recipe(arguments.config), Workplace(arguments.work)
    place.root.mkdir(parents=True, exist_ok=True)
    make_population(recipe, place, arguments.data)
    train(recipe, place)
    console.say(f"The student is in {place.model(recipe.runs[-1])}.")


def main() -> int:
    """Make the population and train the stages of a recipe; a run that was stopped goes on."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of real anatomy (manifest.json)")
    parser.add_argument("--work", type=Path, required=True, help="folder for everything that is made on the way")
    arguments = parser.parse_args()
    return exit_code_of("recipe", lambda: follow(arguments))


if __name__ == "__main__":
    sys.exit(main())

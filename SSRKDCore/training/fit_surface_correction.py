"""Learn what refinement leaves wrong: `python -m SSRKDCore.training.fit_surface_correction --model MODEL --cases DIR`.

From labelled cases that the network has not learnt from, exposed in many rooms and reconstructed with the model's network and with shape
priors that lack many of the people whom the cases are drawn from (`poorer_priors`). Every sixth person is held out, for what the card says.
The file goes into the model's folder; trust has to be fitted again then, as surfaces change.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from SSRKDCore.cases import load_case
from SSRKDCore.console import progress_bar, say
from SSRKDCore.errors import InputError
from SSRKDCore.networks.model_folder import (
    SHAPE_PRIOR_ENTRY,
    SURFACE_CORRECTION_NAME,
    add_surface_correction,
    load_model,
)
from SSRKDCore.networks.model_settings import settings_identity
from SSRKDCore.refinement.anchor_features import Anchors, chosen_anchors
from SSRKDCore.refinement.refine import REFINED
from SSRKDCore.refinement.shape_prior import shape_prior_of
from SSRKDCore.refinement.surface_correction import SurfaceCorrection, write_surface_correction
from SSRKDCore.training.code_version import command_of, made_by
from SSRKDCore.training.correction_examples import Examples, correction_examples
from SSRKDCore.training.correction_on_people import people_examples
from SSRKDCore.training.correction_training import CorrectionTraining, left_errors, train
from SSRKDCore.training.poorer_priors import LEFT_OUT_SHARES, poorer_priors
from SSRKDCore.training.program import exit_code_of, positive_number
from SSRKDCore.training.whole_persons import person_of
from SSRKDCore.trust.training_observation import labelled_folders

#: Anchors of each bone, some 5 mm apart.
ANCHORS = {"patella": 400, "femur": 900, "tibia": 900}
#: Shape priors that cases are refined with.
PRIORS = 8
FEWEST_CASES = 12
DEFAULT_EXPOSURES = 3
_HELD_OUT = 6


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Learn what refinement leaves wrong, from labelled cases.")
    parser.add_argument("--model", type=Path, required=True, help="model folder with a shape prior")
    parser.add_argument("--cases", type=Path, required=True, help="folder of labelled cases with CTs")
    parser.add_argument("--data", type=Path, required=True, help="the anatomy folder that the model was made from")
    parser.add_argument("--exposures", type=positive_number, default=DEFAULT_EXPOSURES,
                        help=f"of each case, in rooms of their own ({DEFAULT_EXPOSURES})")  # fmt: skip
    parser.add_argument(
        "--steps",
        type=positive_number,
        default=CorrectionTraining.steps,
        help=f"of training ({CorrectionTraining.steps})",
    )
    parser.add_argument("--seed", type=int, default=0, help="of all randomness (0)")
    parser.add_argument("--work", type=Path, help="folder to go on from (.surface-correction.unfinished)")
    parsed = parser.parse_args(arguments)
    command = command_of("SSRKDCore.training.fit_surface_correction", arguments)
    training = CorrectionTraining(steps=parsed.steps, seed=parsed.seed)
    work = parsed.work or Path.cwd() / ".surface-correction.unfinished"

    def job() -> None:
        fit_surface_correction(parsed.model, parsed.cases, parsed.data, work, parsed.exposures, training, command)

    return exit_code_of("fit_surface_correction", job)


def fit_surface_correction(
    folder: Path,
    cases: Path,
    data: Path,
    work: Path,
    exposures: int = DEFAULT_EXPOSURES,
    training: CorrectionTraining | None = None,
    command: str = "python -m SSRKDCore.training.publish",
) -> dict[str, Any]:
    """Make examples, train, and put the correction into the model folder.

    Parameters
    ----------
    folder: a model folder with a shape prior. cases: folder of labelled cases with CTs.
    data: the anatomy folder that its prior was made from. work: to go on from.
    exposures: of each case. training: how. command: for the card.

    Returns `left_errors` of the held-out cases. Raises InputError for a model without prior, too few or unusable cases.
    """
    model = load_model(folder)
    prior = shape_prior_of(model)
    if prior is None:
        raise InputError(f"The model '{model.name}' brings no shape prior: there is no refinement to correct.")
    folders = labelled_folders(cases)
    if len(folders) < FEWEST_CASES:
        raise InputError(f"{len(folders)} cases are too few to learn from: give at least {FEWEST_CASES}.")
    held_out = _held_out(folders)
    training = training or CorrectionTraining()
    anchors = {name: Anchors.of(prior.templates[name], chosen_anchors(prior.templates[name], ANCHORS[name]))
               for name in REFINED}  # fmt: skip
    with progress_bar("Poorer shape priors") as progress:
        priors = poorer_priors(prior, REFINED, data, PRIORS, work, training.seed, progress)
    # Bones depend on what the network is shown, too.
    belongs_to = (model.card["weights"]["sha256"], model.card[SHAPE_PRIOR_ENTRY]["sha256"], settings_identity(model))
    kept = work / "-".join(["examples", *(part[:12] for part in belongs_to)])
    with progress_bar("Bones to learn from") as progress:
        examples = correction_examples(model, priors, anchors, folders, exposures, kept, training.seed, progress)
    with progress_bar("Training") as progress:
        network = train(_of_cases(examples, held_out, False), training, progress)
    left = left_errors(network, _of_cases(examples, held_out, True))
    with progress_bar("People left out") as progress:
        on_people = left_errors(network, people_examples(model, anchors, data, work, progress))
    card = {
        **made_by(command),
        "priors": {"count": len(priors), "people_left_out_share": LEFT_OUT_SHARES},
        "training": {**vars(training), "cases": len(folders) - len(held_out), "exposures": exposures},
        "held_out": {"cases": len(held_out), "errors_at_anchors": left},
        "people_left_out_of_the_prior": {"errors_at_anchors": on_people},
    }
    written = work / SURFACE_CORRECTION_NAME
    write_surface_correction(written, SurfaceCorrection(anchors, network, card))
    add_surface_correction(folder, written)
    for whom, found in (("held-out cases", left), ("people left out of the prior", on_people)):
        say(f"Mean error at anchors, mm, {whom}")
        for name, looks in found.items():
            words = ", ".join(f"{look} {row['before_mm']:.3f} -> {row['after_mm']:.3f}" for look, row in looks.items())
            say(f"  {name:<8} {words}")
    say(f"Written: {folder / SURFACE_CORRECTION_NAME}. Fit trust again: it belongs to the surfaces of before.")
    return left


def _held_out(folders: Sequence[Path]) -> set[str]:
    """Names of the cases of every sixth person, in the order in which persons come first; of the last where there are fewer.

    Raises InputError for cases of one person alone.
    """
    owners = {folder.name: person_of(load_case(folder)) for folder in folders}
    persons = list(dict.fromkeys(owners.values()))
    if len(persons) < 2:
        raise InputError(
            "All cases are of one person, and those held out have to be of another: give cases of more persons."
        )
    apart = persons[_HELD_OUT - 1 :: _HELD_OUT] or persons[-1:]
    return {name for name, person in owners.items() if person in apart}


def _of_cases(examples: Mapping[str, Examples], names: set[str], inside: bool) -> dict[str, Examples]:
    """The examples of these cases, or of all others."""
    found = {}
    for bone, given in examples.items():
        rows = [index for index, case in enumerate(given.cases) if (str(case) in names) == inside]
        found[bone] = replace(
            given,
            described=given.described[rows],
            errors_mm=given.errors_mm[rows],
            looks=given.looks[rows],
            cases=given.cases[rows],
        )
    return found


if __name__ == "__main__":
    sys.exit(main())

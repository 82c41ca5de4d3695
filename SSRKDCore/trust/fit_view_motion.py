"""How well turns of a second view are known: `python -m SSRKDCore.trust.fit_view_motion --model MODEL --cases DIR --data DIR`.

After `left_out_people`. Knees that no network was trained on are reconstructed with their second view misstated at random
(`view_motion_trials`). What a spread of the least-squares problem is worth comes from the population's knees (`known_spreads`); as these
are drawn from the shape model, it is never less than what the people ask for who were left out of it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from SSRKDCore.console import progress_bar, say
from SSRKDCore.errors import InputError
from SSRKDCore.networks.model_folder import load_model
from SSRKDCore.training.code_version import command_of, made_by
from SSRKDCore.training.program import exit_code_of
from SSRKDCore.trust.known_spreads import FEWEST_IN_GROUP, fit_factors, known_to
from SSRKDCore.trust.known_view_motion import KnownViewMotion, save_known_view_motion, view_motion_folder
from SSRKDCore.trust.training_observation import labelled_folders
from SSRKDCore.trust.view_motion_trials import LOOKS, TRIALS_A_LOOK, errors_of, people_trials, population_trials

Record = Mapping[str, Any]

DEFAULT_SEED = 900


def fitted(population: Sequence[Record], people: Sequence[Record]) -> KnownViewMotion:
    """What is known by these trials. Raises InputError for too few of the population."""
    tables = []
    for which in (0, 1):
        factors = fit_factors(*errors_of(population, which))
        spreads, errors = errors_of(people, which)
        if len(spreads):
            known = np.array([known_to(factors, spread) for spread in spreads])
            factors[:, 1] *= max(1.0, float((np.abs(errors) / known).max()))
        tables.append(factors)
    return KnownViewMotion(*tables)


def shown(records: Sequence[Record], known: KnownViewMotion) -> dict[str, dict[str, Any]]:
    """By kind of trial: how many, how many were told, and of angle and roll the error of the middle and of 90 %, and what is known on
    average, in degrees."""
    found = {}
    for kind in dict.fromkeys(str(record["kind"]) for record in records):
        chosen = [record for record in records if record["kind"] == kind]
        row: dict[str, Any] = {"trials": len(chosen), "told": sum(record["found"] is not None for record in chosen)}
        for which, (name, of) in enumerate((("angle", known.angle_degrees), ("roll", known.roll_degrees))):
            spreads, errors = errors_of(chosen, which)
            if len(spreads):
                limits = np.array([of(spread) for spread in spreads])
                row[name] = {
                    "error_degrees_in_the_middle": float(np.median(np.abs(errors))),
                    "error_degrees_of_90_percent": float(np.quantile(np.abs(errors), 0.9)),
                    "known_to_degrees": float(limits.mean()),
                    "within_what_is_known": int((np.abs(errors) <= limits).sum()),
                }
        found[kind] = row
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Measure how well turns of a second view are known.")
    parser.add_argument("--model", required=True, help="model folder, or the name of a bundled model")
    parser.add_argument("--cases", type=Path, required=True, help="folder of labelled cases with CTs, never trained on")
    parser.add_argument("--data", type=Path, required=True, help="the anatomy folder that the model was made from")
    parser.add_argument("--left-out", type=Path, required=True, help="work folder of left_out_people")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help=f"of all randomness ({DEFAULT_SEED})")
    parser.add_argument("--work", type=Path, help="folder to go on from (.view-motion.unfinished)")
    parser.add_argument("--out", type=Path, help="folder to write (the bundled one)")
    parsed = parser.parse_args(arguments)
    command = command_of("SSRKDCore.trust.fit_view_motion", arguments)
    return exit_code_of("fit_view_motion", lambda: _fit(parsed, command))


def _fit(parsed: argparse.Namespace, command: str) -> None:
    """Reconstruct, fit, write and say; see `main`."""
    out = parsed.out or view_motion_folder()
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: choose a folder for what is known.")
    work = parsed.work or Path.cwd() / ".view-motion.unfinished"
    model = load_model(parsed.model)
    folders = labelled_folders(parsed.cases)
    trials = len(LOOKS) * TRIALS_A_LOOK
    if len(folders) * trials < FEWEST_IN_GROUP:
        raise InputError(
            f"{parsed.cases} has {len(folders)} cases, each seen {trials} times: give {FEWEST_IN_GROUP // trials + 1} or more."
        )
    with progress_bar("A population's knees") as progress:
        population = population_trials(model, folders, work / "population", parsed.seed, progress)
    with progress_bar("People left out") as progress:
        people = people_trials(model, parsed.data, parsed.left_out, work / "people", parsed.seed, progress)
    known = fitted(population, people)
    rows = shown([*population, *people], known)
    save_known_view_motion(out, known, {**made_by(command), "cases": len(folders), "trials": rows})
    for kind, row in rows.items():
        parts = [
            f"{name} {row[name]['error_degrees_in_the_middle']:.1f} degrees in the middle, {row[name]['error_degrees_of_90_percent']:.1f} "
            f"of 90 %, known to {row[name]['known_to_degrees']:.1f}"
            for name in ("angle", "roll")
            if name in row
        ]
        say(f"{kind:<16} {row['told']} of {row['trials']} told; {'; '.join(parts)}")
    say(f"Written: {out}")


if __name__ == "__main__":
    sys.exit(main())

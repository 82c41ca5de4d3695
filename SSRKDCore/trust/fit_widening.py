"""Widen the intervals where images or bones are unlike the training's: `python -m SSRKDCore.trust.fit_widening --model MODEL --cases DIR`.

After `fit_reference` and `left_out_people`: training cases in rooms that the reference does not know (`other_rooms`) are reconstructed, and
how far their errors exceed the stated intervals says how much wider these must be, by how strange the case is (`widening`).
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

from SSRKDCore.console import progress_bar, say
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.evaluation.experiments.result_log import ResultLog
from SSRKDCore.networks.model_folder import Model, load_model
from SSRKDCore.training.program import exit_code_of
from SSRKDCore.trust.other_rooms import ROOMS, room_observation
from SSRKDCore.trust.reference import FILE_NAME, WIDENING_PROVENANCE, TrustReference, reference_of, save_reference
from SSRKDCore.trust.training_observation import RESOLUTION, labelled_folders
from SSRKDCore.trust.widening import FEWEST_IN_GROUP, fit_widening

Progress = Callable[[float, str], None]
Record = Mapping[str, Any]

DEFAULT_CASES = 48
DEFAULT_ROOMS = 2 * len(ROOMS)
DEFAULT_SEED = 900


def room_records(
    model: Model,
    reference: TrustReference,
    folders: Sequence[Path],
    rooms: int,
    work: Path,
    seed: int = DEFAULT_SEED,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> list[dict[str, Any]]:
    """`room_observation` of every case in each of its rooms.

    Parameters
    ----------
    model, reference: an X-ray model and its reference. folders: labelled cases with CTs. rooms: of each case. seed: of all randomness.
    work: folder that keeps what is measured: an interrupted call goes on from there.

    Raises InputError, Cancelled.
    """
    jobs = [(room, index) for room in range(rooms) for index in range(len(folders))]
    settings = {
        "model": reference.model_sha256,
        "settings": reference.settings_sha256 or None,
        "cases": [folder.name for folder in folders],
        "rooms": rooms,
        "seed": seed,
        "resolution": RESOLUTION,
    }
    log = ResultLog(work, settings)
    for number in range(len(log.records), len(jobs)):
        if cancelled is not None and cancelled():
            raise Cancelled("The fit was cancelled.")
        if progress is not None:
            progress(number / len(jobs), f"exposure {number + 1} of {len(jobs)}")
        room, index = jobs[number]
        log.add(room_observation(folders[index], model, reference, seed, index, room))
    return log.records


def with_widening(reference: TrustReference, records: Sequence[Record]) -> TrustReference:
    """The reference with what `records`, of `room_records`, say of strange cases; fitting it again starts from the plain intervals.

    Raises InputError where too few of the images are strange.
    """
    known = [record for record in records if "errors" in record]
    strangeness = [float(record["strangeness"]) for record in known]
    widening = fit_widening(strangeness, [_scores(record, reference) for record in known])
    if not len(widening):
        raise InputError(
            f"{sum(value > 1 for value in strangeness)} of {len(known)} exposures are unlike the training's, and {FEWEST_IN_GROUP} are "
            "the least to learn from: give more cases or rooms."
        )
    provenance = {
        "command": "python -m SSRKDCore.trust.fit_widening",
        "exposures": len(records),
        "refused": len(records) - len(known),
        "strange": sum(value > 1 for value in strangeness),
        "strangest": max(strangeness),
    }
    return replace(reference, widening=widening, provenance={**reference.provenance, WIDENING_PROVENANCE: provenance})


def _scores(record: Record, reference: TrustReference) -> list[Any]:
    """Errors over half widths of the interval where they are known, by bone."""
    found = []
    for bone, model in reference.errors.items():
        if bone in record["terms"] and bone in record["errors"]:
            terms, errors = (np.array(record[key][bone], dtype=np.float64) for key in ("terms", "errors"))
            scored = np.isfinite(errors)
            found.append(errors[scored] / model.interval(terms[scored]))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Widen the intervals where images or bones are unlike the training's.")
    parser.add_argument("--model", required=True, help="model folder, or the name of a bundled model")
    parser.add_argument("--cases", type=Path, required=True, help="folder of labelled training cases with CTs")
    parser.add_argument("--count", type=int, default=DEFAULT_CASES, help=f"how many of them ({DEFAULT_CASES})")
    parser.add_argument("--rooms", type=int, default=DEFAULT_ROOMS, help=f"rooms of each ({DEFAULT_ROOMS})")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help=f"of rooms and images ({DEFAULT_SEED})")
    parser.add_argument("--work", type=Path, help="folder to go on from (a hidden one here)")
    parser.add_argument("--out", type=Path, help=f"file to write ({FILE_NAME} in the model's folder)")
    parsed = parser.parse_args(arguments)
    return exit_code_of("fit_widening", lambda: _fit(parsed))


def _fit(parsed: argparse.Namespace) -> None:
    """Fit, write and say; see `main`."""
    if parsed.count < 1 or parsed.rooms < 1:
        raise InputError("Give at least one case and one room: correct --count or --rooms.")
    model = load_model(parsed.model)
    reference = reference_of(model)
    work = parsed.work or Path.cwd() / f".widening-{model.name}.unfinished"
    folders = labelled_folders(parsed.cases)[: parsed.count]
    with progress_bar("Widening") as progress:
        records = room_records(model, reference, folders, parsed.rooms, work, parsed.seed, progress)
    found = with_widening(reference, records)
    out = parsed.out or Path(model.path) / FILE_NAME
    save_reference(out, found)
    if parsed.work is None:
        shutil.rmtree(work, ignore_errors=True)
    for start, multiple in found.widening:
        say(f"from {start:.2f} times the amber limit on, errors are {multiple:.2f} times as large")
    say(f"Written: {out}")


if __name__ == "__main__":
    sys.exit(main())

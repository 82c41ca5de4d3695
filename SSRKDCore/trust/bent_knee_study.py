"""What a knee that bends between the two exposures does: `python -m SSRKDCore.trust.bent_knee_study --shape-model FILE --out DIR`.

Radiographs of one knee in two poses (`bent_knees`) are reconstructed with the rig as it stood, and with the second view where
`ssrkd calibrate pair` has it. How far off the bones are is measured against the pose of the second exposure: as a knee (all bones
moved onto the true ones as a whole, since no frame is right for both exposures), and bone by bone. Goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from SSRKDCore.console import progress_bar, say
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.alignment import aligned
from SSRKDCore.evaluation.exact_distances import surface_distances
from SSRKDCore.evaluation.experiments.result_log import ResultLog
from SSRKDCore.geometry.calibration.calibration_record import calibrated_rig
from SSRKDCore.geometry.calibration.pair_record import pair_record
from SSRKDCore.geometry.calibration.pose_parameters import POSE_NAMES
from SSRKDCore.geometry.calibration.pose_rounds import pose_by_reconstruction
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.json_files import write_json
from SSRKDCore.networks.model_folder import Model, load_model
from SSRKDCore.networks.model_settings import settings_identity
from SSRKDCore.output_folder import check_output_folder, complete_folder
from SSRKDCore.population.shape_model import KneeShapeModel
from SSRKDCore.reconstruction.pipeline import Reconstruction
from SSRKDCore.training.code_version import command_of, made_by
from SSRKDCore.training.program import exit_code_of, positive_number
from SSRKDCore.trust.bent_knee_page import page
from SSRKDCore.trust.bent_knees import BentKnee, bent_leg, drawn_bent_knee
from SSRKDCore.trust.flags import flags_of, light_of
from SSRKDCore.trust.reference import TrustReference, model_identity, reference_of
from SSRKDCore.trust.training_observation import RESOLUTION, measured

SCHEMA = "ssrkd-bent-knees/1"
DEGREES = (0.0, 5.0, 10.0, 20.0, 30.0)
DRAWN, LEGS = "drawn from a shape model", "real bones under simulated tissue"
_FIRST_SEED = 7100


def trial(knee: BentKnee, model: Model, reference: TrustReference) -> dict[str, Any]:
    """One knee, plain values: `stated` and `estimated`, each what `judged_bones` returns or {"refused": the sentence}; with a pose that was
    found also `pose` (6,), POSE_NAMES."""
    record: dict[str, Any] = {"stated": _or_refused(lambda: judged_bones(knee, knee.rig, model, reference))}
    try:
        found = pose_by_reconstruction(knee.radiographs, knee.rig, model, side=knee.side)
    except InputError as error:
        return {**record, "estimated": {"refused": str(error)}}
    record["pose"] = [float(value) for value in found.pose]
    # As the command writes it: with what it does not know, which the light reads.
    rig = calibrated_rig(found.rig, pair_record(found, [image.view or "" for image in knee.radiographs], []))
    record["estimated"] = _or_refused(lambda: judged_bones(knee, rig, model, reference))
    return record


def judged_bones(knee: BentKnee, rig: Rig, model: Model, reference: TrustReference) -> dict[str, Any]:
    """Light, flags, and mean exact distances (ASSD, mm) by bone: `as_a_knee`, all bones moved onto the true ones as a whole, and `own`,
    each by itself. Raises InputError as `reconstruct`."""
    result, measures = measured(knee.radiographs, rig, knee.side, model, needed_terms=reference.needed_terms)
    flags = flags_of(measures, reference)
    return {
        "light": light_of(flags),
        "flags": {flag.name: flag.light for flag in flags},
        "as_a_knee": _distances(result, knee, "knee"),
        "own": _distances(result, knee, "bone"),
    }


def summary(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each kind of knee and degrees, in order: `kind`, `degrees`, `knees`, and of both rigs `refused`, `lights`, `flags` (how
    often raised) and mean distances in mm: `as_a_knee` and `own` of all bones, `patella` and `worst` (bone) as a knee."""
    rows = []
    for kind, degrees in dict.fromkeys((record["kind"], record["degrees"]) for record in records):
        chosen = [record for record in records if (record["kind"], record["degrees"]) == (kind, degrees)]
        row: dict[str, Any] = {"kind": kind, "degrees": degrees, "knees": len(chosen)}
        for rig in ("stated", "estimated"):
            found = [record[rig] for record in chosen if "refused" not in record[rig]]
            names = sorted({name for entry in found for name in entry["flags"]})
            row[rig] = {
                "refused": len(chosen) - len(found),
                "lights": {
                    light: sum(entry["light"] == light for entry in found) for light in ("green", "amber", "red")
                },
                "flags": {name: sum(name in entry["flags"] for entry in found) for name in names},
                "as_a_knee": _mean([value for entry in found for value in entry["as_a_knee"].values()]),
                "own": _mean([value for entry in found for value in entry["own"].values()]),
                "patella": _mean([entry["as_a_knee"]["patella"] for entry in found if "patella" in entry["as_a_knee"]]),
                "worst": max((value for entry in found for value in entry["as_a_knee"].values()), default=None),
            }
        poses = [record["pose"] for record in chosen if "pose" in record]
        beam = POSE_NAMES.index("turn_about_beam_degrees")
        row["mean_turn_about_beam_degrees"] = _mean([abs(pose[beam]) for pose in poses])
        rows.append(row)
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Measure what a knee that bends between the exposures does.")
    parser.add_argument("--model", required=True, help="model folder, or the name of a bundled model")
    parser.add_argument("--shape-model", type=Path, required=True, help="that knees are drawn from")
    parser.add_argument("--knees", type=positive_number, default=8, help="how many are drawn (8)")
    parser.add_argument(
        "--leg", type=Path, action="append", default=[], help="folder of a real leg's surfaces, which no network saw"
    )
    parser.add_argument("--seed", type=int, default=_FIRST_SEED, help=f"of the first knee ({_FIRST_SEED})")
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps finished trials, to go on from")
    parser.add_argument("--out", type=Path, required=True, help="folder for bent_knees.json and README.md")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output folder")
    parsed = parser.parse_args(arguments)
    command = command_of("SSRKDCore.trust.bent_knee_study", arguments)
    return exit_code_of("bent_knee_study", lambda: _run(parsed, command))


def _run(parsed: argparse.Namespace, command: str) -> None:
    """Try all, write and say; see `main`."""
    check_output_folder(parsed.out, parsed.overwrite)
    model = load_model(parsed.model)
    reference, prior = reference_of(model), KneeShapeModel.load(parsed.shape_model)
    jobs: list[tuple[str, str, float, Callable[[], BentKnee]]] = []
    for degrees in DEGREES:
        for seed in range(parsed.seed, parsed.seed + parsed.knees):
            jobs.append((DRAWN, f"seed {seed}", degrees, partial(drawn_bent_knee, prior, seed, degrees)))
        for index, leg in enumerate(parsed.leg):
            jobs.append((LEGS, leg.name, degrees, partial(bent_leg, leg, degrees, parsed.seed + index)))
    settings = {
        "model": model_identity(model),
        "settings": settings_identity(model),
        "reference": dict(reference.provenance),
        "shape_model": prior.sha256(),
        "jobs": [list(job[:3]) for job in jobs],
        "resolution": RESOLUTION,
    }
    log = ResultLog(parsed.work, settings)
    with progress_bar("Bent knees") as progress:
        for number in range(len(log.records), len(jobs)):
            kind, name, degrees, make = jobs[number]
            progress(number / len(jobs), f"{name}, {degrees:g} degrees")
            try:
                found = trial(make(), model, reference)
            except InputError as error:
                # The knee cannot take the pose: that is no result.
                found = {"left_out": str(error)}
            log.add({"kind": kind, "name": name, "degrees": degrees, **found})
    usable = [record for record in log.records if "left_out" not in record]
    report = {
        "schema": SCHEMA,
        **made_by(command),
        "model": {"name": model.name, "weights_sha256": model.card["weights"]["sha256"]},
        "left_out": [
            f"{record['name']}, {record['degrees']:g} degrees: {record['left_out']}"
            for record in log.records
            if "left_out" in record
        ],
        "rows": summary(usable),
        "trials": usable,
    }
    with complete_folder(parsed.out, parsed.overwrite) as folder:
        write_json(folder / "bent_knees.json", report)
        (folder / "README.md").write_text(page(report), encoding="utf-8")
    say(f"Written: {parsed.out}")


def _or_refused(job: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return job()
    except InputError as error:
        return {"refused": str(error)}


def _distances(result: Reconstruction, knee: BentKnee, mode: str) -> dict[str, float]:
    """Exact ASSD in mm of the bones that were found, aligned as `mode` says, in the field of view."""
    box, margin = result.field_of_view.bounds, max(result.grid.spacing)
    found = {name: surface for name, surface in result.surfaces.items() if not surface.is_empty}
    moved, _ = aligned(found, knee.bones, mode, box, margin)
    return {name: float(surface_distances(moved[name], knee.bones[name], box, margin).assd) for name in found}


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None


if __name__ == "__main__":
    sys.exit(main())

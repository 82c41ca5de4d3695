"""How well trust tells good from bad: `python -m SSRKDCore.trust.measure --model MODEL --cases DIR --data DIR --out DIR`.

On cases that neither the model nor its reference has seen: false alarms, whether the stated 95 % holds, and whether the expected error
ranks the true one. On stand-ins (`trust.stand_ins`): which flags are raised.
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

from SSRKDCore.cases import find_cases, load_case
from SSRKDCore.console import progress_bar, say
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.evaluation.case_evaluation import reference_surfaces
from SSRKDCore.evaluation.experiments.few_colours import with_few_colours
from SSRKDCore.evaluation.experiments.plot import check_matplotlib
from SSRKDCore.evaluation.experiments.result_log import ResultLog
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.json_files import write_json
from SSRKDCore.networks.model_folder import Model, load_model
from SSRKDCore.output_folder import check_output_folder, complete_folder
from SSRKDCore.radiographs.radiograph import Radiograph
from SSRKDCore.refinement.view_motion import turned_second_view
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import read_bone_surfaces
from SSRKDCore.training.code_version import command_of, made_by
from SSRKDCore.training.program import exit_code_of
from SSRKDCore.trust.flags import expected_errors, flags_of, light_of
from SSRKDCore.trust.measured_page import page
from SSRKDCore.trust.measured_tables import tables
from SSRKDCore.trust.reference import TrustReference, load_reference, reference_of
from SSRKDCore.trust.reliability import write_reliability
from SSRKDCore.trust.stand_ins import STAND_INS, exchanged, stand_in, with_magnification
from SSRKDCore.trust.training_observation import case_images, measured, stated_metal, vertex_errors

Progress = Callable[[float, str], None]

SCHEMA = "ssrkd-trust-measured/1"
GOOD = "good"
#: Percent by which the stated magnification of the lateral view is wrong, or (second list) of both.
ONE_VIEW_PERCENT = (-5.0, -3.0, 3.0, 5.0)
BOTH_VIEWS_PERCENT = (-10.0, -5.0, 5.0, 10.0)
STATED_PERCENT = (-5.0, 5.0)
#: Degrees by which the beams are stated further apart than they were, and by which the lateral image is turned in its plane.
ANGLE_DEGREES = (-10.0, 10.0)
ROLL_DEGREES = (-5.0, 5.0)


def judged_case(
    radiographs: Sequence[Radiograph],
    rig: Rig,
    side: str,
    model: Model,
    reference: TrustReference,
    truth: Mapping[str, Surface] | None = None,
    extent: Any = None,
) -> dict[str, Any]:
    """Light and flags of one pair of radiographs, and with the truth the errors and what was said of them; plain values."""
    try:
        result, measures = measured(radiographs, rig, side, model, needed_terms=reference.needed_terms)
    except InputError as error:
        return {"light": "red", "flags": {"refused": "red"}, "reasons": [str(error)]}
    flags = flags_of(measures, reference)
    record: dict[str, Any] = {
        "light": light_of(flags),
        "flags": {flag.name: flag.light for flag in reversed(flags)},
        "reasons": [flag.sentence for flag in flags],
        "widened": reference.widened(measures),
        "scale_percent": None if measures.scale is None else measures.scale.percent,
        "scale_known_to_percent": None if measures.scale is None else measures.scale.known_to_percent,
        "second_view_turned_degrees": None
        if measures.motion is None
        else [measures.motion.angle_degrees, measures.motion.roll_degrees],
        "one_brightness": measures.one_brightness,
        "expected_mm": dict(expected_errors(measures, reference)),
    }
    if truth is not None:
        errors = vertex_errors(measures, result, truth, extent)
        expected = reference.expected_errors(measures)
        record["vertices"] = {
            name: {"expected": expected[name], "error": values} for name, values in errors.items() if name in expected
        }
        record["error_mm"] = {name: _mean(values) for name, values in errors.items()}
    return record


def _mean(values: Any) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def jobs(folders: Sequence[Path], data: Path | None, stand_ins: int, spoiled: int) -> list[dict[str, Any]]:
    """What to judge, plain values: good cases, with metal in their kind, some of them spoiled, and stand-ins made of whole legs."""
    found: list[dict[str, Any]] = [{"kind": _good_kind(folder), "source": str(folder)} for folder in folders]
    for folder in folders[:spoiled]:
        found.append({"kind": "swapped views", "source": str(folder)})
        found += [
            {
                "kind": f"lateral magnification {percent:+g} %",
                "source": str(folder),
                "views": ["lateral"],
                "percent": percent,
            }
            for percent in ONE_VIEW_PERCENT
        ]
        found += [
            {"kind": f"both magnifications {percent:+g} %", "source": str(folder), "views": None, "percent": percent}
            for percent in BOTH_VIEWS_PERCENT
        ]
    if data is not None:
        legs = sorted(path for path in (data / "legs").iterdir() if path.is_dir())
        for index, leg in enumerate(legs[:stand_ins]):
            found += [{"kind": f"stand-in: {kind}", "source": str(leg), "seed": index} for kind in STAND_INS]
    for folder in folders[:spoiled]:
        found += [
            {
                "kind": f"both magnifications {percent:+g} %, tags kept",
                "source": str(folder),
                "views": None,
                "percent": percent,
            }
            for percent in STATED_PERCENT
        ]
        found += [
            {"kind": f"angle between the views {degrees:+g} degrees", "source": str(folder), "turned": [degrees, 0.0]}
            for degrees in ANGLE_DEGREES
        ]
        found += [
            {
                "kind": f"lateral turned in its plane {degrees:+g} degrees",
                "source": str(folder),
                "turned": [0.0, degrees],
            }
            for degrees in ROLL_DEGREES
        ]
    return found


def _good_kind(folder: Path) -> str:
    """What a good case is called: those with metal apart, since an implant among them is flagged rightly."""
    metal = stated_metal(load_case(folder).provenance)
    return GOOD if metal == "none" else f"{GOOD}, with {metal.replace('_', ' ')}"


def judge(job: Mapping[str, Any], model: Model, reference: TrustReference) -> dict[str, Any]:
    """Do one of the `jobs`."""
    kind, source = str(job["kind"]), Path(job["source"])
    if kind.startswith("stand-in: "):
        images, rig, side = stand_in(kind.removeprefix("stand-in: "), read_bone_surfaces(source), int(job["seed"]))
        return judged_case(images, rig, side, model, reference)
    case = load_case(source)
    images = case_images(case)
    if kind.startswith(GOOD):
        truth = reference_surfaces(case)
        return judged_case(images, case.rig, case.side, model, reference, truth, case.reference_extent)
    rig = case.rig
    if "percent" in job:
        rig = with_magnification(rig, tuple(job["views"] or [view.name for view in rig.views]), float(job["percent"]))
        if not kind.endswith("tags kept"):
            images = [replace(image, geometry=None, pixel_spacing=None) for image in images]
    elif "turned" in job:
        rig = turned_second_view(rig, *job["turned"])
        images = [replace(image, geometry=None) for image in images]
    else:
        images = exchanged(images)
    return judged_case(images, rig, case.side, model, reference)


def measure(
    model: Model,
    reference: TrustReference,
    folders: Sequence[Path],
    data: Path | None,
    work: Path,
    stand_ins: int = 9,
    spoiled: int = 8,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> list[dict[str, Any]]:
    """Judge everything; see `jobs`. `work` keeps what is done, and the same call goes on from there. Raises InputError, Cancelled."""
    todo = jobs(folders, data, stand_ins, spoiled)
    settings = {"model": reference.model_sha256, "settings": reference.settings_sha256 or None,
                "reference": dict(reference.provenance), "jobs": todo}  # fmt: skip
    log = ResultLog(work, settings)
    for index in range(len(log.records), len(todo)):
        if cancelled is not None and cancelled():
            raise Cancelled("The measurement was cancelled.")
        if progress is not None:
            progress(index / len(todo), f"{todo[index]['kind']} ({index + 1} of {len(todo)})")
        log.add(
            {
                "kind": todo[index]["kind"],
                "name": Path(todo[index]["source"]).name,
                "group": Path(todo[index]["source"]).parent.name,
                **judge(todo[index], model, reference),
            }
        )
    return log.records


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Measure how well trust tells good from bad.")
    parser.add_argument("--model", required=True, help="model folder, or the name of a bundled model")
    parser.add_argument("--reference", type=Path, help="trust reference (the one beside the model)")
    parser.add_argument(
        "--cases", type=Path, action="append", required=True, help="folder of good cases never trained on"
    )
    parser.add_argument("--count", type=int, default=40, help="at most so many of each folder (40)")
    parser.add_argument("--data", type=Path, help="folder of real anatomy with whole legs, for the stand-ins")
    parser.add_argument("--stand-ins", type=int, default=9, help="legs to make stand-ins of (9)")
    parser.add_argument("--spoiled", type=int, default=8, help="good cases to spoil (8)")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for README.md (tables), trust.json and the plot"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing folder")
    parsed = parser.parse_args(arguments)
    command = command_of("SSRKDCore.trust.measure", arguments)
    return exit_code_of("measure", lambda: _run(parsed, command))


def _run(parsed: argparse.Namespace, command: str) -> None:
    """Measure, write and say; see `main`."""
    check_output_folder(parsed.out, parsed.overwrite)
    check_matplotlib()
    model = load_model(parsed.model)
    reference = load_reference(parsed.reference) if parsed.reference else reference_of(model)
    folders = [folder for group in parsed.cases for folder in find_cases(group)[: parsed.count]]
    work = parsed.out.parent / f".{parsed.out.name}.unfinished"
    with progress_bar("Measuring trust") as progress:
        records = measure(model, reference, folders, parsed.data, work, parsed.stand_ins, parsed.spoiled, progress)
    found = tables(records, reference)
    made = {**made_by(command), "weights_sha256": model.card["weights"]["sha256"]}
    with complete_folder(parsed.out, parsed.overwrite) as folder:
        for name in write_reliability(folder, records, reference):
            if name.endswith(".png"):
                with_few_colours(folder / name)
        (folder / "README.md").write_text(page(found, made), encoding="utf-8")
        write_json(folder / "trust.json", {"schema": SCHEMA, **made, "reference": reference.provenance, **found})
    shutil.rmtree(work, ignore_errors=True)
    for kind, row in found["kinds"].items():
        say(f"{kind:<32} {row['count']:>3}: " + ", ".join(f"{light} {row['lights'][light]}" for light in row["lights"]))
    for bone, row in found["coverage"].items():
        say(f"{bone:<8} 95 % interval holds {100 * row['coverage']:.1f} %, mean half width {row['interval_mm']:.2f} mm")
    say(f"Written: {parsed.out}")


if __name__ == "__main__":
    sys.exit(main())

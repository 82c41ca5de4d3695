"""How far measurements on reconstructions lie from the same measurements on the reference bones, over cases.

`python -m SSRKDCore.planning.measurement_errors --model MODEL --cases CASES --out DIR [--limit N]`

With `--left-out WORK --data DATA` instead of `--cases`: the people of the model's shape prior, each left out of it (see
`trust.left_out_people`), in the room geometry.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.planning.landmark_set import LANDMARK_BONES
from SSRKDCore.planning.landmarks import find_landmarks
from SSRKDCore.planning.measurement_definitions import DEFINITIONS
from SSRKDCore.planning.measurements import difference, measure
from SSRKDCore.surface import Surface

if TYPE_CHECKING:
    from SSRKDCore.evaluation.case_evaluation import Reconstruct
    from SSRKDCore.networks.model_folder import Model

_ROOM = "room"
SCHEMA = "ssrkd-measurement-errors/1"


@dataclass(frozen=True)
class CaseErrors:
    """One case.

    Attributes
    ----------
    id: its name.
    errors: measurement -> value on the reconstruction minus value on the reference, None where either lacks.
    failure: why nothing could be measured, or None.
    reach: bone -> how much of its shaft the axis was found on, in widths of the bone from its joint surface.
    """

    id: str
    errors: Mapping[str, float | None]
    failure: str | None = None
    reach: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ErrorSummary:
    """One measurement over the cases: signed mean and standard deviation (N - 1), mean and largest size of the error.

    `measured` cases have a value on both sides; `missing` lack it on either, failed cases included. `worst_case` is the largest's id.
    """

    unit: str
    measured: int
    missing: int
    mean: float | None
    sd: float | None
    mean_absolute: float | None
    worst: float | None
    worst_case: str | None


def measured_errors(
    bones: Mapping[str, Surface],
    reference: Mapping[str, Surface],
    side: str,
    usable_to: Mapping[str, float] | None = None,
) -> tuple[dict[str, float | None], dict[str, float]]:
    """Measurement -> value on `bones` minus value on `reference` (closed surfaces, LPS mm), both on the shafts that `bones` show; and
    bone -> how much shaft that is, in widths.

    usable_to: bone -> mm from its joint beyond which the reference's surface is flawed. What rests on more of its shaft has no error.

    Raises InputError as find_landmarks does.
    """
    landmarks = find_landmarks(bones, side)
    found, truth = measure(landmarks), measure(find_landmarks(reference, side, reach=landmarks.reach))
    flawed = {bone for bone, limit in (usable_to or {}).items() if landmarks.reach.get(bone, 0.0) > limit}
    errors = {
        name: None if _shafts_of(item.used) & flawed else difference(item, truth[name]) for name, item in found.items()
    }
    return errors, {bone: shaft.reach_in_widths for bone, shaft in landmarks.shafts.items()}


def _shafts_of(landmarks: Sequence[str]) -> set[str]:
    """The bones whose shafts some landmarks lie on."""
    return {str(LANDMARK_BONES[name]) for name in landmarks if "_shaft_" in name}


def errors_over_cases(
    folders: Sequence[Path],
    reconstruct_case: Reconstruct,
    progress: Callable[[float, str], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    usable_to: Mapping[str, float] | None = None,
) -> list[CaseErrors]:
    """Reconstruct each case and measure the errors. A case that cannot be measured is a result with its reason. usable_to: as of
    `measured_errors`. Raises Cancelled.
    """
    from SSRKDCore.cases import load_case
    from SSRKDCore.evaluation.case_evaluation import reference_surfaces

    results = []
    for index, folder in enumerate(folders):
        if cancelled is not None and cancelled():
            raise Cancelled("measurement stopped")
        if progress is not None:
            progress(index / len(folders), f"{folder.name} ({index + 1} of {len(folders)})")
        try:
            case = load_case(folder)
            reference = reference_surfaces(case)
            answer = reconstruct_case(case, lambda fraction, words: None)
            bones = {name: surface for name, surface in answer.surfaces.items() if not surface.is_empty}
            errors, reach = measured_errors(bones, reference, case.side, usable_to)
            results.append(CaseErrors(folder.name, errors, None, reach))
        except InputError as error:
            results.append(CaseErrors(folder.name, {}, str(error)))
    return results


def errors_of_people_left_out(
    model: Model,
    data: Path,
    work: Path,
    reconstruction: Callable[[Model], Reconstruct],
    progress: Callable[[float, str], None] | None = None,
) -> Iterator[CaseErrors]:
    """The errors of each person of the model's shape prior, reconstructed without them in it.

    Parameters
    ----------
    data, work: the anatomy folder and the work folder of `trust.left_out_people`, which has to have run.
    reconstruction: the job of reconstructing a case with a model.

    Raises InputError where the folders are not those of the model.
    """
    from SSRKDCore.cases import find_cases
    from SSRKDCore.population.bone_sources import read_bone_sources
    from SSRKDCore.trust.left_out_people import model_without, people_to_leave_out

    people = people_to_leave_out(model, data)
    usable = {source.name: source.usable_to for source in read_bone_sources(data)}
    for index, person in enumerate(people):
        without = model_without(model, person, data, work)
        for folder in find_cases(work / "cases" / person / f"unseen-{_ROOM}"):
            if progress is not None:
                progress(index / len(people), folder.name)
            yield from errors_over_cases([folder], reconstruction(without), usable_to=usable.get(folder.name))


def summarised(results: Sequence[CaseErrors]) -> dict[str, ErrorSummary]:
    """Every measurement over the cases."""
    return {definition.name: _summary(definition.name, definition.unit, results) for definition in DEFINITIONS}


def _summary(name: str, unit: str, results: Sequence[CaseErrors]) -> ErrorSummary:
    known = {result.id: error for result in results if (error := result.errors.get(name)) is not None}
    missing = len(results) - len(known)
    if not known:
        return ErrorSummary(unit, 0, missing, None, None, None, None, None)
    values = np.array(list(known.values()))
    worst = max(known, key=lambda case: abs(known[case]))
    spread = float(values.std(ddof=1)) if len(values) > 1 else None
    return ErrorSummary(
        unit, len(values), missing, float(values.mean()), spread, float(np.abs(values).mean()), known[worst], worst
    )


def write_summary(path: Path, summary: Mapping[str, ErrorSummary]) -> None:
    """Write one row a measurement; what lacks is empty."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["measurement", *ErrorSummary.__dataclass_fields__])
        for name, record in summary.items():
            row = (f"{item:.4f}" if isinstance(item, float) else item for item in asdict(record).values())
            writer.writerow([name, *("" if item is None else item for item in row)])


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Reconstruct cases, measure both sides and write errors.json and errors.csv."""
    from SSRKDCore.cases import find_cases
    from SSRKDCore.console import progress_bar, say
    from SSRKDCore.evaluation.case_evaluation import case_reconstruction
    from SSRKDCore.json_files import write_json
    from SSRKDCore.networks.model_folder import load_model
    from SSRKDCore.output_folder import check_output_folder, complete_folder
    from SSRKDCore.training.code_version import command_of, made_by

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--model", required=True, help="folder of a model")
    cases = parser.add_mutually_exclusive_group(required=True)
    cases.add_argument("--cases", help="folder of cases with references")
    cases.add_argument("--left-out", type=Path, metavar="WORK", help="work folder of left_out_people (with --data)")
    parser.add_argument("--data", type=Path, help="with --left-out: the anatomy folder that the model was made from")
    parser.add_argument("--out", required=True, help="new folder for errors.json and errors.csv")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N cases (all)")
    parser.add_argument("--resolution", type=int, default=256, help="samples along the field of view (256)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output folder")
    arguments = parser.parse_args(words)
    if arguments.limit is not None and arguments.limit < 1:
        parser.error(f"--limit is {arguments.limit}: give at least one case.")
    if arguments.left_out is not None and (arguments.data is None or arguments.limit is not None):
        parser.error("--left-out needs --data, and takes no --limit.")
    check_output_folder(arguments.out, arguments.overwrite)
    folders = [] if arguments.cases is None else find_cases(arguments.cases)[: arguments.limit]
    model = load_model(arguments.model)

    def reconstruction(of: Model) -> Reconstruct:
        return case_reconstruction(of, arguments.resolution, arguments.device)

    with progress_bar("measurement errors") as progress:
        if arguments.left_out is None:
            results = errors_over_cases(folders, reconstruction(model), progress)
        else:
            results = list(
                errors_of_people_left_out(model, arguments.data, arguments.left_out, reconstruction, progress)
            )
    summary = summarised(results)
    report: dict[str, Any] = {
        "schema": SCHEMA,
        **made_by(command_of("SSRKDCore.planning.measurement_errors", words)),
        "model": {"name": model.name, "path": str(model.path), "weights_sha256": model.card["weights"]["sha256"]},
        "cases": str(arguments.cases or arguments.left_out),
        "resolution": arguments.resolution,
        "error_is": "value on the reconstruction minus value on the reference",
        "summary": {name: asdict(record) for name, record in summary.items()},
        "by_case": {
            result.id: {"errors": result.errors, "failure": result.failure, "reach_in_widths": result.reach}
            for result in results
        },
    }
    with complete_folder(arguments.out, arguments.overwrite) as folder:
        write_summary(folder / "errors.csv", summary)
        write_json(folder / "errors.json", report)
    for name, record in summary.items():
        if record.mean is None or record.mean_absolute is None or record.worst is None:
            say(f"{name:<16} measured in none of {record.missing} cases")
            continue
        say(
            f"{name:<16} mean {record.mean:+7.2f}, size {record.mean_absolute:6.2f}, worst {record.worst:+7.2f} {record.unit}"
            f" ({record.measured} measured, {record.missing} missing)"
        )
    return report


if __name__ == "__main__":
    from SSRKDCore.training.program import exit_code_of

    sys.exit(exit_code_of("measurement_errors", main, resumable=False))

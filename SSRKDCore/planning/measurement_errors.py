"""How far measurements on reconstructions lie from the same measurements on the reference bones, over cases.

`python -m SSRKDCore.planning.measurement_errors --model MODEL --cases CASES --out DIR [--limit N]`
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.planning.landmarks import find_landmarks
from SSRKDCore.planning.measurement_definitions import DEFINITIONS
from SSRKDCore.planning.measurements import difference, measure
from SSRKDCore.surface import Surface

if TYPE_CHECKING:
    from SSRKDCore.evaluation.case_evaluation import Reconstruct

SCHEMA = "ssrkd-measurement-errors/1"


@dataclass(frozen=True)
class CaseErrors:
    """One case.

    Attributes
    ----------
    id: its name.
    errors: measurement -> value on the reconstruction minus value on the reference, None where either lacks.
    failure: why nothing could be measured, or None.
    """

    id: str
    errors: Mapping[str, float | None]
    failure: str | None = None


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
    bones: Mapping[str, Surface], reference: Mapping[str, Surface], side: str
) -> dict[str, float | None]:
    """Measurement -> value on `bones` minus value on `reference` (closed surfaces, LPS mm), both on the shafts that `bones` show.

    Raises InputError as find_landmarks does.
    """
    landmarks = find_landmarks(bones, side)
    found, truth = measure(landmarks), measure(find_landmarks(reference, side, reach=landmarks.reach))
    return {name: difference(item, truth[name]) for name, item in found.items()}


def errors_over_cases(
    folders: Sequence[Path],
    reconstruct_case: Reconstruct,
    progress: Callable[[float, str], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> list[CaseErrors]:
    """Reconstruct each case and measure the errors. A case that cannot be measured is a result with its reason. Raises Cancelled."""
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
            results.append(CaseErrors(folder.name, measured_errors(bones, reference, case.side)))
        except InputError as error:
            results.append(CaseErrors(folder.name, {}, str(error)))
    return results


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
    parser.add_argument("--cases", required=True, help="folder of cases with references")
    parser.add_argument("--out", required=True, help="new folder for errors.json and errors.csv")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N cases (all)")
    parser.add_argument("--resolution", type=int, default=256, help="samples along the field of view (256)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output folder")
    arguments = parser.parse_args(words)
    if arguments.limit is not None and arguments.limit < 1:
        parser.error(f"--limit is {arguments.limit}: give at least one case.")
    check_output_folder(arguments.out, arguments.overwrite)
    folders = find_cases(arguments.cases)[: arguments.limit]
    model = load_model(arguments.model)
    with progress_bar("measurement errors") as progress:
        results = errors_over_cases(
            folders, case_reconstruction(model, arguments.resolution, arguments.device), progress
        )
    summary = summarised(results)
    report: dict[str, Any] = {
        "schema": SCHEMA,
        **made_by(command_of("SSRKDCore.planning.measurement_errors", words)),
        "model": {"name": model.name, "path": str(model.path), "weights_sha256": model.card["weights"]["sha256"]},
        "cases": str(arguments.cases),
        "resolution": arguments.resolution,
        "error_is": "value on the reconstruction minus value on the reference",
        "summary": {name: asdict(record) for name, record in summary.items()},
        "by_case": {result.id: {"errors": result.errors, "failure": result.failure} for result in results},
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

"""What reconstruction from two radiographs costs each measurement: the table beside which `measure` shows its values.

`python -m SSRKDCore.planning.reconstruction_errors --errors FILE ... --out FILE`, after `measurement_errors`, whose errors.json it takes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from SSRKDCore.errors import InputError
from SSRKDCore.planning.measurement_definitions import DEFINITIONS
from SSRKDCore.planning.measurement_errors import SCHEMA as ERRORS_SCHEMA
from SSRKDCore.planning.short_shaft_errors import Spread

SCHEMA = "ssrkd-reconstruction-errors/1"
#: Fewer knees of a group say too little.
FEWEST_KNEES = 3


def table_of(reports: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The table as plain values for JSON.

    Parameters
    ----------
    reports: by the name of a group of knees, the content of its errors.json.

    Raises InputError for reports of different models, and where no group has enough knees for any measurement.
    """
    if len({report["model"]["weights_sha256"] for report in reports.values()}) > 1:
        raise InputError("The errors are of different models: give those of one.")
    errors: dict[str, dict[str, Any]] = {}
    for definition in DEFINITIONS:
        groups = {}
        for group, report in reports.items():
            cases = (case["errors"].get(definition.name) for case in report["by_case"].values())
            known = [error for error in cases if error is not None]
            if len(known) >= FEWEST_KNEES:
                groups[group] = asdict(Spread.of(known))
        if groups:
            errors[definition.name] = groups
    if not errors:
        raise InputError(f"No measurement was made on {FEWEST_KNEES} knees of a group: measure errors on more cases.")
    reached: dict[str, list[float]] = {}
    for report in reports.values():
        for case in report["by_case"].values():
            for bone, reach in case["reach_in_widths"].items():
                reached.setdefault(bone, []).append(reach)
    return {
        "schema": SCHEMA,
        "model": {key: next(iter(reports.values()))["model"][key] for key in ("name", "weights_sha256")},
        "measured_by": {group: report["command"] for group, report in reports.items()},
        "error_is": "value on the reconstruction minus value on the reference, both on the same stretch of shaft",
        "reach_is": "widths of the bone from its joint surface to the end of the shaft that the reconstructions show",
        "reach": {
            bone: {"least": min(values), "mean": float(np.mean(values)), "most": max(values)}
            for bone, values in sorted(reached.items())
        },
        "reconstruction": errors,
    }


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Gather errors of measurements on reconstructions into the table that `measure` reads."""
    from SSRKDCore.console import say
    from SSRKDCore.json_files import read_json, write_json

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        "--errors", nargs="+", required=True, type=Path, metavar="FILE", help="errors.json of measurement_errors"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="JSON file for the table")
    arguments = parser.parse_args(words)
    reports = {}
    for path in arguments.errors:
        report = read_json(path, "errors of measurements")
        if report.get("schema") != ERRORS_SCHEMA:
            raise InputError(f"{path} is no {ERRORS_SCHEMA}: give an errors.json of measurement_errors.")
        reports[path.resolve().parent.name] = report
    if len(reports) < len(arguments.errors):
        raise InputError("Two of the files lie in folders of one name: a group of knees is called after its folder.")
    table = table_of(reports)
    write_json(arguments.out, table)
    for name, groups in table["reconstruction"].items():
        row = ", ".join(f"{group} {item['rms']:.2f} ({item['bones']} knees)" for group, item in groups.items())
        say(f"{name:<16} {row}")
    return table


if __name__ == "__main__":
    from SSRKDCore.training.program import exit_code_of

    sys.exit(exit_code_of("reconstruction_errors", main, resumable=False))

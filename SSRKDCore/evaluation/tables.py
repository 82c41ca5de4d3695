"""Comparisons as CSV tables: decimal points, commas, units in the column names."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.evaluation.comparison import MEASURES, BoneComparison
from SSRKDCore.surface import Surface

if TYPE_CHECKING:
    from SSRKDCore.evaluation.experiments.statistics import PairedDifference


def write_measures(path: str | Path, rows: Iterable[tuple[Mapping[str, str], BoneComparison]]) -> None:
    """Write one row a bone: the given columns (the same in each row), the measures, and the failure's reason (figures
    empty).
    """
    rows = list(rows)
    columns = list(rows[0][0]) if rows else []
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*columns, *MEASURES, "failure"])
        for given, record in rows:
            figures = [getattr(record, measure) for measure in MEASURES]
            writer.writerow(
                [
                    *given.values(),
                    *("" if figure is None else f"{figure:.6g}" for figure in figures),
                    record.failure or "",
                ]
            )


def write_vertex_distances(path: str | Path, bones: Mapping[str, tuple[Surface, NDArray[np.float64]]]) -> None:
    """Write one row a vertex of the reconstruction: bone, vertex, x_mm, y_mm, z_mm (LPS), signed_distance_mm.

    Positive lies outside the reference. Vertices that are not scored (NaN) have an empty distance.
    """
    with Path(path).open("w", encoding="utf-8") as file:
        file.write("bone,vertex,x_mm,y_mm,z_mm,signed_distance_mm\n")
        for name, (surface, distances) in bones.items():
            for index, ((x, y, z), distance) in enumerate(
                zip(surface.vertices.tolist(), distances.tolist(), strict=True)
            ):
                figure = "" if distance != distance else f"{distance:.4f}"
                file.write(f"{name},{index},{x:.4f},{y:.4f},{z:.4f},{figure}\n")


def write_table_one(path: str | Path, tables: Mapping[str, Mapping[str, Mapping[str, Any]]], first_column: str) -> None:
    """Write Table 1: one row for each method (or point) and bone.

    Parameters
    ----------
    tables: method -> what `table_one.table_one` returned. first_column: heading of the methods' names; "" leaves them out.

    Columns: bone, subjects, scored, failed, and for each measure its mean, sd, worst, ci95_low and ci95_high; exact and
    paper-protocol measures have columns of their own. Empty where nothing is known.
    """
    from SSRKDCore.evaluation.table_one import STATISTICS

    headings = {"low": "ci95_low", "high": "ci95_high"}
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        names = [f"{measure}_{headings.get(key, key)}" for measure in MEASURES for key in STATISTICS]
        writer.writerow([*([first_column] if first_column else []), "bone", "subjects", "scored", "failed", *names])
        for method, rows in tables.items():
            for bone, row in rows.items():
                figures = [(row[measure] or {}).get(key) for measure in MEASURES for key in STATISTICS]
                writer.writerow(
                    [
                        *([method] if first_column else []),
                        bone,
                        row["subjects"],
                        row["scored"],
                        row["failed"],
                        *("" if figure is None else f"{figure:.6g}" for figure in figures),
                    ]
                )


def write_differences(
    path: str | Path, differences: Mapping[str, Mapping[str, Mapping[str, PairedDifference | None]]], first_column: str
) -> None:
    """Write one row for each method (or point), bone and measure: the paired difference to the first method.

    Columns: `first_column`, bone, measure, mean_difference, ci95_low, ci95_high, pairs, unpaired.
    """
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            [first_column, "bone", "measure", "mean_difference", "ci95_low", "ci95_high", "pairs", "unpaired"]
        )
        for method, bones in differences.items():
            for bone, measures in bones.items():
                for measure, found in measures.items():
                    if found is None:
                        continue
                    figures = ("" if value is None else f"{value:.6g}" for value in (found.mean, found.low, found.high))
                    writer.writerow([method, bone, measure, *figures, found.pairs, found.unpaired])

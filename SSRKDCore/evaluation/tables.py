"""Comparisons as CSV tables: decimal points, commas, units in the column names."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.evaluation.comparison import MEASURES, BoneComparison
from SSRKDCore.surface import Surface


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

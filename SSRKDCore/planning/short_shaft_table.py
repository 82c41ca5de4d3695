"""What a short shaft costs a measurement, from the table that short_shaft_errors measured on whole legs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np

from SSRKDCore.planning.landmark_set import SeenShaft
from SSRKDCore.planning.shaft_axis import FARTHEST

_TABLE = Path(__file__).with_name("short_shaft_errors.json")
_ALL_SEEN = 0.99


@cache
def _rows() -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Bone -> measurement -> (reach in widths, root mean square of the error there), rising."""
    table = json.loads(_TABLE.read_text(encoding="utf-8"))["short_shaft"]
    return {
        bone: {
            name: [*sorted((float(reach), float(item["rms"])) for reach, item in by_reach.items()), (FARTHEST, 0.0)]
            for name, by_reach in by_name.items()
        }
        for bone, by_name in table.items()
    }


def short_shaft_error(name: str, shafts: Mapping[str, SeenShaft]) -> float | None:
    """How far, root mean square, a measurement lies from the same with the whole stretch of shaft, in its unit.

    Both bones' parts add as squares; between the reaches of the table it is interpolated. None where the whole stretch (1.45 widths)
    was seen, or the measurement does not depend on it.

    Parameters
    ----------
    name: of the measurement.
    shafts: what LandmarkSet.shafts says.
    """
    parts = []
    for bone, shaft in shafts.items():
        row = _rows().get(bone, {}).get(name)
        if row is not None and shaft.reach_in_widths < _ALL_SEEN * FARTHEST:
            reaches, errors = np.array(row).T
            parts.append(float(np.interp(shaft.reach_in_widths, reaches, errors)))
    return float(np.linalg.norm(parts)) if parts else None


def least_reach(bone: str) -> float:
    """The shortest shaft that the table was measured on, in widths of the bone; a shorter one costs at least what that one does."""
    return min(reach for row in _rows()[bone].values() for reach, _ in row)

"""A cutting guide on disk: guide.stl, contact.ply and guide.json (schema ssrkd-guide/1, LPS mm), one folder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from SSRKDCore.errors import InputError
from SSRKDCore.json_files import read_json, write_json
from SSRKDCore.planning.guide_model import Guide, Wire
from SSRKDCore.planning.plan_files import (
    check_header,
    direction,
    file_beside,
    optional_plane_from,
    plane_from,
    plane_to_dict,
    point,
)
from SSRKDCore.surface_files import read_surface, write_surface

SCHEMA = "ssrkd-guide/1"
GUIDE_FILE = "guide.json"
_FILES = {"surface": "guide.stl", "contact": "contact.ply"}


def write_guide(folder: Path, guide: Guide, report: dict[str, Any]) -> dict[str, Any]:
    """Write the guide into an existing folder, with what was checked of it as "check"; returns what guide.json says."""
    write_surface(folder / _FILES["surface"], guide.surface)
    write_surface(folder / _FILES["contact"], guide.contact)
    content = {
        "schema": SCHEMA,
        "frame": "LPS",
        "unit": "mm",
        "files": _FILES,
        "clearance_mm": guide.clearance_mm,
        "cut_plane": plane_to_dict(guide.cut_plane),
        "second_cut_plane": plane_to_dict(guide.second_cut_plane),
        "slot_thickness_mm": guide.slot_thickness_mm,
        "wires": [
            {"entry": wire.entry.tolist(), "direction": wire.direction.tolist(), "diameter_mm": wire.diameter_mm}
            for wire in guide.wires
        ],
        "seating_direction": guide.seating_direction.tolist(),
        "hinge": None
        if guide.hinge is None
        else {"point": guide.hinge[0].tolist(), "direction": guide.hinge[1].tolist()},
        "parameters": dict(guide.parameters),
        "check": report,
    }
    write_json(folder / GUIDE_FILE, content)
    return content


def read_guide(folder: str | Path) -> Guide:
    """The guide of a folder. Raises InputError for another schema, missing or impossible values, and unreadable surfaces."""
    path = Path(folder) / GUIDE_FILE
    value = read_json(path, "a guide")
    check_header(value, path, SCHEMA)
    surfaces = [read_surface(file_beside(path, value, name)) for name in ("surface", "contact")]
    try:
        hinge = value["hinge"]
        return Guide(
            surfaces[0],
            surfaces[1],
            _finite(value["clearance_mm"]),
            plane_from(value["cut_plane"]),
            _finite(value["slot_thickness_mm"]),
            tuple(
                Wire(point(wire["entry"]), point(wire["direction"]), _finite(wire["diameter_mm"]))
                for wire in value["wires"]
            ),
            point(value["seating_direction"]),
            None if hinge is None else (point(hinge["point"]), direction(hinge["direction"])),
            {str(name): _finite(number) for name, number in value["parameters"].items()},
            optional_plane_from(value["second_cut_plane"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"{path} is no complete guide ({error}): make it again.") from error


def _finite(value: Any) -> float:
    """A number from JSON, where NaN can stand too. Raises ValueError, TypeError or OverflowError."""
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is no finite number")
    return number

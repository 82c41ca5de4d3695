"""A planned osteotomy on disk: plan.json (schema ssrkd-hto-plan/1, LPS mm) and its surfaces, one folder."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import SIDES
from SSRKDCore.errors import InputError
from SSRKDCore.json_files import read_json, write_json
from SSRKDCore.planning.corrected_tibia import CorrectedTibia
from SSRKDCore.planning.correction_target import LARGEST_WEDGE_DEGREES, CorrectionTarget
from SSRKDCore.planning.hinge import Hinge
from SSRKDCore.planning.landmark_set import LANDMARK_BONES
from SSRKDCore.planning.osteotomy import LATERAL_CLOSING, OsteotomyParameters
from SSRKDCore.planning.osteotomy_frame import REQUIRED, TibialAxes
from SSRKDCore.planning.osteotomy_plan import OsteotomyPlan
from SSRKDCore.planning.plan_warning import PlanWarning
from SSRKDCore.planning.plane import Plane
from SSRKDCore.planning.predicted_change import Change
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import read_surface, write_surface

Array = NDArray[np.float64]

SCHEMA = "ssrkd-hto-plan/1"
PLAN_FILE = "plan.json"
TIBIA_FILE = "tibia.stl"
# Of a direction's length, as rounded by hand.
_UNIT = 1e-3
#: Part of CorrectedTibia -> its file.
PART_FILES = {
    "proximal": "proximal.stl",
    "distal": "distal.stl",
    "distal_moved": "distal_moved.stl",
    "wedge": "wedge.stl",
    "corrected": "corrected_tibia.stl",
}


def write_plan(folder: Path, plan: OsteotomyPlan, tibia: Surface, parts: CorrectedTibia) -> dict[str, Any]:
    """Write plan.json, the tibia and the parts of the corrected one into an existing folder; returns what plan.json says."""
    write_surface(folder / TIBIA_FILE, tibia)
    for name, file in PART_FILES.items():
        write_surface(folder / file, getattr(parts, name))
    content = plan_to_dict(plan) | {"files": {"tibia": TIBIA_FILE} | PART_FILES}
    write_json(folder / PLAN_FILE, content)
    return content


def plan_to_dict(plan: OsteotomyPlan) -> dict[str, Any]:
    """Plain values for JSON."""
    return {
        "schema": SCHEMA,
        "frame": "LPS",
        "unit": "mm",
        "side": plan.side,
        "parameters": plan.parameters.to_dict(),
        "target": asdict(plan.target),
        "axes": {name: getattr(plan.axes, name).tolist() for name in ("origin", "lateral", "anterior", "proximal")},
        "hinge": {"point": plan.hinge.point.tolist(), "direction": plan.hinge.direction.tolist()},
        "cut_plane": plane_to_dict(plan.cut_plane),
        "lower_plane": plane_to_dict(plan.lower_plane),
        "ascending_plane": plane_to_dict(plan.ascending_plane),
        "entry": plan.entry.tolist(),
        "wedge_degrees": plan.wedge_degrees,
        "miniaci_degrees": plan.miniaci_degrees,
        "height_mm": plan.height_mm,
        "motion": plan.motion.tolist(),
        "landmarks": {name: position.tolist() for name, position in plan.landmarks.items()},
        "landmarks_after": {name: position.tolist() for name, position in plan.landmarks_after.items()},
        "changes": {name: asdict(item) | {"change": item.change} for name, item in plan.changes.items()},
        "warnings": [asdict(warning) for warning in plan.warnings],
    }


def read_plan(folder: str | Path) -> tuple[OsteotomyPlan, Surface]:
    """The plan of a folder and the tibia that it was made on.

    Raises InputError for another schema, frame or unit, missing or impossible values, and an unreadable tibia.
    """
    path = Path(folder) / PLAN_FILE
    value = read_json(path, "a plan")
    check_header(value, path, SCHEMA)
    try:
        plan = _plan(value)
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"{path} is no complete plan ({error}): plan the osteotomy again.") from error
    return plan, read_surface(file_beside(path, value, "tibia"))


def _plan(value: dict[str, Any]) -> OsteotomyPlan:
    if value["side"] not in SIDES:
        raise ValueError(f"side {value['side']!r}")
    axes = TibialAxes(*(point(value["axes"][name]) for name in ("origin", "lateral", "anterior", "proximal")))
    miniaci = value["miniaci_degrees"]
    plan = OsteotomyPlan(
        value["side"],
        OsteotomyParameters.from_dict(value["parameters"]),
        CorrectionTarget(value["target"]["kind"], float(value["target"]["value"])),
        axes,
        Hinge(point(value["hinge"]["point"]), direction(value["hinge"]["direction"])),
        plane_from(value["cut_plane"]),
        optional_plane_from(value["lower_plane"]),
        optional_plane_from(value["ascending_plane"]),
        point(value["entry"]),
        float(value["wedge_degrees"]),
        None if miniaci is None else float(miniaci),
        float(value["height_mm"]),
        _landmarks(value["landmarks"]),
        _landmarks(value["landmarks_after"]),
        {name: _change(item) for name, item in value["changes"].items()},
        tuple(PlanWarning(**warning) for warning in value["warnings"]),
    )
    _check_possible(plan)
    return plan


def _change(item: dict[str, Any]) -> Change:
    # Plans of before do not say it.
    error = item.get("expected_error")
    return Change(float(item["before"]), float(item["after"]), None if error is None else float(error))


def _check_possible(plan: OsteotomyPlan) -> None:
    """Raise ValueError for values that no plan has, each of which a guide is built on."""
    matrix, handed = plan.axes.matrix, 1.0 if plan.side == "right" else -1.0
    if not np.allclose(matrix @ matrix.T, np.eye(3), atol=_UNIT) or np.linalg.det(matrix) * handed < 0:
        raise ValueError(f"its axes are not those of a {plan.side} tibia")
    if not (0 < plan.wedge_degrees <= LARGEST_WEDGE_DEGREES and 0 < plan.height_mm < np.inf):
        raise ValueError(f"its wedge is {plan.wedge_degrees:g} degrees and {plan.height_mm:g} mm")
    if (plan.lower_plane is not None) != (plan.parameters.kind == LATERAL_CLOSING):
        raise ValueError("a closing wedge has a lower plane, and no other has")
    missing = [name for name in REQUIRED if name not in plan.landmarks]
    if missing:
        raise ValueError(f"it lacks the landmark {missing[0]}")


def _landmarks(value: dict[str, Any]) -> dict[str, Array]:
    unknown = sorted(set(value) - set(LANDMARK_BONES))
    if unknown:
        raise ValueError(f"landmark {unknown[0]!r}")
    return {name: point(position) for name, position in value.items()}


def check_header(value: dict[str, Any], path: Path, schema: str) -> None:
    """Raise InputError for another schema, frame or unit."""
    if value.get("schema") != schema:
        raise InputError(
            f"{path} has schema {value.get('schema')!r}, and only {schema!r} is understood: write it again."
        )
    if value.get("frame") != "LPS" or value.get("unit") != "mm":
        raise InputError(f"{path} must say frame LPS and unit mm: convert it.")


def file_beside(path: Path, value: dict[str, Any], name: str) -> Path:
    """A file named under "files" of a JSON file, which lies in the same folder. Raises InputError for any other place."""
    files = value.get("files")
    file = files.get(name) if isinstance(files, dict) else None
    if not isinstance(file, str) or Path(file).name != file or "\\" in file or file in ("", ".", ".."):
        raise InputError(f"{path} names no file of the {name} in its own folder: write it again.")
    return path.parent / file


def point(value: Any) -> Array:
    """(3,) from JSON. Raises ValueError."""
    found = np.array(value, dtype=np.float64)
    if found.shape != (3,) or not np.isfinite(found).all():
        raise ValueError(f"{value!r} is no point of three finite numbers")
    return found


def direction(value: Any) -> Array:
    """(3,) unit vector from JSON. Raises ValueError."""
    found = point(value)
    if abs(np.linalg.norm(found) - 1.0) > _UNIT:
        raise ValueError(f"{value!r} is no direction of length one")
    return found


def plane_to_dict(plane: Plane | None) -> dict[str, Any] | None:
    """A plane for JSON."""
    return None if plane is None else {"point": plane.point.tolist(), "normal": plane.normal.tolist()}


def plane_from(value: Any) -> Plane:
    """A plane from JSON. Raises ValueError, KeyError or TypeError."""
    return Plane(point(value["point"]), point(value["normal"]))


def optional_plane_from(value: Any) -> Plane | None:
    """The same, None for null."""
    return None if value is None else plane_from(value)

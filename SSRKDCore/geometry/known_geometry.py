"""How well a rig is known, from what its provenance says: which calibrations it went through, and what was only assumed.

A rig carries `assumed` in its provenance, a list of {"of": "magnification" | "angles", "view": name or None, "words": sentence part}, and
`calibrations` (see `calibration.calibration_record`). A calibration settles the assumptions that it measures, to its own uncertainty.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from SSRKDCore.geometry.rig import Rig

#: 95 %: above the first a rig is uncertain, above the second `ssrkd calibrate` would refuse it by default. A scale wrong by 3 % makes an
#: 80 mm femur wrong by 2.4 mm; a height or an angle that is wrong by as much costs about as much (`ssrkd experiment calibration`).
MAGNIFICATION_PERCENT = (2.0, 3.0)
HEIGHT_MM = (1.5, 3.0)
TURN_DEGREES = (3.0, 10.0)
_TURNS = ("turn_about_beam", "turn_about_columns", "turn_about_rows")
_ONLY_MAGNIFY = ("shift_along_beam", "shift_along_columns")


@dataclass(frozen=True)
class GeometryDoubt:
    """words: what is not known well enough, as part of a sentence. serious: beyond what a calibration would accept by default."""

    words: str
    serious: bool = False


def assumption(of: str, words: str, view: str | None = None) -> dict[str, Any]:
    """An entry of `assumed`: of "magnification" or "angles"."""
    return {"of": of, "view": view, "words": words}


def with_assumptions(rig: Rig, assumed: Sequence[Mapping[str, Any]]) -> Rig:
    """The rig with these assumptions among its provenance."""
    earlier = list(rig.provenance.get("assumed", []))
    return replace(rig, provenance={**rig.provenance, "assumed": [*earlier, *map(dict, assumed)]})


def assumed_preset(rig: Rig, name: str) -> Rig:
    """The rig of a preset that stands for a room which nobody measured."""
    words = f"distances and angles are those of the preset '{name}', which nobody measured"
    magnifications = [assumption("magnification", words, view.name) for view in rig.views]
    return with_assumptions(rig, [*magnifications, assumption("angles", words)])


def calibrations_of(rig: Rig) -> list[tuple[str, str | None, Mapping[str, Any]]]:
    """(kind, view or None, entry) of each calibration that a rig went through.

    Provenance is free form: what cannot be a calibration is left out.
    """
    return [
        (str(entry["kind"]), str(entry["view"]) if "view" in entry else None, entry)
        for entry in _entries(rig.provenance.get("calibrations"))
        if "kind" in entry
    ]


def scale_is_calibrated(rig: Rig, view: str) -> bool:
    """Whether the magnification of a view was measured."""
    return any(
        kind == "object" or (kind in ("ball", "ruler") and measured == view)
        for kind, measured, _ in calibrations_of(rig)
    )


def geometry_doubts(rig: Rig) -> list[GeometryDoubt]:
    """What of a rig is not known well enough for millimetres; empty for one that was calibrated well, or whose file says nothing."""
    calibrations = calibrations_of(rig)
    placed = any(kind in ("pair", "object") for kind, _, _ in calibrations)
    words: list[str] = []
    for entry in _entries(rig.provenance.get("assumed")):
        scale = entry.get("of") == "magnification"
        measured = scale_is_calibrated(rig, str(entry.get("view"))) if scale else placed
        sentence = str(entry.get("words", ""))
        if not measured and sentence not in words:
            words.append(sentence)
    doubts = [GeometryDoubt(sentence) for sentence in words]
    # A later calibration of a view stands in place of an earlier one.
    latest: dict[tuple[str, str | None], Mapping[str, Any]] = {}
    for kind, view, entry in calibrations:
        if kind == "object":
            latest.clear()
        latest["scale" if kind in ("ball", "ruler") else kind, view] = entry
    for (what, view), entry in latest.items():
        given = entry.get("uncertainty")
        stated = {
            str(name): float(value)
            for name, value in (given.items() if isinstance(given, Mapping) else ())
            if isinstance(value, int | float) and np.isfinite(value)
        }
        if what == "object":
            doubts += _of_object(stated, rig, latest.keys())
        else:
            doubts += _of_pair(stated, rig) if what == "pair" else _of_scale(stated, view)
    return doubts


def _entries(value: Any) -> list[Mapping[str, Any]]:
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list | tuple) else []


def _of_scale(stated: Mapping[str, float], view: str | None) -> list[GeometryDoubt]:
    percent = stated.get("magnification_at_centre_percent_95", 0.0)
    where = f" of view '{view}'" if view else ""
    return _beyond(percent, MAGNIFICATION_PERCENT, f"the magnification{where} is known to {percent:.1f} % (95 %)")


def _of_object(stated: Mapping[str, float], rig: Rig, later: Collection[tuple[str, str | None]]) -> list[GeometryDoubt]:
    """Each view was placed by markers. later: (what, view) of the calibrations since, which measured a scale or placed the second view."""
    placed_again = any(what == "pair" for what, _ in later)
    doubts: list[GeometryDoubt] = []
    for view in rig.views:
        percent = stated.get(f"{view.name}_magnification_percent_95", 0.0)
        if ("scale", view.name) not in later:
            words = f"the markers leave the magnification of view '{view.name}' open by {percent:.1f} % (95 %)"
            doubts += _beyond(percent, MAGNIFICATION_PERCENT, words)
        if placed_again:
            continue
        height, turn = (stated.get(f"{view.name}_{name}_95", 0.0) for name in ("height_mm", "direction_degrees"))
        words = f"the markers leave the height of view '{view.name}' open by {height:.1f} mm (95 %)"
        doubts += _beyond(height, HEIGHT_MM, words)
        words = f"the markers leave the direction of view '{view.name}' open by {turn:.1f} degrees (95 %)"
        doubts += _beyond(turn, TURN_DEGREES, words)
    return doubts


def _of_pair(stated: Mapping[str, float], rig: Rig) -> list[GeometryDoubt]:
    """The second view was placed from the images of the bones."""
    turn = max((stated.get(f"{name}_degrees_95", 0.0) for name in _TURNS), default=0.0)
    height = stated.get("shift_along_rows_mm_95", 0.0)
    shift = max(stated.get(f"{name}_mm_95", 0.0) for name in _ONLY_MAGNIFY)
    center = np.array(rig.field_of_view.center)
    depth = min(float(view.normal @ (center - np.array(view.source))) for view in rig.views)
    percent = 100.0 * shift / max(depth, 1.0)
    parts = [
        *_beyond(height, HEIGHT_MM, f"its height open by {height:.1f} mm"),
        *_beyond(turn, TURN_DEGREES, f"its direction open by {turn:.1f} degrees"),
        *_beyond(percent, MAGNIFICATION_PERCENT, f"its magnification open by {percent:.1f} %"),
    ]
    if not parts:
        return []
    words = f"the second view was placed from the bones' images, which leave {', '.join(part.words for part in parts)} (95 %)"
    return [GeometryDoubt(words, any(part.serious for part in parts))]


def _beyond(value: float, limits: tuple[float, float], words: str) -> list[GeometryDoubt]:
    return [GeometryDoubt(words, value > limits[1])] if value > limits[0] else []

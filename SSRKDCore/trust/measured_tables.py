"""Tables of what `trust.measure` found: flags by kind of input, coverage, and how the expected error ranks the true one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.evaluation.experiments.statistics import rank_correlation
from SSRKDCore.trust.flags import LIGHTS
from SSRKDCore.trust.reference import LEFT_OUT_PROVENANCE, TrustReference

Array = NDArray[np.float64]
Record = Mapping[str, Any]


def tables(records: Sequence[Record], reference: TrustReference) -> dict[str, Any]:
    """Plain values for JSON.

    "kinds": by kind of input, how many, their lights, and how often each flag was raised. "coverage": by bone, over vertices of the
    good cases, each case counting the same, also with the population's factors alone where people left out made them larger, and without
    what widens them in strange cases.
    "coverage_by_group": the same share by the folder that the cases came from. "calibration": on whom the intervals were calibrated, see
    `left_out_people`. "rank_correlation": of the mean expected and the mean true error, over cases, by bone. "true_error_by_light": mean
    true error of good cases in mm. "brightness": the largest share of one brightness (see `bone_shadows`) of good cases without the flag,
    and how many have it in red, with the least and the largest mean error in mm of their worst bones. "cases": everything by case, without
    vertices.
    """
    kinds: dict[str, Any] = {}
    for kind in dict.fromkeys(str(record["kind"]) for record in records):
        chosen = [record for record in records if record["kind"] == kind]
        lights = Counter(str(record["light"]) for record in chosen)
        raised = Counter(name for record in chosen for name in record["flags"])
        kinds[kind] = {
            "count": len(chosen),
            "lights": {light: lights[light] for light in LIGHTS},
            "flags": dict(raised.most_common()),
            "scale_percent": [record.get("scale_percent") for record in chosen],
        }
    known = [record for record in records if "vertices" in record]
    return {
        "kinds": kinds,
        "coverage": {bone: row for bone in BONE_NAMES if (row := _coverage(bone, known, reference)) is not None},
        "coverage_by_group": _by_group(known, reference),
        "calibration": reference.provenance.get(LEFT_OUT_PROVENANCE),
        "rank_correlation": {
            bone: rank_correlation(*_pairs(bone, known)) for bone in BONE_NAMES if len(_pairs(bone, known)[0])
        },
        "true_error_by_light": {light: _error_of(light, known) for light in LIGHTS},
        "brightness": _brightness([record for record in known if "one_brightness" in record]),
        "cases": [{key: value for key, value in record.items() if key != "vertices"} for record in records],
    }


def vertices_of(bone: str, records: Sequence[Record]) -> list[tuple[Array, Array]]:
    """(expected, true) errors in mm at the scored vertices of a bone, one pair of arrays a case."""
    found = []
    for record in records:
        part = record["vertices"].get(bone)
        if part is not None:
            expected, error = (np.array(part[key], dtype=np.float64) for key in ("expected", "error"))
            scored = np.isfinite(error)
            if scored.any():
                found.append((expected[scored], error[scored]))
    return found


def _by_group(records: Sequence[Record], reference: TrustReference) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for group in dict.fromkeys(str(record.get("group", "")) for record in records):
        chosen = [record for record in records if str(record.get("group", "")) == group]
        parts = {bone: vertices_of(bone, chosen) for bone in BONE_NAMES}
        found[group] = {
            "cases": len(chosen),
            **{
                bone: float(_shares(pairs, reference.errors[bone].factor).mean())
                for bone, pairs in parts.items()
                if pairs and bone in reference.errors
            },
        }
    return found


def _unwidened(record: Record) -> Record:
    """The record with what was expected before strange images or bones widened it."""
    multiple = float(record.get("widened", 1.0))
    vertices = {
        bone: {**part, "expected": np.array(part["expected"], dtype=np.float64) / multiple}
        for bone, part in record["vertices"].items()
    }
    return {**record, "vertices": vertices}


def _shares(parts: Sequence[tuple[Array, Array]], factor: float) -> Array:
    """(N,) share of each case's vertices whose error is within the factor times what was expected."""
    return np.array([(error <= factor * expected).mean() for expected, error in parts])


def _coverage(bone: str, records: Sequence[Record], reference: TrustReference) -> dict[str, Any] | None:
    parts = vertices_of(bone, records)
    if not parts:
        return None
    factor = reference.errors[bone].factor
    shares = _shares(parts, factor)
    unwidened = vertices_of(bone, [_unwidened(record) for record in records])
    before = (reference.provenance.get(LEFT_OUT_PROVENANCE) or {}).get("population_factors", {}).get(bone)
    return {
        "cases": len(parts),
        "coverage": float(shares.mean()),
        "coverage_of_population_factor": None if before is None else float(_shares(parts, before).mean()),
        "coverage_without_widening": float(_shares(unwidened, factor).mean()),
        "lowest_case": float(shares.min()),
        "interval_mm": float(np.mean([factor * expected.mean() for expected, _ in parts])),
        "expected_mm": float(np.mean([expected.mean() for expected, _ in parts])),
        "true_mm": float(np.mean([error.mean() for _, error in parts])),
        "vertex_rank_correlation": rank_correlation(
            np.concatenate([expected for expected, _ in parts]).tolist(),
            np.concatenate([error for _, error in parts]).tolist(),
        )["spearman"],
    }


def _pairs(bone: str, records: Sequence[Record]) -> tuple[list[float], list[float]]:
    pairs = [
        (record["expected_mm"][bone], record["error_mm"][bone])
        for record in records
        if bone in record["expected_mm"] and record["error_mm"].get(bone) is not None
    ]
    return [first for first, _ in pairs], [second for _, second in pairs]


def _error_of(light: str, records: Sequence[Record]) -> dict[str, Any]:
    values = [
        float(np.mean([value for value in record["error_mm"].values() if value is not None]))
        for record in records
        if record["light"] == light
    ]
    return {"cases": len(values), "mean_mm": float(np.mean(values)) if values else None}


def _brightness(records: Sequence[Record]) -> dict[str, Any]:
    usual = [record["one_brightness"] for record in records if "lost_contrast" not in record["flags"]]
    worst = [
        max(value for value in record["error_mm"].values() if value is not None)
        for record in records
        if record["flags"].get("lost_contrast") == "red"
    ]
    return {
        "largest_unflagged": max(usual, default=None),
        "red": len(worst),
        "worst_bone_mm": [min(worst), max(worst)] if worst else None,
    }

"""What reconstruction from two radiographs costs a measurement, from the table that reconstruction_errors made."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

#: What `expected_error` gives, for a person.
EXPECTED_ERROR_IS = (
    "the error to be expected (root mean square) where the bones are a reconstruction from two radiographs; bones of a CT have only the "
    "part that a short shaft costs"
)
_TABLE = Path(__file__).with_name("reconstruction_errors.json")


@cache
def _table() -> dict[str, Any]:
    return dict(json.loads(_TABLE.read_text(encoding="utf-8")))


def measured_on() -> dict[str, Any]:
    """On which model's reconstructions the errors were measured: "model", "measured_by" (by group of knees, the command), and "reach"
    (bone -> least, mean and largest stretch of shaft that they show, widths of the bone).
    """
    return {key: _table()[key] for key in ("model", "measured_by", "reach")}


def reconstruction_error(name: str) -> float | None:
    """How far, root mean square, a measurement on a reconstruction lies from the same on the true bones, on the same stretch of shaft, in
    its unit: that of the group of knees that came out worst (people whom nothing had seen, people left out of the shape prior, synthetic
    knees). None where it was not measured.
    """
    groups = _table()["reconstruction"].get(name)
    return None if groups is None else max(float(item["rms"]) for item in groups.values())


def expected_error(name: str, short_shaft: float | None) -> float | None:
    """How far, root mean square, a measurement on a reconstruction is expected to lie from the same on the whole true bones, in its unit:
    both parts add as squares. None where what reconstruction costs was not measured.

    short_shaft: what the short shafts cost, see short_shaft_error.
    """
    own = reconstruction_error(name)
    return None if own is None else float(np.hypot(own, short_shaft or 0.0))

"""Calibration error: radiographs of the true rig, reconstructed with a rig that is told wrongly by a known amount."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from SSRKDCore.drr.noise import NoiseModel
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.experiments.framework import Plan, Point
from SSRKDCore.evaluation.experiments.registry import Request
from SSRKDCore.evaluation.experiments.sources import Source, checked_case
from SSRKDCore.evaluation.experiments.variants import noisy, write_variant
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.geometry.view import View
from SSRKDCore.population.rigid_transforms import rotation_about, translation

STEPS = (1.0, 2.0, 3.0, 5.0)
Mistaken = Callable[[Rig, float, np.random.Generator], Rig]


def turned(rig: Rig, degrees: float, generator: np.random.Generator) -> Rig:
    """The rig as told: its second view turned by `degrees` about a random axis through the field of view's centre."""
    second = _second(rig)
    axis = generator.standard_normal(3)
    motion = rotation_about(axis / np.linalg.norm(axis), degrees, np.array(rig.field_of_view.center))
    return _with_second(rig, second.transformed(motion))


def magnified(rig: Rig, percent: float, generator: np.random.Generator) -> Rig:
    """The rig as told: the detectors of all views farther from, or nearer to, their sources, so that the told magnification is off by
    `percent`, upwards or downwards at random.
    """
    factor = 1.0 + float(generator.choice([-1.0, 1.0])) * percent / 100.0

    def view(true: View) -> View:
        along = (factor - 1.0) * true.source_to_detector * true.normal
        x, y, z = np.array(true.detector_origin) + along
        return replace(true, detector_origin=(float(x), float(y), float(z)))

    return Rig(tuple(view(true) for true in rig.views), rig.field_of_view, rig.provenance)


def shifted(rig: Rig, millimetres: float, generator: np.random.Generator) -> Rig:
    """The rig as told: its second view moved by `millimetres` parallel to its detector in a random direction, as if the patient had
    moved by as much between the exposures.
    """
    view = _second(rig)
    angle = generator.uniform(0.0, 2.0 * np.pi)
    direction = np.cos(angle) * np.array(view.column_direction) + np.sin(angle) * np.array(view.row_direction)
    return _with_second(rig, view.transformed(translation(millimetres * direction)))


def _second(rig: Rig) -> View:
    """The view that is told wrongly. Raises InputError for a rig of one view."""
    if len(rig.views) < 2:
        raise InputError("The rig has one view, and its place is told wrongly to another: use cases with two.")
    return rig.views[1]


def _with_second(rig: Rig, view: View) -> Rig:
    return Rig((rig.views[0], view, *rig.views[2:]), rig.field_of_view, rig.provenance)


SERIES: dict[str, tuple[Mistaken, str, str]] = {
    "angle": (turned, "degrees", "told angle of the second view off by (degrees)"),
    "magnification": (magnified, "%", "told magnification off by (%)"),
    "shift": (shifted, "mm", "patient moved between exposures by (mm)"),
}


def plan(request: Request) -> Plan:
    """The points of the experiment."""
    noise = NoiseModel()

    def point(series: str, amount: float) -> Point:
        mistaken, unit, _ = SERIES.get(series, (None, "", ""))

        def make(source: Source, folder: Path, seed: int) -> Path:
            given = checked_case(source)
            true = given.case.rig
            # The same direction at every amount, so that a case's points differ by the amount alone.
            told = true if mistaken is None else mistaken(true, amount, np.random.default_rng(seed))
            images = noisy(given.line_integrals, noise, seed)
            words = {"told_wrongly": series or "not", "amount": amount, "true_rig": true.to_dict()}
            return write_variant(folder, given.case, images, told, {"calibration": words})

        name = f"{series} {amount:g} {unit}" if mistaken else "as it is"
        return Point(name, make, series, amount, {"photons": noise.photons})

    points = [point("", 0.0), *(point(series, amount) for series in SERIES for amount in STEPS)]
    return Plan(points, request.case_sources(), {name: words for name, (_, _, words) in SERIES.items()})

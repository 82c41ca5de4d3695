"""Figure 5c: the angle between the two views. The AP view stays, the other one turns about the leg."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from SSRKDCore.drr.noise import NoiseModel
from SSRKDCore.drr.projector import project
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.experiments.framework import Plan, Point
from SSRKDCore.evaluation.experiments.registry import Request
from SSRKDCore.evaluation.experiments.sources import Source, checked_case
from SSRKDCore.evaluation.experiments.variants import noisy, write_variant
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.population.rigid_transforms import rotation_about

ANGLES_DEGREES = (30.0, 45.0, 60.0, 75.0, 90.0)
_Z = np.array([0.0, 0.0, 1.0])


def separated(rig: Rig, degrees: float) -> Rig:
    """The rig with its second view turned about the craniocaudal axis through the field of view's centre, on the side where it is,
    until the horizontal parts of both central rays are `degrees` apart.

    Raises InputError for a rig of other than two views, or with a view along the leg.
    """
    if len(rig.views) != 2:
        raise InputError(f"The rig has {len(rig.views)} views, and their separation needs two: use cases with two.")
    center = np.array(rig.field_of_view.center)
    rays = [(center - np.array(view.source))[:2] for view in rig.views]
    if min(float(np.linalg.norm(ray)) for ray in rays) < 1.0:
        raise InputError("A view of the rig looks along the leg, so views cannot be turned about it: use other cases.")
    cross = rays[0][0] * rays[1][1] - rays[0][1] * rays[1][0]
    now = float(np.degrees(np.arctan2(cross, rays[0] @ rays[1])))
    turn = float(np.copysign(degrees, now)) - now
    moved = rig.views[1].transformed(rotation_about(_Z, turn, center))
    return Rig((rig.views[0], moved), rig.field_of_view, {"separation_degrees": degrees, "of": dict(rig.provenance)})


def plan(request: Request) -> Plan:
    """The points of the experiment."""

    def point(degrees: float) -> Point:
        noise = NoiseModel()

        def make(source: Source, folder: Path, seed: int) -> Path:
            given = checked_case(source)
            rig = separated(given.case.rig, degrees)
            images = noisy(project(given.exposed.volume, given.exposed.grid, rig), noise, seed)
            return write_variant(folder, given.case, images, rig, {"separation_degrees": degrees})

        return Point(f"{degrees:g} degrees", make, value=degrees, settings={"photons": noise.photons})

    return Plan(
        [point(degrees) for degrees in ANGLES_DEGREES],
        request.case_sources(),
        {"": "angle between the views (degrees)"},
    )

"""Whether a seated guide stays where it is: forces and torques that its contacts and their friction can resist.

A load is resisted when contact forces inside their friction cones balance it (force closure: Murray, Li and Sastry, A Mathematical
Introduction to Robotic Manipulation, 1994, chapter 5). Each cone is an inscribed pyramid of eight edges, so that no load is called
resisted that is not. Freedom is measured by how much motion opens or closes the contact on the whole (slippage of Gelfand et al.,
Geometrically stable sampling for the ICP algorithm, 3DIM 2003).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.planning.guide_contacts import GuideContacts, Pose
from SSRKDCore.planning.guide_gaps import BoneNearGuide, wrench_rows

Array = NDArray[np.float64]

_EDGES = 8
_MOST_CONTACTS = 60
_RESIDUAL = 1e-3
#: Ratios above it are not told apart.
LARGEST_RATIO = 5.0
_FREE = 0.05
_FREEDOM_CONTACT_MM = 0.5


@dataclass(frozen=True)
class StabilityParameters:
    """The loads. Raises InputError for values that make no sense.

    Attributes
    ----------
    friction: Coulomb's coefficient between guide and bone.
    cone_degrees: the hand's push is tilted by up to this.
    torque_lever_mm: torques up to push times this lever.
    contact_mm: points of the patch nearer than this to the bone, beyond the clearance, carry load.
    """

    friction: float = 0.3
    cone_degrees: float = 15.0
    torque_lever_mm: float = 5.0
    contact_mm: float = 0.1

    def __post_init__(self) -> None:
        for name, highest in (
            ("friction", 2.0),
            ("cone_degrees", 80.0),
            ("torque_lever_mm", 100.0),
            ("contact_mm", 1.0),
        ):
            if not 0 <= getattr(self, name) <= highest:
                raise InputError(f"{name} is {getattr(self, name):g}: it must lie between 0 and {highest:g}.")


@dataclass(frozen=True)
class Stability:
    """What a seat resists, under the push.

    Attributes
    ----------
    resisted_percent: share of the loads (tilts up to the cone, torques up to the lever, and both) that are resisted.
    weakest_force_ratio: smallest sideways force, as a share of the push, that moves the guide (0 to 5).
    weakest_torque_mm: smallest torque over push, in mm, that turns it (0 to 5 patch radii).
    freedoms: number of motions out of six that leave the contact as it is (a plane 3, a sphere 3, a cylinder 2, a locked shape 0).
    stiffness: (6,) root mean square change of the gap per mm along each principal motion, smallest first.
    contacts: number of points that carry load.
    """

    resisted_percent: float
    weakest_force_ratio: float
    weakest_torque_mm: float
    freedoms: int
    stiffness: Array
    contacts: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "resisted_percent": self.resisted_percent,
            "weakest_force_ratio": self.weakest_force_ratio,
            "weakest_torque_mm": self.weakest_torque_mm,
            "freedoms": self.freedoms,
            "stiffness": self.stiffness.tolist(),
            "contact_points": self.contacts,
        }


def guide_stability(
    bone: BoneNearGuide, contacts: GuideContacts, pose: Pose, clearance_mm: float, parameters: StabilityParameters
) -> Stability:
    """The stability of a seat."""
    places, gaps, normals = bone.touching(contacts, pose, clearance_mm + _FREEDOM_CONTACT_MM)
    pivot = contacts.centre + pose.shift
    if not len(places):
        return Stability(0.0, 0.0, 0.0, 6, np.zeros(6), 0)
    rows = wrench_rows(places, normals, pivot, contacts.radius)
    stiffness = np.sqrt(np.maximum(np.linalg.eigvalsh(rows.T @ rows / len(rows)), 0.0))
    chosen = _spread(places, np.flatnonzero(gaps < clearance_mm + parameters.contact_mm))
    push = pose.rotation @ contacts.direction
    generators = _cones(places[chosen], normals[chosen], pivot, contacts.radius, parameters.friction)
    loads = _loads(push, contacts.radius, parameters)
    resisted = np.mean([_resists(generators, load) for load in loads])
    sideways = _across(push, 8)
    forces = [_largest(generators, push, np.concatenate([way, np.zeros(3)])) for way in sideways]
    axes = np.concatenate([[push, -push], _across(push, 4)])
    torques = [_largest(generators, push, np.concatenate([np.zeros(3), axis])) for axis in axes]
    return Stability(
        100.0 * float(resisted),
        min(forces),
        min(torques) * contacts.radius,
        int((stiffness < _FREE).sum()),
        stiffness,
        len(chosen),
    )


def _spread(places: Array, candidates: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most 60 of the candidates, each the farthest from those before."""
    if len(candidates) <= _MOST_CONTACTS:
        return candidates
    points = places[candidates]
    chosen = [int(np.argmax(np.linalg.norm(points - points.mean(axis=0), axis=1)))]
    distance = np.linalg.norm(points - points[chosen[0]], axis=1)
    while len(chosen) < _MOST_CONTACTS:
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return candidates[np.array(chosen)]


def _across(direction: Array, count: int) -> Array:
    """(count, 3) unit vectors across a direction, evenly about it."""
    helper = np.eye(3)[int(np.argmin(np.abs(direction)))]
    first = np.cross(direction, helper)
    first /= np.linalg.norm(first)
    angle = 2 * np.pi * np.arange(count)[:, None] / count
    return np.cos(angle) * first + np.sin(angle) * np.cross(direction, first)


def _cones(places: Array, normals: Array, pivot: Array, radius: float, friction: float) -> Array:
    """(6, K) wrenches of the edges of all friction cones; torques over `radius`."""
    if friction == 0:
        edges, points = normals, places
    else:
        edges = np.concatenate(
            [normal + friction * _across(normal, _EDGES) for normal in normals] or [np.zeros((0, 3))]
        )
        points = np.repeat(places, _EDGES, axis=0)
    return wrench_rows(points, edges, pivot, radius).T


def _loads(push: Array, radius: float, parameters: StabilityParameters) -> Array:
    """(L, 6) loads: the push, tilted by half and all of the cone, without and with torque about six axes."""
    tilts = [push]
    for tilt in np.deg2rad([0.5 * parameters.cone_degrees, parameters.cone_degrees]):
        tilts += list(np.cos(tilt) * push + np.sin(tilt) * _across(push, 8))
    lever = parameters.torque_lever_mm / radius
    torques = np.concatenate([np.zeros((1, 3)), lever * np.concatenate([[push, -push], _across(push, 4)])])
    return np.array([np.concatenate([force, torque]) for force in tilts for torque in torques])


def _resists(generators: Array, load: Array) -> bool:
    from scipy.optimize import nnls

    if generators.shape[1] == 0:
        return False
    return bool(nnls(generators, -load)[1] < _RESIDUAL * float(np.linalg.norm(load)))


def _largest(generators: Array, push: Array, way: Array) -> float:
    """The largest multiple of a load `way` (6,) that is resisted on top of the push, up to 5; 0 where the push itself is not."""
    from scipy.optimize import linprog

    if generators.shape[1] == 0:
        return 0.0
    held = np.concatenate([push, np.zeros(3)])
    cost = np.zeros(generators.shape[1] + 1)
    cost[-1] = -1.0
    # A little slack: a seat is in balance up to the tolerance of the seating.
    rows = np.column_stack([generators, way])
    result = linprog(
        cost,
        A_ub=np.concatenate([rows, -rows]),
        b_ub=np.concatenate([-held + _RESIDUAL, held + _RESIDUAL]),
        bounds=[(0, None)] * generators.shape[1] + [(0, LARGEST_RATIO)],
        method="highs",
    )
    return float(result.x[-1]) if result.success else 0.0

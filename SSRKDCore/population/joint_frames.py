"""Axes and landmarks of a right knee, found on its bones: what its motion turns about and is measured by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

# The posterior part of a condyle that articulates in flexion, as angles of its outward direction in the sagittal plane
# (0 backwards, -90 downwards): the flexion facet of Iwaki et al. without its ends, where the profile leaves the circle.
_FACET_ANGLES = np.deg2rad(np.arange(-60.0, 21.0, 4.0))
_CONDYLE_HEIGHT = 45.0
# Below this much shaft an axis through slabs of it would be that of the flaring metaphysis.
_SHORTEST_SHAFT = 100.0
_LONGEST_SHAFT = 150.0
_FACET_RADII = (12.0, 32.0)


@dataclass(frozen=True)
class KneeFrame:
    """Axes and landmarks of one right knee: LPS mm, +x medial, +y posterior, +z superior.

    Attributes
    ----------
    medial_centre, lateral_centre: (3,) centres of the circles through the posterior condyles (flexion facet centres).
    medial_radius, lateral_radius: their radii in mm.
    femoral_axis, tibial_axis: (3,) unit vectors along the shafts, upwards.
    femoral_width: largest extent of the condyles along the flexion axis in mm (epicondylar width).
    plateau_centre: (3,) middle of the tibial plateau.
    tuberosity: (3,) most prominent point of the tibial tuberosity, where the patellar tendon ends.
    apex: (3,) distal pole of the patella, where the tendon begins.
    patella_length: from pole to pole in mm.
    """

    medial_centre: Array
    lateral_centre: Array
    medial_radius: float
    lateral_radius: float
    femoral_axis: Array
    tibial_axis: Array
    femoral_width: float
    plateau_centre: Array
    tuberosity: Array
    apex: Array
    patella_length: float

    @property
    def flexion_axis(self) -> Array:
        """(3,) unit vector of the cylinder axis, from the lateral to the medial flexion facet centre."""
        return _unit(self.medial_centre - self.lateral_centre)

    @property
    def centre(self) -> Array:
        """(3,) midpoint of the two flexion facet centres."""
        return 0.5 * (self.medial_centre + self.lateral_centre)

    @property
    def tendon_length(self) -> float:
        """Straight distance in mm from the patella's distal pole to the tibial tuberosity."""
        return float(np.linalg.norm(self.apex - self.tuberosity))

    @property
    def flexion_deg(self) -> float:
        """Flexion between the shafts seen along the flexion axis, degrees, negative in hyperextension.

        The angle about the femur's body-fixed axis of Grood and Suntay (J Biomech Eng 105, 1983), taken between the parts of the
        shafts within 150 mm of the joint, as on a short lateral radiograph. The femur bows forwards: a straight leg reads some
        degrees of hyperextension (-7 to 0 in the legs that shape models are fitted to).
        """
        forward = np.cross(self.flexion_axis, self.femoral_axis)
        upward = np.cross(forward, self.flexion_axis)
        return float(np.rad2deg(np.arctan2(self.tibial_axis @ forward, self.tibial_axis @ upward)))

    @property
    def valgus_deg(self) -> float:
        """Angle between the tibial shaft and the plane across the flexion axis, degrees; positive where the shin points outwards.

        The femoral shaft's own inclination to that plane is added: the anatomical femorotibial angle minus 180 degrees.
        """
        tibia = np.arcsin(np.clip(self.tibial_axis @ self.flexion_axis, -1.0, 1.0))
        femur = np.arcsin(np.clip(self.femoral_axis @ self.flexion_axis, -1.0, 1.0))
        return float(np.rad2deg(tibia - femur))


def knee_frame(bones: Mapping[str, Surface]) -> KneeFrame:
    """Axes and landmarks of the four bones of a right knee in the knee frame (LPS mm, joint near the origin, shafts along z).

    The flexion axis joins the centres of circles fitted to the posterior condyles: Eckhoff et al., "Three-dimensional mechanics,
    kinematics, and morphology of the knee viewed in virtual reality", J Bone Joint Surg Am 87(S2), 2005 (cylinder axis); Iwaki et
    al., "Tibiofemoral movement 1", J Bone Joint Surg Br 82, 2000 (flexion facet centres). Shaft axes are lines through centroids
    of slabs; where less than 100 mm of a shaft is there, z stands in for it.

    Raises InputError when the shapes are no right knee in this frame: no round condyles, fibula or patella on the wrong side.
    """
    femur, tibia = bones["femur"], bones["tibia"]
    condyles = _condyle_vertices(femur)
    axis = np.array([1.0, 0.0, 0.0])
    for _ in range(4):
        medial, lateral = _flexion_facets(condyles, axis)
        axis = _unit(medial[0] - lateral[0])
    for radius in (medial[1], lateral[1]):
        if not _FACET_RADII[0] < radius < _FACET_RADII[1] or abs(axis[0]) < 0.9:
            raise InputError(
                f"The femur's posterior condyles are not round (radius {radius:.0f} mm): give a right knee, "
                "its shafts along z, its back at +y."
            )
    centre = 0.5 * (medial[0] + lateral[0])
    patella = bones["patella"].vertices
    if bones["fibula"].centroid[0] > tibia.vertices[tibia.vertices[:, 2] > -60.0].mean(axis=0)[0]:
        raise InputError("The fibula lies medial of the tibia: mirror a left knee before posing it.")
    if patella[:, 1].mean() > centre[1]:
        raise InputError("The patella lies behind the femur's condyles: turn the knee so that its front is at -y.")
    tibial_axis = _shaft_axis(tibia, upward=False)
    plateau = _plateau_centre(tibia)
    return KneeFrame(
        medial_centre=medial[0],
        lateral_centre=lateral[0],
        medial_radius=medial[1],
        lateral_radius=lateral[1],
        femoral_axis=_shaft_axis(femur, upward=True),
        tibial_axis=tibial_axis,
        femoral_width=float(np.ptp(condyles @ axis)),
        plateau_centre=plateau,
        tuberosity=_tuberosity(tibia, tibial_axis, plateau),
        apex=_apex(patella),
        patella_length=float(np.ptp(patella[:, 2])),
    )


def _unit(vector: Array) -> Array:
    return vector / np.linalg.norm(vector)


def _condyle_vertices(femur: Surface) -> Array:
    """(N, 3) vertices of the condyles and epicondyles."""
    height = femur.vertices[:, 2] - femur.vertices[:, 2].min()
    return femur.vertices[height < _CONDYLE_HEIGHT]


def _flexion_facets(condyles: Array, axis: Array) -> tuple[tuple[Array, float], tuple[Array, float]]:
    """Centre (3,) and radius of the circle through each posterior condyle, medial first, across `axis`."""
    across = condyles @ axis
    middle = 0.5 * (across.min() + across.max())
    backward = _unit(np.array([0.0, 1.0, 0.0]) - axis[1] * axis)
    upward = np.cross(axis, backward)
    found = []
    for sign in (1.0, -1.0):
        side = condyles[sign * (across - middle) > 0.1 * np.ptp(across)]
        profile = np.stack([side @ backward, side @ upward], axis=1)
        directions = np.stack([np.cos(_FACET_ANGLES), np.sin(_FACET_ANGLES)], axis=1)
        support = np.argmax(profile @ directions.T, axis=0)
        centre, radius = _circle(profile[support])
        position = (side[support] @ axis).mean() * axis + centre[0] * backward + centre[1] * upward
        found.append((position, radius))
    return found[0], found[1]


def _circle(points: Array) -> tuple[Array, float]:
    """Centre (2,) and radius of the circle through points (N, 2), algebraic least squares (Kasa, IEEE TIM 25(1), 1976)."""
    matrix = np.column_stack([2.0 * points, np.ones(len(points))])
    solution = np.linalg.lstsq(matrix, (points**2).sum(axis=1), rcond=None)[0]
    return solution[:2], float(np.sqrt(max(solution[2] + solution[:2] @ solution[:2], 0.0)))


def _shaft_axis(bone: Surface, upward: bool) -> Array:
    """(3,) unit vector up the shaft of a long bone that extends to +z (`upward`) or -z from the joint."""
    direction = 1.0 if upward else -1.0
    centres, areas = bone.triangles.mean(axis=1), bone.triangle_areas
    height = direction * centres[:, 2]
    reach = min(float(height.max()), _LONGEST_SHAFT)
    if reach < _SHORTEST_SHAFT:
        return np.array([0.0, 0.0, 1.0])
    # Above the flare, and short of a flat end, whose area would shift a slab's centroid.
    edges = np.linspace(0.5 * reach, reach - 6.0, 9)
    slabs = []
    for low, high in pairwise(edges):
        inside = (height >= low) & (height < high)
        if areas[inside].sum() > 0.0:
            slabs.append(np.average(centres[inside], axis=0, weights=areas[inside]))
    if len(slabs) < 3:
        raise InputError(
            "A shaft has no surface 75 to 150 mm from the joint: give whole bones, or ones cut closer to the joint."
        )
    points = np.array(slabs)
    axis = np.linalg.svd(points - points.mean(axis=0))[2][0]
    return axis if axis[2] > 0 else -axis


def _plateau_centre(tibia: Surface) -> Array:
    """(3,) middle of the box about the tibia's uppermost 15 mm, at the height of the plateau's surface."""
    top = float(tibia.vertices[:, 2].max())
    plateau = tibia.vertices[tibia.vertices[:, 2] > top - 15.0]
    middle = 0.5 * (plateau.min(axis=0) + plateau.max(axis=0))
    return np.array([middle[0], middle[1], top - 6.0])


def _tuberosity(tibia: Surface, axis: Array, plateau: Array) -> Array:
    """(3,) the point 15 to 50 mm below the plateau that stands out furthest in front of the tibia's axis."""
    below = (plateau - tibia.vertices) @ axis
    part = tibia.vertices[(below > 15.0) & (below < 50.0)]
    if len(part) == 0:
        raise InputError(
            "The tibia ends above its tuberosity: give a tibia that reaches at least 60 mm below the joint."
        )
    forward = _unit(np.array([0.0, -1.0, 0.0]) + axis[1] * axis)
    return part[np.argmax(part @ forward)]


def _apex(patella: Array) -> Array:
    """(3,) mean of the patella's lowest 2 mm."""
    return patella[patella[:, 2] < patella[:, 2].min() + 2.0].mean(axis=0)

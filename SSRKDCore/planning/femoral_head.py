"""The hip centre: of a sphere through the femoral head, where a femoral head is there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.planning.bone_samples import BoneSamples, farthest, unit

Array = NDArray[np.float64]

# Adults' femoral heads measure 19 to 29 mm in radius (Noble et al., Clin Orthop 235, 1988), adolescents' somewhat less.
_RADII_MM = (15.0, 32.0)
_TOLERANCE_MM = 1.5
_LARGEST_RESIDUAL_MM = 1.0
_LEAST_COVERAGE = 0.4
_LEAST_LENGTH_WIDTHS = 3.0
_LEAST_OFFSET_MM = 15.0


def fitted_sphere(points: Array) -> tuple[Array, float]:
    """Centre (3,) and radius of the sphere through points (N, 3), algebraic least squares (Coope, J Optim Theory Appl 76, 1993)."""
    middle = points.mean(axis=0)
    local = points - middle
    matrix = np.column_stack([2.0 * local, np.ones(len(local))])
    solution = np.linalg.lstsq(matrix, (local**2).sum(axis=1), rcond=None)[0]
    centre = solution[:3]
    return centre + middle, float(np.sqrt(max(solution[3] + centre @ centre, 0.0)))


def hip_centre(femur: BoneSamples, up: Array, lateral: Array, width: float) -> Array | str:
    """The centre (3,) of the femoral head, LPS mm, or in words why there is none.

    Parameters
    ----------
    femur: its samples.
    up, lateral: (3,) unit vectors of the femur's frame.
    width: of the condyles, mm.
    """
    length = float(np.ptp(femur.points @ up))
    if length < _LEAST_LENGTH_WIDTHS * width:
        return f"the femur ends {length:.0f} mm above the joint: the femoral head is not in the field of view"
    height = femur.centres @ up
    top = height > height.max() - 2.0 * _RADII_MM[1]
    centres, areas = femur.centres[top], femur.areas[top]
    # The head looks up and medially; from its pole the sphere grows over what it explains.
    pole = farthest(centres, unit(up - lateral))
    used = np.linalg.norm(centres - pole, axis=1) < 18.0
    centre, radius = pole, 0.0
    for _ in range(30):
        if used.sum() < 30:
            return "the upper end of the femur is no sphere"
        centre, radius = fitted_sphere(centres[used])
        distance = np.abs(np.linalg.norm(centres - centre, axis=1) - radius)
        chosen = distance < _TOLERANCE_MM
        if (chosen == used).all():
            break
        used = chosen
    residual = float(
        np.sqrt(np.average((np.linalg.norm(centres[used] - centre, axis=1) - radius) ** 2, weights=areas[used]))
    )
    coverage = float(areas[used].sum() / (4.0 * np.pi * max(radius, 1.0) ** 2))
    if not _RADII_MM[0] < radius < _RADII_MM[1]:
        return f"the sphere at the femur's upper end has a radius of {radius:.0f} mm, which no femoral head has"
    if residual > _LARGEST_RESIDUAL_MM or coverage < _LEAST_COVERAGE:
        return f"the femur's upper end is no sphere (residual {residual:.1f} mm, {100 * coverage:.0f} % of a sphere are there)"
    below = (height.max() - height > 0.2 * length) & (height.max() - height < 0.35 * length)
    if (femur.centres[below].mean(axis=0) - centre) @ lateral < _LEAST_OFFSET_MM:
        return "the sphere at the femur's upper end does not lie medial of the shaft"
    return centre

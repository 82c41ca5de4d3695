"""What a relative pose and the bones' own errors are made of: parameters, their prior widths, and what they move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.geometry.rig import Rig
from SSRKDCore.geometry.view import View
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

#: In the order of the pose vector: turns in degrees about, and shifts in mm along, the second view's own axes (see `pose_axes`).
POSE_NAMES = (
    "turn_about_beam_degrees",
    "turn_about_columns_degrees",
    "turn_about_rows_degrees",
    "shift_along_beam_mm",
    "shift_along_columns_mm",
    "shift_along_rows_mm",
)
# Standard deviations of what the reconstructed bones may be wrong by. The knee as a whole: degrees and mm (the first view holds it, but
# for its depth); each bone besides: degrees, strain, mm.
_KNEE_DEGREES, _KNEE_MM = 5.0, 15.0
_BONE_DEGREES, _BONE_STRAIN, _BONE_MM = 2.0, 0.03, 2.0
_PER_BONE = 12


def _cross(vector: Array) -> Array:
    x, y, z = vector
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


@dataclass(frozen=True)
class PoseProblem:
    """Bones between two views, the second of which is not where the rig says.

    Attributes
    ----------
    fixed, moving: the views as the rig has them.
    center: (3,) about which the views and the knee turn: the centre of the field of view.
    surfaces: bone name -> surface, LPS mm.
    turn_sd, shift_sd: prior standard deviations of the second view's pose, degrees and mm.
    """

    fixed: View
    moving: View
    center: Array
    surfaces: Mapping[str, Surface]
    turn_sd: float
    shift_sd: float

    @property
    def axes(self) -> Array:
        """(3, 3) rows: beam, columns, rows of the second view."""
        return pose_axes(self.moving)

    @property
    def count(self) -> int:
        return 12 + _PER_BONE * len(self.surfaces)

    @property
    def prior_sd(self) -> Array:
        """(P,) standard deviations of all parameters: pose 6, knee 6, and for each bone turns 3, strains 6, shifts 3."""
        bone = [np.radians(_BONE_DEGREES)] * 3 + [_BONE_STRAIN] * 6 + [_BONE_MM] * 3
        return np.array(
            [self.turn_sd] * 3
            + [self.shift_sd] * 3
            + [np.radians(_KNEE_DEGREES)] * 3
            + [_KNEE_MM] * 3
            + bone * len(self.surfaces)
        )

    def moved_view(self, parameters: Array) -> View:
        """The second view at a pose."""
        return self.moving.transformed(pose_matrix(parameters[:6], self.axes, self.center))

    def moved_surfaces(self, parameters: Array) -> dict[str, Surface]:
        """The bones under the knee's motion and their own small deformations."""
        from scipy.spatial.transform import Rotation

        turn = np.asarray(Rotation.from_rotvec(parameters[6:9]).as_matrix())
        moved = {}
        for index, (name, surface) in enumerate(self.surfaces.items()):
            own = parameters[12 + _PER_BONE * index : 12 + _PER_BONE * (index + 1)]
            middle = surface.vertices.mean(axis=0)
            about = surface.vertices - middle
            vertices = surface.vertices + about @ (_cross(own[:3]) + _strain(own[3:9])).T + own[9:]
            moved[name] = Surface((vertices - self.center) @ turn.T + self.center + parameters[9:12], surface.faces)
        return moved

    def rows(self, bone: int, points: Array, normals: Array, second_view: bool) -> Array:
        """(N, P) by how many mm a unit of each parameter moves the projected contour outwards along its normals."""
        result = np.zeros((len(points), self.count))
        about = points - self.center
        moments = np.cross(about, normals)
        if second_view:
            # A view that moves one way sees the bones move the other way.
            result[:, :3] = -np.radians(1.0) * moments @ self.axes.T
            result[:, 3:6] = -normals @ self.axes.T
        result[:, 6:9], result[:, 9:12] = moments, normals
        start = 12 + _PER_BONE * bone
        own = points - list(self.surfaces.values())[bone].vertices.mean(axis=0)
        result[:, start : start + 3] = np.cross(own, normals)
        for place, (first, second) in enumerate(((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))):
            product = normals[:, first] * own[:, second]
            if first != second:
                product = product + normals[:, second] * own[:, first]
            result[:, start + 3 + place] = product
        result[:, start + 9 : start + 12] = normals
        return result

    def frontier_rows(self, points: Array, up: Array) -> Array:
        """(N, P) by how many mm a unit of each parameter raises along `up` what the second image shows at `points`."""
        result = np.zeros((len(points), self.count))
        result[:, :3] = np.radians(1.0) * np.cross(points - self.center, up) @ self.axes.T
        result[:, 3:6] = up @ self.axes.T
        return result


def _strain(values: Array) -> Array:
    xx, yy, zz, xy, xz, yz = values
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def pose_axes(view: View) -> Array:
    """(3, 3) rows: beam, columns, rows of a view, about and along which its pose turns and shifts.

    Of an image that stands on its side or its head, columns and rows are those of the upright one, by quarter turns: rows run down the
    leg (LPS -z), so that a shift along them is a height.
    """
    across, down = np.array(view.column_direction), np.array(view.row_direction)
    quarters = [(across, down), (down, -across), (-across, -down), (-down, across)]
    upright = min(quarters, key=lambda pair: float(pair[1][2]))
    return np.stack([view.normal, *upright])


def pose_matrix(pose: Array, axes: Array, center: Array) -> Array:
    """(4, 4) rigid motion of a view: turned by pose[:3] degrees about the rows of `axes` through `center`, shifted by pose[3:] mm."""
    from scipy.spatial.transform import Rotation

    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.radians(pose[:3]) @ axes).as_matrix()
    matrix[:3, 3] = center - matrix[:3, :3] @ center + pose[3:6] @ axes
    return matrix


def moved_view(rig: Rig, pose: Array) -> View:
    """The rig's second view at a pose (6,), POSE_NAMES."""
    view = rig.views[1]
    return view.transformed(pose_matrix(pose, pose_axes(view), np.array(rig.field_of_view.center)))


def pose_between(first: View, second: View, axes: Array, center: Array) -> Array:
    """(6,) the pose that `pose_matrix` turns into the motion from one place of a view to another."""
    from scipy.spatial.transform import Rotation

    def frame(view: View) -> Array:
        return np.stack([view.normal, view.column_direction, view.row_direction])

    turn = frame(second).T @ frame(first)
    shift = np.array(second.source) - center - turn @ (np.array(first.source) - center)
    return np.concatenate([np.degrees(Rotation.from_matrix(turn).as_rotvec()) @ axes.T, axes @ shift])

"""Rigid alignment of bones before they are compared: iterative closest points, for the whole knee or for each bone.

Besl and McKay (1992) alternate between closest points and the best rigid motion. Pairs further apart than a multiple of
the median are left out (in the spirit of trimmed ICP, Chetverikov et al. 2005), so that a shaft which only one surface shows does
not pull. Flat ends where the image stops are no bone surface and do not pull either. What the shape cannot hold (a round shaft along its
length) is said with the result: see undetermined_motion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.evaluation.field_of_view import DEFAULT_MARGIN_MM, everywhere, flat_shaft_end, without_cut_faces
from SSRKDCore.evaluation.surface_sampling import sampled
from SSRKDCore.evaluation.undetermined_motion import UndeterminedMotion, undetermined_motions
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

MODES = ("none", "knee", "bone")
_SAMPLES_PER_BONE = 3000
_ITERATIONS = 100
_STILL_MM = 1e-4
_PATCH_MM = 1.5
_TRIM_MEDIANS = 3.0


@dataclass(frozen=True)
class Alignment:
    """A rigid motion of the reconstruction onto the reference.

    Attributes
    ----------
    matrix: (4, 4), moves points (x, y, z, 1) in mm, LPS.
    residual_mm: root mean square of the distances that were used, after the motion.
    before_mm: the same before it.
    rotation_degrees, translation_mm: how far it turns, and how far it moves the centre of the moved points.
    undetermined: motions that the matched surfaces hardly hold; differences along them are not to be trusted after the alignment.
    """

    matrix: Array
    residual_mm: float
    before_mm: float
    rotation_degrees: float
    translation_mm: float
    undetermined: tuple[UndeterminedMotion, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "matrix": self.matrix.tolist(),
            "residual_mm": self.residual_mm,
            "before_mm": self.before_mm,
            "rotation_degrees": self.rotation_degrees,
            "translation_mm": self.translation_mm,
            "undetermined": [motion.to_dict() for motion in self.undetermined],
        }


def alignment_warnings(alignments: Mapping[str, Alignment]) -> list[str]:
    """A sentence for each motion that an alignment (by bone, or as "knee") leaves open."""
    return [motion.in_words(name) for name, found in alignments.items() for motion in found.undetermined]


def aligned(
    reconstruction: Mapping[str, Surface],
    reference: Mapping[str, Surface],
    mode: str,
    box: Array | None = None,
    margin: float = DEFAULT_MARGIN_MM,
) -> tuple[dict[str, Surface], dict[str, Alignment]]:
    """Move the reconstruction onto the reference.

    Parameters
    ----------
    reconstruction, reference: surfaces by bone name, LPS mm.
    mode: "none", "knee" (one motion from all bones that both have) or "bone" (one motion a bone).
    box: (2, 3) field of view, mm: faces within `margin` mm of its sides that only close a surface there do not count; None for no limit.

    Returns the moved surfaces and the alignments, by bone, or as "knee". A bone that the reference lacks moves with the knee,
    and stays where it is with mode "bone".
    """
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}, not one of {MODES}")
    cut = {
        name: tuple(_bone_surface(bones[name], name, box, margin) for bones in (reconstruction, reference))
        for name in reconstruction
        if name in reference
    }
    common = [name for name, pair in cut.items() if not any(surface.is_empty for surface in pair)]
    if mode == "none" or not common:
        return dict(reconstruction), {}
    groups = {"knee": common} if mode == "knee" else {name: [name] for name in common}
    found = {
        group: align_points([_sampled_vertices(cut[name][0]) for name in names], [cut[name][1] for name in names])
        for group, names in groups.items()
    }
    moved = {}
    for name, surface in reconstruction.items():
        motion = found.get("knee") or found.get(name)
        moved[name] = surface if motion is None else surface.transformed(motion.matrix)
    return moved, found


def align_points(points: list[Array], targets: list[Surface]) -> Alignment:
    """The rigid motion that brings each set of points (N, 3) closest to its surface, all sets moving together."""
    matrix = np.eye(4)
    start = moved = [np.asarray(part, dtype=np.float64) for part in points]
    before, residual = None, 0.0
    nearest = [_NearestPatch(target) for target in targets]
    for _ in range(_ITERATIONS):
        pairs = [patches.partners(part) for part, patches in zip(moved, nearest, strict=True)]
        source, goal = np.concatenate(moved), np.concatenate(pairs)
        distance = np.linalg.norm(goal - source, axis=1)
        kept = _kept(distance)
        residual = float(np.sqrt(np.mean(distance[kept] ** 2)))
        before = residual if before is None else before
        step = rigid_motion(source[kept], goal[kept])
        matrix = step @ matrix
        moved = [part @ matrix[:3, :3].T + matrix[:3, 3] for part in start]
        if np.abs(np.concatenate(moved) - source).max() < _STILL_MM:
            break
    undetermined = _undetermined(moved, nearest)
    cosine = (np.trace(matrix[:3, :3]) - 1) / 2
    center = np.concatenate(start).mean(axis=0)
    shift = matrix[:3, :3] @ center + matrix[:3, 3] - center
    return Alignment(
        matrix,
        residual,
        before or 0.0,
        float(np.degrees(np.arccos(np.clip(cosine, -1, 1)))),
        float(np.linalg.norm(shift)),
        undetermined,
    )


def _undetermined(points: list[Array], nearest: list[_NearestPatch]) -> tuple[UndeterminedMotion, ...]:
    """What the pairs that count at the end leave open."""
    distance, normals = (
        np.concatenate(parts)
        for parts in zip(*(patches.planes(part) for part, patches in zip(points, nearest, strict=True)), strict=True)
    )
    kept = _kept(np.abs(distance))
    return undetermined_motions(np.concatenate(points)[kept], normals[kept])


def _kept(distance: Array) -> NDArray[np.bool_]:
    """(N,) which pairs count, by their distances (N,)."""
    return np.asarray(distance <= max(_TRIM_MEDIANS * float(np.median(distance)), 1e-9))


class _NearestPatch:
    """The reference cut into small flat patches: a point's partner lies in the plane of the patch nearest to it."""

    def __init__(self, surface: Surface) -> None:
        from scipy.spatial import cKDTree

        triangles = sampled(surface.triangles, _PATCH_MM).triangles
        normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
        lengths = np.linalg.norm(normals, axis=1)
        self._centers = triangles[lengths > 0].mean(axis=1)
        self._normals = normals[lengths > 0] / lengths[lengths > 0, None]
        self._tree = cKDTree(self._centers)

    def partners(self, points: Array) -> Array:
        """(N, 3) partners of points (N, 3)."""
        distance, normals = self.planes(points)
        return points - distance[:, None] * normals

    def planes(self, points: Array) -> tuple[Array, Array]:
        """(N,) signed distance in mm of points (N, 3) from the planes of their patches, and (N, 3) the planes' unit normals."""
        patch = self._tree.query(points)[1]
        normals = self._normals[patch]
        return np.einsum("ij,ij->i", points - self._centers[patch], normals), normals


def rigid_motion(source: Array, goal: Array) -> Array:
    """The (4, 4) rotation and translation that brings points (N, 3) closest to their partners in least squares (Kabsch 1976)."""
    middle, goal_middle = source.mean(axis=0), goal.mean(axis=0)
    u, _, vt = np.linalg.svd((source - middle).T @ (goal - goal_middle))
    # A mirroring solution would turn a left knee into a right one.
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(vt.T @ u.T))])
    matrix = np.eye(4)
    matrix[:3, :3] = vt.T @ sign @ u.T
    matrix[:3, 3] = goal_middle - matrix[:3, :3] @ middle
    return matrix


def _bone_surface(surface: Surface, bone: str, box: Array | None, margin: float) -> Surface:
    """A surface without what only closes it where the image ends, at a side of the box or flat across the shaft; its own vertices alone."""
    faces = without_cut_faces(surface, everywhere() if box is None else box, margin).faces
    end = flat_shaft_end(surface, bone)
    if end is not None:
        height = surface.vertices[:, 2]
        beyond = height > end - margin if end > surface.centroid[2] else height < end + margin
        faces = faces[~beyond[faces].any(axis=1)]
    used, faces = np.unique(faces, return_inverse=True)
    return Surface(surface.vertices[used], faces.reshape(-1, 3))


def _sampled_vertices(surface: Surface) -> Array:
    step = max(1, len(surface.vertices) // _SAMPLES_PER_BONE)
    return surface.vertices[::step]

"""Is a surface fit for printing and CAD? Closed, manifold, outward, and free of self-intersections."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from SSRKDCore.surface import Surface

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MeshCheck:
    """What was found.

    Attributes
    ----------
    triangles, vertices: counts.
    open_edges: edges of one triangle only.
    non_manifold_edges: edges of more than two triangles, or of two that run along it in the same direction.
    non_manifold_vertices: vertices whose triangles form more than one fan.
    degenerate_triangles: triangles without area.
    self_intersections: pairs of triangles that cut through one another.
    outward: whether the enclosed volume is positive.
    """

    triangles: int
    vertices: int
    open_edges: int
    non_manifold_edges: int
    non_manifold_vertices: int
    degenerate_triangles: int
    self_intersections: int
    outward: bool

    @property
    def closed(self) -> bool:
        return self.triangles > 0 and self.open_edges == 0 and self.non_manifold_edges == 0

    @property
    def manifold(self) -> bool:
        return self.non_manifold_edges == 0 and self.non_manifold_vertices == 0

    @property
    def problems(self) -> list[str]:
        """In words, empty for a sound mesh."""
        found = [] if self.triangles else ["it has no triangles"]
        for count, one, many in (
            (self.open_edges, "an open edge", "open edges"),
            (self.non_manifold_edges, "a non-manifold edge", "non-manifold edges"),
            (self.non_manifold_vertices, "a non-manifold vertex", "non-manifold vertices"),
            (self.degenerate_triangles, "a triangle without area", "triangles without area"),
            (self.self_intersections, "a self-intersection", "self-intersections"),
        ):
            if count:
                found.append(f"it has {one if count == 1 else f'{count} {many}'}")
        if self.triangles and not self.outward:
            found.append("it is inside out")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "closed": self.closed, "manifold": self.manifold, "problems": self.problems}


def check_mesh(surface: Surface) -> MeshCheck:
    """Check a surface; nothing is changed."""
    open_edges, bad_edges = _edges(surface)
    return MeshCheck(
        triangles=len(surface.faces),
        vertices=len(surface.vertices),
        open_edges=open_edges,
        non_manifold_edges=bad_edges,
        non_manifold_vertices=_bad_vertices(surface),
        degenerate_triangles=int((surface.triangle_areas <= 0).sum()),
        self_intersections=len(self_intersections(surface)),
        outward=surface.volume > 0,
    )


def self_intersections(surface: Surface) -> NDArray[np.int64]:
    """(P, 2) pairs of triangles of which an edge of one passes through the inside of the other.

    Triangles that share an edge are not compared, and of those that share a corner only the edge opposite to it counts. Triangles
    that merely touch, or overlap in one plane, are not found.
    """
    if surface.is_empty:
        return np.zeros((0, 2), dtype=np.int64)
    triangles = surface.triangles
    order = np.argsort(triangles[:, :, 0].min(axis=1), kind="stable")
    pairs = _crossing_pairs(np.ascontiguousarray(triangles[order]), np.ascontiguousarray(surface.faces[order]))
    found = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return np.sort(order[found], axis=1)


def _edges(surface: Surface) -> tuple[int, int]:
    """(edges of one triangle, edges of more than two or of two that run the same way)."""
    if surface.is_empty:
        return 0, 0
    start, end = surface.faces.ravel(), surface.faces[:, [1, 2, 0]].ravel()
    low, high = np.minimum(start, end), np.maximum(start, end)
    _, edge, counts = np.unique(low * len(surface.vertices) + high, return_inverse=True, return_counts=True)
    direction = np.bincount(edge.ravel(), weights=np.where(start < end, 1.0, -1.0))
    return int((counts == 1).sum()), int(((counts > 2) | ((counts == 2) & (direction != 0))).sum())


def _bad_vertices(surface: Surface) -> int:
    """Vertices where surfaces touch in a point: their corners fall into more than one group joined by edges."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    if surface.is_empty:
        return 0
    faces = surface.faces
    count = len(faces)
    # One node a corner; corners of two triangles at one vertex are joined where they share an edge that starts there.
    corner = np.arange(3 * count).reshape(count, 3)
    keys, nodes = [], []
    for here, there in ((0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)):
        keys.append(faces[:, here] * len(surface.vertices) + faces[:, there])
        nodes.append(corner[:, here])
    key, node = np.concatenate(keys), np.concatenate(nodes)
    order = np.argsort(key, kind="stable")
    same = np.flatnonzero(key[order][1:] == key[order][:-1])
    joined = coo_matrix((np.ones(len(same)), (node[order][same], node[order][same + 1])), shape=(3 * count, 3 * count))
    fan = connected_components(joined, directed=False)[1]
    fans = np.unique(np.stack([faces.ravel(), fan], axis=1), axis=0)[:, 0]
    return int((np.bincount(fans) > 1).sum())


@numba.njit(cache=True)
def _pierces(p, q, a, b, c):  # type: ignore[no-untyped-def]
    """Whether the segment from p to q passes through the inside of the triangle a, b, c (Moller and Trumbore 1997)."""
    along, u, v = q - p, b - a, c - a
    h = np.array(
        (along[1] * v[2] - along[2] * v[1], along[2] * v[0] - along[0] * v[2], along[0] * v[1] - along[1] * v[0])
    )
    determinant = np.dot(u, h)
    if abs(determinant) < 1e-14:
        return False
    s = p - a
    x = np.dot(s, h) / determinant
    if x <= 1e-9 or x >= 1 - 1e-9:
        return False
    k = np.array((s[1] * u[2] - s[2] * u[1], s[2] * u[0] - s[0] * u[2], s[0] * u[1] - s[1] * u[0]))
    y = np.dot(along, k) / determinant
    if y <= 1e-9 or x + y >= 1 - 1e-9:
        return False
    t = np.dot(v, k) / determinant
    return 1e-9 < t < 1 - 1e-9


@numba.njit(cache=True)
def _edge_through(triangle, face, other, other_face):  # type: ignore[no-untyped-def]
    for corner in range(3):
        i, j = corner, (corner + 1) % 3
        touches = False
        for n in range(3):
            if face[i] == other_face[n] or face[j] == other_face[n]:
                touches = True
        if not touches and _pierces(triangle[i], triangle[j], other[0], other[1], other[2]):
            return True
    return False


@numba.njit(cache=True)
def _crossing_pairs(triangles, faces):  # type: ignore[no-untyped-def]
    """Sweep along x over triangles sorted by their lowest x, compare those whose boxes overlap."""
    count = triangles.shape[0]
    low, high = np.empty((count, 3)), np.empty((count, 3))
    for n in range(count):
        for axis in range(3):
            low[n, axis] = min(triangles[n, 0, axis], triangles[n, 1, axis], triangles[n, 2, axis])
            high[n, axis] = max(triangles[n, 0, axis], triangles[n, 1, axis], triangles[n, 2, axis])
    found = [(-1, -1)]
    for n in range(count):
        for m in range(n + 1, count):
            if low[m, 0] > high[n, 0]:
                break
            if low[m, 1] > high[n, 1] or high[m, 1] < low[n, 1] or low[m, 2] > high[n, 2] or high[m, 2] < low[n, 2]:
                continue
            shared = 0
            for i in range(3):
                for j in range(3):
                    shared += faces[n, i] == faces[m, j]
            if shared < 2 and (
                _edge_through(triangles[n], faces[n], triangles[m], faces[m])
                or _edge_through(triangles[m], faces[m], triangles[n], faces[n])
            ):
                found.append((n, m))
    return found[1:]

"""Is a surface fit for printing and CAD? Closed, manifold, outward, and free of self-intersections."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.reconstruction.triangle_contact import contact_pairs
from SSRKDCore.surface import Surface


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
    self_intersections: pairs of triangles that cut through, touch or overlap one another.
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
    open_edges, bad_edges = _faulty_edges(surface)
    return MeshCheck(
        triangles=len(surface.faces),
        vertices=len(surface.vertices),
        open_edges=len(open_edges),
        non_manifold_edges=len(bad_edges),
        non_manifold_vertices=len(_pinched_vertices(surface)),
        degenerate_triangles=int((surface.triangle_areas <= 0).sum()),
        self_intersections=len(self_intersections(surface)),
        outward=surface.volume > 0,
    )


def self_intersections(surface: Surface) -> NDArray[np.int64]:
    """(P, 2) pairs of triangles that meet elsewhere than in the edge or corner that they share.

    Found are triangles that pass through one another, touch, overlap in one plane, or lie folded onto a neighbour (see `triangle_contact`
    for how near counts as touching).
    """
    if surface.is_empty:
        return np.zeros((0, 2), dtype=np.int64)
    triangles = surface.triangles
    order = np.argsort(triangles[:, :, 0].min(axis=1), kind="stable")
    pairs = contact_pairs(np.ascontiguousarray(triangles[order]), np.ascontiguousarray(surface.faces[order]))
    found = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return np.sort(order[found], axis=1)


def unsound_vertices(surface: Surface) -> NDArray[np.int64]:
    """The vertices at open and non-manifold edges, and those whose triangles form more than one fan."""
    return np.unique(np.concatenate([*(edges.ravel() for edges in _faulty_edges(surface)), _pinched_vertices(surface)]))


def _faulty_edges(surface: Surface) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(N, 2) edges of one triangle; (N, 2) edges of more than two or of two that run the same way."""
    if surface.is_empty:
        return np.zeros((0, 2), dtype=np.int64), np.zeros((0, 2), dtype=np.int64)
    start, end = surface.faces.ravel(), surface.faces[:, [1, 2, 0]].ravel()
    low, high = np.minimum(start, end), np.maximum(start, end)
    total = len(surface.vertices)
    keys, edge, counts = np.unique(low * total + high, return_inverse=True, return_counts=True)
    direction = np.bincount(edge.ravel(), weights=np.where(start < end, 1.0, -1.0))
    ends = np.stack([keys // total, keys % total], axis=1)
    return ends[counts == 1], ends[(counts > 2) | ((counts == 2) & (direction != 0))]


def _pinched_vertices(surface: Surface) -> NDArray[np.int64]:
    """(N,) vertices where surfaces touch in a point: their corners fall into more than one group joined by edges."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    if surface.is_empty:
        return np.zeros(0, dtype=np.int64)
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
    return np.flatnonzero(np.bincount(fans) > 1)

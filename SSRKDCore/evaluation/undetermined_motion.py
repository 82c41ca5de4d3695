"""Which rigid motions an alignment does not determine: a round shaft slides along and turns about its axis at no cost.

A small motion moves a point p by v = t + w x (p - c); of it, only n . v, along the normal n of the surface that the point lies on, changes
the distance. The normal matrix of these point-to-plane residuals (Gelfand et al., 3DIM 2003: geometrically stable sampling for ICP) is
split here: for shifts, what is left after the best turn has taken up what it can, and for turns, after the best shift. The square root of
its eigenvalues against those of the mean squared motion is the residual in mm (root mean square) for each mm that the points move.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SHIFT, TURN = "shift", "turn"
#: Residual in mm for each mm of motion below which iterative closest points do not undo a known motion: shafts of fibulae slide by
#: millimetres, while whole ends of bones, which lie above, come back. Turns come back from smaller residuals on.
LEAST_RESIDUAL_PER_MM: Mapping[str, float] = MappingProxyType({SHIFT: 0.25, TURN: 0.1})
# Residual in mm for each mm that a motion which takes up another one counts with at least.
_PRICE = 0.1
_NEGLIGIBLE = 1e-9
_WAYS = ("left or right", "to the front or back", "up or down")
_AXES = ("left to right", "front to back", "foot to head")


@dataclass(frozen=True)
class UndeterminedMotion:
    """A motion that hardly changes the distances by which surfaces are aligned.

    Attributes
    ----------
    kind: "shift" along the direction, or "turn" about it (through the middle of the points).
    direction: (3,) unit vector, LPS; its largest part is positive.
    residual_per_mm: root mean square residual in mm for each mm (root mean square) that the points move: 0 free, 1 rigidly held.
    """

    kind: str
    direction: Array
    residual_per_mm: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"kind": self.kind, "direction": self.direction.tolist(), "residual_per_mm": self.residual_per_mm}

    def in_words(self, name: str) -> str:
        """What a reader of distances must know; `name` is the bone's, or "knee"."""
        main = int(np.abs(self.direction).argmax())
        x, y, z = self.direction
        where = f"({x:.2f}, {y:.2f}, {z:.2f} in LPS; mainly {(_WAYS if self.kind == SHIFT else _AXES)[main]})"
        if self.kind == SHIFT:
            motion, distances = f"a shift along {where}", "distances along it"
        else:
            motion, distances = f"a turn about {where}", "what such a turn changes"
        return (
            f"The shape of the {name} does not determine {motion}: the residual grows by only {self.residual_per_mm:.2f} mm for each "
            f"mm. The alignment may have hidden or made up such a difference; {distances} cannot be trusted."
        )


def undetermined_motions(points: Array, normals: Array) -> tuple[UndeterminedMotion, ...]:
    """Shifts and turns that points on a surface do not determine, the freest first; a surface that holds all six gives none.

    Parameters
    ----------
    points: (N, 3) mm, the pairs that the alignment used.
    normals: (N, 3) unit normals of the surface there.
    """
    motions = [
        item for item in eigenmotions(points, normals) if item.residual_per_mm < LEAST_RESIDUAL_PER_MM[item.kind]
    ]
    return tuple(sorted(motions, key=lambda item: item.residual_per_mm))


def eigenmotions(points: Array, normals: Array) -> list[UndeterminedMotion]:
    """All principal shifts and turns of points (N, 3) with unit normals (N, 3), each kind from the freest to the best held."""
    offset = points - points.mean(axis=0)
    # Mean squared motion of the points for each unit of turn about the three axes.
    inertia = (np.eye(3) * (offset**2).sum() - offset.T @ offset) / len(points)
    weights, axes = np.linalg.eigh(inertia)
    # Points on one line do not move when they turn about it: such a turn is no motion.
    moving = weights > _NEGLIGIBLE * weights.max()
    axes = axes[:, moving] / np.sqrt(weights[moving])
    shifts, turns = normals, np.cross(offset, normals) @ axes
    found = []
    for kind, own, others, basis in ((SHIFT, shifts, turns, np.eye(3)), (TURN, turns, shifts, axes)):
        values, vectors = np.linalg.eigh(_left(own, others))
        for value, vector in zip(values, vectors.T, strict=True):
            direction = basis @ vector
            direction = direction / np.linalg.norm(direction)
            direction = direction * np.sign(direction[np.abs(direction).argmax()])
            found.append(UndeterminedMotion(kind, direction, float(np.sqrt(max(value, 0.0)))))
    return found


def _left(own: Array, others: Array) -> Array:
    """Mean squared residual (as a matrix) of motions (N, K) when others (N, M), in mm for each mm, take up what they can."""
    between = own.T @ others / len(own)
    # At a price: else a turn about a far axis, which is a shift, would take up any shift across a sphere.
    square = others.T @ others / len(own) + _PRICE**2 * np.eye(others.shape[1])
    return np.asarray(own.T @ own / len(own) - between @ np.linalg.solve(square, between.T))

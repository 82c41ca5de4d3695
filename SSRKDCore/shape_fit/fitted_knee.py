"""A shape model's knee in a rig: shared shape and size, a pose for each bone, and how points move with these parameters.

The parameters, in this order: a rotation vector (rad) and a shift (mm) for each of PARTS, the logarithm of a common size,
and the standard coefficients of the model's modes. "knee" moves all bones; the tibia carries the fibula. The pose that a
shape model has learnt is that of straight knees, so its modes move no bone against another here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.population.joint_features import FRAMED
from SSRKDCore.population.joint_frames import knee_frame
from SSRKDCore.population.shape_model import KneeShapeModel
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

PARTS = ("knee", "tibia", "fibula", "patella")
# From the bone outwards: which parts move it.
_CHAIN = {
    "femur": ("knee",),
    "tibia": ("tibia", "knee"),
    "fibula": ("fibula", "tibia", "knee"),
    "patella": ("patella", "knee"),
}
_OWNER = {"femur": "femur", "tibia": "tibia", "fibula": "tibia", "patella": "patella"}
# The patella turns about the femur by this share of the knee's flexion.
_PATELLAR_SHARE = 0.7
# Standard deviations of pose about its start: rotations about x, y, z in degrees, shifts in mm. Flexion (about x) is wide
# because the starts are 15 degrees apart; an ankylosed fibula hardly moves. The size adds to that of the modes.
_ROTATION_SPREAD = {
    "knee": (15.0, 10.0, 12.0),
    "tibia": (12.0, 5.0, 8.0),
    "fibula": (3.0, 3.0, 3.0),
    "patella": (12.0, 6.0, 6.0),
}
_SHIFT_SPREAD = {"knee": (15.0,) * 3, "tibia": (3.0, 4.0, 3.0), "fibula": (2.0,) * 3, "patella": (4.0, 4.0, 6.0)}
_SIZE_SPREAD = 0.08


@dataclass(frozen=True)
class KneeState:
    """One knee: the parameters of `FittedKnee`.

    Attributes
    ----------
    rotations: part -> (3, 3). shifts: part -> (3,) mm. log_size: factor on all bones. coefficients: (q,) of the modes.
    """

    rotations: Mapping[str, Array]
    shifts: Mapping[str, Array]
    log_size: float
    coefficients: Array

    def moved(self, step: Array) -> KneeState:
        """The state after a step (P,) in the parameters; rotations are turned further by theirs."""
        rotations, shifts = {}, {}
        for index, part in enumerate(PARTS):
            turn, shift = step[6 * index : 6 * index + 3], step[6 * index + 3 : 6 * index + 6]
            rotations[part] = Rotation.from_rotvec(turn).as_matrix() @ self.rotations[part]
            shifts[part] = self.shifts[part] + shift
        last = 6 * len(PARTS)
        return KneeState(rotations, shifts, self.log_size + float(step[last]), self.coefficients + step[last + 1 :])


class FittedKnee:
    """How a shape model's bones stand and move in LPS mm; a right knee.

    model: the shape model. centre: (3,) mm where the mean knee's joint starts. modes: how many modes may vary.
    """

    def __init__(self, model: KneeShapeModel, centre: Array, modes: int) -> None:
        self.model = model
        self.centre = np.asarray(centre, dtype=np.float64)
        self.modes = min(modes, len(model.pca.modes))
        self.count = 6 * len(PARTS) + 1 + self.modes
        features, mean = model.features, model.pca.mean
        shapes = features.shapes(mean)
        self._motions = features.motions(mean, shapes)
        part = features.slices["sizes"].start
        # What one unit of a bone's size feature adds to the logarithm of its scale.
        unit = [features.motions(_unit_at(len(mean), part + i), shapes)[n].scale for i, n in enumerate(FRAMED)]
        along = {n: np.log(unit[i]) * model.pca.modes[: self.modes, part + i] for i, n in enumerate(FRAMED)}
        # The sizes of tibia and patella are told relative to the femur's.
        self._log_scales = {n: along[n] + (along["femur"] if n != "femur" else 0.0) for n in FRAMED}
        every = model.pca.modes[: self.modes]
        self._shape_modes = {
            name: every[:, features.slices[name]].reshape(self.modes, len(features.reference[name]), 3)
            for name in BONE_NAMES
        }
        frame = knee_frame(model.surfaces(mean))
        self._joint = 0.5 * (frame.medial_centre + frame.lateral_centre)
        placed = features.placed(mean)
        near = placed["fibula"][np.argsort(-placed["fibula"][:, 2])[:200]].mean(axis=0)
        self._pivots = {
            "knee": np.zeros(3),
            "tibia": self._joint,
            "fibula": near,
            "patella": placed["patella"].mean(axis=0),
        }

    def start(self, flexion_deg: float) -> KneeState:
        """The mean knee at the centre, bent: the thigh takes up half of the flexion, the patella follows the femur."""
        bend = np.radians(flexion_deg)
        turns = {"knee": -0.5 * bend, "tibia": bend, "fibula": 0.0, "patella": _PATELLAR_SHARE * bend}
        rotations = {part: Rotation.from_rotvec([turns[part], 0.0, 0.0]).as_matrix() for part in PARTS}
        shifts = {part: np.zeros(3) for part in PARTS}
        # The joint's middle is what stays at the centre of the image, and about which the patella turns.
        shifts["knee"] = self.centre + self._joint - rotations["knee"] @ self._joint
        arm = self._pivots["patella"] - self._joint
        shifts["patella"] = rotations["patella"] @ arm - arm
        return KneeState(rotations, shifts, 0.0, np.zeros(self.modes))

    def vertices(self, state: KneeState) -> dict[str, Array]:
        """bone -> (V, 3) LPS mm."""
        return {name: self._chained(name, self._sized(name, state), state)[0] for name in BONE_NAMES}

    def surfaces(self, state: KneeState) -> dict[str, Surface]:
        """bone -> closed surface, LPS mm."""
        return {name: Surface(v, self.model.templates[name].faces) for name, v in self.vertices(state).items()}

    def derivative(
        self,
        name: str,
        state: KneeState,
        first: NDArray[np.int64],
        second: NDArray[np.int64],
        share: Array,
        directions: Array,
    ) -> Array:
        """(N, P) mm per unit of each parameter that points of a bone move along their `directions` (N, 3).

        A point lies between the vertices `first` (N,) and `second` (N,), `share` (N,) of the way.
        """
        weight = np.asarray(share)[:, None]
        own = self._sized(name, state)
        points = own[first] * (1.0 - weight) + own[second] * weight
        _, steps = self._chained(name, points, state)
        result = np.zeros((len(points), self.count))
        direction = np.asarray(directions, dtype=np.float64)
        for part, arm in reversed(steps):
            start = 6 * PARTS.index(part)
            result[:, start : start + 3] = np.cross(arm, direction)
            result[:, start + 3 : start + 6] = direction
            direction = direction @ state.rotations[part]
        last = 6 * len(PARTS)
        result[:, last] = np.einsum("ij,ij->i", direction, points)
        owner, (scale, turn) = _OWNER[name], self._similarity(name, state)
        modes = self._shape_modes[name]
        mixed = modes[:, first] * (1.0 - weight) + modes[:, second] * weight
        from_joint = direction @ turn
        result[:, last + 1 :] = scale * np.einsum("qnj,nj->nq", mixed, from_joint)
        relative = points - np.exp(state.log_size) * self._motions[owner].translation
        result[:, last + 1 :] += np.einsum("ij,ij->i", direction, relative)[:, None] * self._log_scales[owner]
        return result

    def prior(self, state: KneeState, start: KneeState) -> tuple[Array, Array]:
        """Residuals (P,) in standard deviations from the start's pose and the mean shape, and one over those deviations (P,)."""
        residual, spread = [], []
        for part in PARTS:
            turn = Rotation.from_matrix(state.rotations[part] @ start.rotations[part].T).as_rotvec()
            residual += [turn, state.shifts[part] - start.shifts[part]]
            spread += [np.radians(_ROTATION_SPREAD[part]), np.array(_SHIFT_SPREAD[part])]
        residual += [np.array([state.log_size]), state.coefficients]
        spread += [np.array([_SIZE_SPREAD]), np.ones(self.modes)]
        return np.concatenate(residual) / np.concatenate(spread), 1.0 / np.concatenate(spread)

    def _similarity(self, name: str, state: KneeState) -> tuple[float, Array]:
        """Scale, with the common size, and rotation from a bone's own frame to the straight knee."""
        owner = _OWNER[name]
        motion = self._motions[owner]
        scale = motion.scale * np.exp(state.coefficients @ self._log_scales[owner] + state.log_size)
        return float(scale), motion.rotation

    def _sized(self, name: str, state: KneeState) -> Array:
        """(V, 3) mm in the straight knee, sized."""
        scale, turn = self._similarity(name, state)
        mean = self.model.features.shapes(self.model.pca.mean)[name]
        shape = mean + np.tensordot(state.coefficients, self._shape_modes[name], 1)
        flat = self.model.templates[name].with_flat_end(shape)
        return scale * flat @ turn.T + np.exp(state.log_size) * self._motions[_OWNER[name]].translation

    def _chained(self, name: str, points: Array, state: KneeState) -> tuple[Array, list[tuple[str, Array]]]:
        """Points (N, 3) of the sized straight knee in their place, and each part's turned arms (N, 3) on the way."""
        steps = []
        for part in _CHAIN[name]:
            arm = (points - self._pivots[part]) @ state.rotations[part].T
            steps.append((part, arm))
            points = arm + self._pivots[part] + state.shifts[part]
        return points, steps


def _unit_at(size: int, index: int) -> Array:
    vector = np.zeros(size)
    vector[index] = 1.0
    return vector


def only(state: KneeState, free: NDArray[np.bool_], step: Array) -> KneeState:
    """The state after a step (n,) in the free parameters alone."""
    whole = np.zeros(len(free))
    whole[free] = step
    return replace(state.moved(whole))

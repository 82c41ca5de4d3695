"""Motion of a knee: the shin about the posterior condyles, the patella in its groove, joint spaces kept.

Which way things turn, for a right knee (LPS, +x medial, +y posterior, +z superior): flexion about the axis towards medial by
the right-hand rule takes the shin backwards; internal rotation of the tibia is right-handed about its axis upwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.exact_distances import DistanceToSurface
from SSRKDCore.population.joint_frames import KneeFrame, knee_frame
from SSRKDCore.population.patella_tracking import PatellaOffset, tracked_patella
from SSRKDCore.population.penetration import smallest_gap, surface_points, thinned
from SSRKDCore.population.rigid_transforms import rotation_about, translation
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

# Internal rotation and varus of the tibia (degrees) that go with flexion (degrees): Walker et al., J Biomech 21, 1988, as tabulated
# in the full-body model of Rajagopal et al., IEEE Trans Biomed Eng 63(10), 2016. Past full extension nothing more is unwound.
_COUPLED_FLEXION = (0.0, 10.0, 20.0, 30.0, 40.0, 50.0)
_COUPLED_ROTATION = (0.0, 3.41, 6.27, 8.63, 10.54, 12.04)
_COUPLED_VARUS = (0.0, 0.73, 1.30, 1.70, 1.90, 1.92)

# Middle part of the plateau (share of its width on either side) that holds the eminence instead of a compartment.
_EMINENCE = 0.15
# Bone of the eminence must stay this far from the walls of the notch (mm); cartilage and the cruciate ligaments lie between.
_NOTCH_CLEARANCE = 0.8
_SEAT_TOLERANCE = 0.05
_SEAT_ROUNDS = 40
_NARROWEST = 0.4


class ImpossiblePose(InputError):
    """These bones cannot be brought into that pose without one lying in another."""


@dataclass(frozen=True)
class JointSpaces:
    """Smallest distances between bones in mm: medial and lateral compartment, patella to femur, tibia to fibula (upper part)."""

    medial: float
    lateral: float
    patellofemoral: float
    tibiofibular: float


@dataclass(frozen=True)
class PosedKnee:
    """A knee after motion; the femur has not moved.

    Attributes
    ----------
    bones: name -> surface, LPS mm.
    transforms: name -> 4x4 rigid motion from the given bone to `bones`.
    frame: axes and landmarks of the posed bones (those of the femur are as before).
    spaces: the joint spaces reached.
    """

    bones: dict[str, Surface]
    transforms: dict[str, Array]
    frame: KneeFrame
    spaces: JointSpaces


def posed(
    bones: Mapping[str, Surface],
    flexion_deg: float,
    varus_deg: float = 0.0,
    rotation_deg: float = 0.0,
    spaces: JointSpaces | None = None,
) -> dict[str, Surface]:
    """The bones of a right knee after motion by these angles, the femur unmoved; see `KneeMotion.posed`."""
    return KneeMotion(bones).posed(flexion_deg, varus_deg, rotation_deg, spaces).bones


class KneeMotion:
    """Motion of one right knee (LPS mm, knee frame), prepared once.

    Attributes
    ----------
    bones: the four bones as given.
    frame: their axes and landmarks.
    spaces: their joint spaces as given; negative where the bones intersect.

    Raises InputError for shapes that are no right knee (`joint_frames.knee_frame`) or lack a bone.
    """

    def __init__(self, bones: Mapping[str, Surface]) -> None:
        missing = [name for name in BONE_NAMES if name not in bones]
        if missing:
            raise InputError(f"The knee has no {' and no '.join(missing)}: motion needs all four bones.")
        self.bones = {name: bones[name] for name in BONE_NAMES}
        self.frame = knee_frame(self.bones)
        self._femur = DistanceToSurface(_near_joint(self.bones["femur"], 110.0))
        tibia = surface_points(_near_joint(self.bones["tibia"], 30.0), 2.0)
        self._plateau = thinned(tibia[tibia[:, 2] > tibia[:, 2].max() - 16.0], 2.0)
        offset = (self._plateau - self.frame.plateau_centre) @ self.frame.flexion_axis
        offset = offset / np.ptp(offset)
        self._compartments = (offset > _EMINENCE, offset < -_EMINENCE, np.abs(offset) <= _EMINENCE)
        self._patella = thinned(surface_points(self.bones["patella"], 2.0), 2.0)
        self._upper_tibia, self._upper_fibula = (_near_joint(self.bones[name], 150.0) for name in ("tibia", "fibula"))
        medial, lateral, _ = self._compartment_gaps(np.eye(4))
        self.spaces = JointSpaces(
            medial,
            lateral,
            float(self._femur.signed(self._patella).min()),
            smallest_gap(self._upper_fibula, self._upper_tibia),
        )

    def posed(
        self,
        flexion_deg: float,
        varus_deg: float = 0.0,
        rotation_deg: float = 0.0,
        spaces: JointSpaces | None = None,
        patella: PatellaOffset | None = None,
        lift_off: float = 2.0,
    ) -> PosedKnee:
        """The knee after flexion, varus and internal tibial rotation on top of its given pose, brought back into contact.

        The shin turns about the flexion axis; the internal rotation (screw-home) and varus that go with flexion (Walker et al.
        1988) are added to `rotation_deg` and `varus_deg`. Rotation turns about the tibia's own axis through the medial flexion
        facet centre, so that the lateral condyle rolls back over the plateau (Freeman and Pinskerova, "The movement of the normal
        tibio-femoral joint", J Biomech 38, 2005). Then the tibia moves along its axis until a compartment has its joint space;
        the other may stay open by `lift_off` mm, beyond which the shin turns back in varus or valgus. The fibula goes with the
        tibia. The patella: `patella_tracking`.

        Parameters
        ----------
        flexion_deg, varus_deg, rotation_deg: degrees added to the pose as given; negative: extension, valgus, external rotation.
        spaces: joint spaces to reach, mm; those as given, but never below 0.4, when None. The fibula is only ever moved away.
        patella: how the patella departs from the middle of its track.
        lift_off: how much wider than its joint space one compartment may be, mm.

        Raises ImpossiblePose where bones cannot be brought to these joint spaces.
        """
        wanted = spaces or JointSpaces(**{name: max(gap, _NARROWEST) for name, gap in asdict(self.spaces).items()})
        shin = self._seated(self._turned(flexion_deg, varus_deg, rotation_deg), wanted, lift_off)
        away, tibiofibular = self._separated_fibula(wanted.tibiofibular)
        tuberosity = shin[:3, :3] @ self.frame.tuberosity + shin[:3, 3]
        track = tracked_patella(
            self.frame,
            self._femur,
            self._patella,
            tuberosity,
            flexion_deg,
            wanted.patellofemoral,
            patella or PatellaOffset(),
        )
        if track is None:
            raise ImpossiblePose(
                f"The patella finds no place in its groove at {flexion_deg:.0f} degrees more flexion: choose less, or other bones."
            )
        transforms = {"patella": track, "femur": np.eye(4), "fibula": shin @ away, "tibia": shin}
        bones = {name: self.bones[name].transformed(transforms[name]) for name in BONE_NAMES}
        medial, lateral, _ = self._compartment_gaps(shin)
        reached = JointSpaces(
            medial,
            lateral,
            float(self._femur.signed(_moved(self._patella, track)).min()),
            tibiofibular,
        )
        return PosedKnee(bones, transforms, self._moved_frame(shin, track), reached)

    def _turned(self, flexion_deg: float, varus_deg: float, rotation_deg: float) -> Array:
        """4x4 motion of the shin before it is seated."""
        frame = self.frame
        given = frame.flexion_deg
        before_after = [given, given + flexion_deg]
        rotation_deg += float(np.diff(np.interp(before_after, _COUPLED_FLEXION, _COUPLED_ROTATION))[0])
        varus_deg += float(np.diff(np.interp(before_after, _COUPLED_FLEXION, _COUPLED_VARUS))[0])
        flexed = rotation_about(frame.flexion_axis, flexion_deg, frame.centre)
        axis = flexed[:3, :3] @ frame.tibial_axis
        rotated = rotation_about(axis, rotation_deg, frame.medial_centre)
        backward = np.cross(axis, frame.flexion_axis)
        varus = rotation_about(backward, -varus_deg, frame.centre)
        return varus @ rotated @ flexed

    def _compartment_gaps(self, shin: Array) -> tuple[float, float, float]:
        """Smallest distances in mm of the medial and lateral plateau and of the eminence from the femur."""
        distance = self._femur.signed(_moved(self._plateau, shin))
        medial, lateral, middle = (float(distance[part].min()) for part in self._compartments)
        return medial, lateral, middle

    def _seated(self, shin: Array, wanted: JointSpaces, lift_off: float) -> Array:
        """The shin's motion followed by one along the tibia's axis, and where needed in varus or valgus, to the joint spaces."""
        axis = shin[:3, :3] @ self.frame.tibial_axis
        span = float(np.linalg.norm(self.frame.medial_centre - self.frame.lateral_centre))
        for _ in range(_SEAT_ROUNDS):
            medial, lateral, eminence = self._compartment_gaps(shin)
            spare = (medial - wanted.medial, lateral - wanted.lateral)
            rise = min(*spare, eminence - _NOTCH_CLEARANCE)
            if abs(rise) > _SEAT_TOLERANCE:
                shin = translation(rise * axis) @ shin
                continue
            opening = spare[0] - spare[1]
            if min(spare) > lift_off:
                break
            if abs(opening) <= lift_off + _SEAT_TOLERANCE:
                return shin
            # An open medial side is closed by varus, about the middle of the tight compartment.
            degrees = np.rad2deg((abs(opening) - lift_off) / span) * np.sign(opening)
            pivot = self.frame.lateral_centre if opening > 0 else self.frame.medial_centre
            shin = rotation_about(np.cross(axis, self.frame.flexion_axis), -degrees, pivot) @ shin
            axis = shin[:3, :3] @ self.frame.tibial_axis
        raise ImpossiblePose(
            "The tibia finds no place under the femur in this pose: choose less motion, or other bones."
        )

    def _separated_fibula(self, gap: float, furthest: float = 8.0) -> tuple[Array, float]:
        """4x4 translation of the fibula away from the tibia to at least `gap` mm, backwards and outwards, and the gap reached."""
        fibula = self.bones["fibula"].vertices
        away = fibula[fibula[:, 2] > fibula[:, 2].max() - 40.0].mean(axis=0) - self.frame.plateau_centre
        away -= (away @ self.frame.tibial_axis) * self.frame.tibial_axis
        away /= np.linalg.norm(away)
        moved, reached = 0.0, self.spaces.tibiofibular
        while moved <= furthest:
            if reached >= gap - _SEAT_TOLERANCE:
                return translation(moved * away), reached
            moved += max(gap - reached, 0.1)
            reached = smallest_gap(self._upper_fibula.transformed(translation(moved * away)), self._upper_tibia)
        raise ImpossiblePose("The fibula lies too deep in the tibia to be moved out: use other bones.")

    def _moved_frame(self, shin: Array, patella: Array) -> KneeFrame:
        frame = self.frame
        return replace(
            frame,
            tibial_axis=shin[:3, :3] @ frame.tibial_axis,
            plateau_centre=shin[:3, :3] @ frame.plateau_centre + shin[:3, 3],
            tuberosity=shin[:3, :3] @ frame.tuberosity + shin[:3, 3],
            apex=patella[:3, :3] @ frame.apex + patella[:3, 3],
        )


def _moved(points: Array, transform: Array) -> Array:
    return points @ transform[:3, :3].T + transform[:3, 3]


def _near_joint(surface: Surface, reach: float) -> Surface:
    """The triangles that have a corner within `reach` mm of the joint line."""
    near = (np.abs(surface.vertices[:, 2]) < reach)[surface.faces].any(axis=1)
    return Surface(surface.vertices, surface.faces[near])

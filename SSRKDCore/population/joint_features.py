"""One vector for a whole knee: the shapes of four bones, their sizes and how they stand to one another.

Each bone's shape is told in a frame and size of its own (femur, tibia and patella; the fibula in the tibia's, whose joint
hardly moves), found from the part near the joint, which every source shows. Size is the femur's, and the ratios of the others
to it: where only femora were measured, a large one still comes with a large tibia. Pose is a rotation and the offset between
the articular areas of a pair, so that a sample's joint space does not inherit the differences of two shapes. Features other
than vertices are scaled to the displacement of vertices that they cause, so that all have the meaning of millimetres.

Articulated multi-object models separate shape and pose in this way (Bossa and Olmos, IEEE ISBI, 2007; Fouefack et al.,
MICCAI 2020).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.population.rigid_motion import Similarity, similarity_between

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# The bones with a frame of their own, and the two whose pose is told relative to the femur.
FRAMED = ("femur", "tibia", "patella")
MOVED = ("tibia", "patella")
_FRAME_OF = {"femur": "femur", "tibia": "tibia", "fibula": "tibia", "patella": "patella"}
_NEAR_JOINT = 70.0
_CONTACT_SHARE = 60


@dataclass(frozen=True)
class BoneSet:
    """Corresponding vertices of some bones of one knee.

    Attributes
    ----------
    vertices: bone name -> (V, 3) mm.
    seen: bone name -> (V,) which vertices the source shows.
    frames: sets of bones that share a frame.
    sized: whether their size is that of a person.
    posed: whether their position to one another is.
    """

    vertices: Mapping[str, Array]
    seen: Mapping[str, Mask]
    frames: tuple[frozenset[str], ...]
    sized: bool = True
    posed: bool = True

    def together(self, *names: str) -> bool:
        """Whether these bones share a frame."""
        return any(set(names) <= frame for frame in self.frames)


class JointFeatures:
    """Turns knees into vectors and back.

    Parameters
    ----------
    reference: bone name -> (V, 3) mm vertices of the reference knee, all in one knee frame, the patella in its place.
    """

    def __init__(self, reference: Mapping[str, Array]) -> None:
        self.reference = {name: np.asarray(reference[name], dtype=np.float64) for name in BONE_NAMES}
        self.slices: dict[str, slice] = {}
        start = 0
        for name in BONE_NAMES:
            self.slices[name] = slice(start, start + 3 * len(self.reference[name]))
            start = self.slices[name].stop
        for name, size in (("sizes", len(FRAMED)), ("tibia pose", 6), ("patella pose", 6)):
            self.slices[name] = slice(start, start + size)
            start = self.slices[name].stop
        self.length = start
        self._alignment = {name: np.abs(self.reference[name][:, 2]) < _NEAR_JOINT for name in FRAMED}
        self.contact = {name: _contact_areas(self.reference["femur"], self.reference[name]) for name in MOVED}
        moved = {"femur": ["femur"], "tibia": ["tibia", "fibula"], "patella": ["patella"]}
        # A unit of log size, or a radian, displaces vertices by their distance from what stays in place (the joint's middle, the
        # articular area); a millimetre of offset displaces all of them by one.
        self._radius, self._count = {}, {}
        for name, bones in moved.items():
            points = np.concatenate([self.reference[bone] for bone in bones])
            still = self.reference[name][self.contact[name][0]].mean(axis=0) if name in MOVED else np.zeros(3)
            self._radius[name] = float(np.sqrt(((points - still) ** 2).sum()))
            self._count[name] = float(np.sqrt(len(points)))

    def frame(self, name: str, bones: BoneSet) -> Similarity:
        """The similarity from the reference's frame to that of a bone, from the vertices near the joint that are seen."""
        used = self._alignment[name] & bones.seen[name]
        return similarity_between(self.reference[name][used], bones.vertices[name][used])

    def encode(self, bones: BoneSet) -> tuple[Array, Mask]:
        """The vector (D,) of a knee, and which of its values (D,) the knee shows; the rest are zero."""
        values, seen = np.zeros(self.length), np.zeros(self.length, dtype=bool)
        frames = {name: self.frame(name, bones) for name in FRAMED if name in bones.vertices}
        shapes = {}
        for name in bones.vertices:
            owner = _FRAME_OF[name]
            if owner not in frames or not bones.together(name, owner):
                continue
            shapes[name] = frames[owner].inverse().apply(bones.vertices[name])
            values[self.slices[name]] = shapes[name].ravel()
            seen[self.slices[name]] = np.repeat(bones.seen[name], 3)
        if "femur" in frames and bones.sized:
            for index, name in enumerate(FRAMED):
                if name in frames:
                    over = 1.0 if name == "femur" else frames["femur"].scale
                    values[self.slices["sizes"].start + index] = np.log(frames[name].scale / over) * self._radius[name]
                    seen[self.slices["sizes"].start + index] = True
        for name in MOVED:
            if bones.posed and name in frames and "femur" in frames and bones.together("femur", name):
                values[self.slices[f"{name} pose"]] = self._pose(name, frames, shapes)
                seen[self.slices[f"{name} pose"]] = True
        return np.where(seen, values, 0.0), seen

    def _pose(self, name: str, frames: Mapping[str, Similarity], shapes: Mapping[str, Array]) -> Array:
        turn = Rotation.from_matrix(frames["femur"].rotation.T @ frames[name].rotation).as_rotvec()
        own, femoral = self.contact[name]
        there = frames["femur"].inverse().apply(frames[name].apply(shapes[name][own].mean(axis=0)))
        offset = there - shapes["femur"][femoral].mean(axis=0)
        return np.concatenate([turn * self._radius[name], offset * self._count[name]])

    def shapes(self, vector: Array) -> dict[str, Array]:
        """bone name -> (V, 3) vertices of each bone in its own frame, at the reference's size."""
        return {name: vector[self.slices[name]].reshape(-1, 3) for name in BONE_NAMES}

    def placed(self, vector: Array, shapes: Mapping[str, Array] | None = None) -> dict[str, Array]:
        """bone name -> (V, 3) mm of a vector's knee, in the femur's frame, which is the knee frame; `shapes` replaces the vector's."""
        shapes = shapes or self.shapes(vector)
        motions = self.motions(vector, shapes)
        return {name: motions[_FRAME_OF[name]].apply(shapes[name]) for name in BONE_NAMES}

    def motions(self, vector: Array, shapes: Mapping[str, Array]) -> dict[str, Similarity]:
        """The similarities that bring each framed bone's shape to its place in the knee."""
        sizes = vector[self.slices["sizes"]]
        scale = {name: float(np.exp(sizes[i] / self._radius[name])) for i, name in enumerate(FRAMED)}
        for name in MOVED:
            scale[name] *= scale["femur"]
        motions = {"femur": Similarity(scale["femur"], np.eye(3), np.zeros(3))}
        for name in MOVED:
            pose = vector[self.slices[f"{name} pose"]]
            rotation = Rotation.from_rotvec(pose[:3] / self._radius[name]).as_matrix()
            own, femoral = self.contact[name]
            there = scale["femur"] * (shapes["femur"][femoral].mean(axis=0) + pose[3:] / self._count[name])
            shift = there - scale[name] * rotation @ shapes[name][own].mean(axis=0)
            motions[name] = Similarity(scale[name], rotation, shift)
        return motions


def _contact_areas(femur: Array, other: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Vertices of another bone and of the femur that lie closest to one another, as many on either side of the midline."""
    chosen = []
    for points, target in ((other, femur), (femur, other)):
        distance = cKDTree(target).query(points)[0]
        middle = np.median(other[:, 0])
        halves = [np.flatnonzero((points[:, 0] < middle) == side) for side in (True, False)]
        chosen.append(
            np.concatenate([half[np.argsort(distance[half], kind="stable")[:_CONTACT_SHARE]] for half in halves])
        )
    return chosen[0], chosen[1]

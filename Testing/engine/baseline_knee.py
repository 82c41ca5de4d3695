"""A shape model of the synthetic knee with three known modes, and its radiographs: for tests of the classical baselines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from synthetic_knee import synthetic_knee

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.evaluation.baselines.intensity_shells import shell_image
from SSRKDCore.geometry.presets import preset
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.population.joint_features import BoneSet, JointFeatures
from SSRKDCore.population.partial_pca import PartialPca
from SSRKDCore.population.shape_model import KneeShapeModel
from SSRKDCore.population.template import Template
from SSRKDCore.shape_fit.fitted_knee import FittedKnee
from SSRKDCore.surface import Surface

MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])
BONE_PER_MM = 0.03
TISSUE = 2.0


def baseline_model() -> KneeShapeModel:
    """Width, depth, and the medial condyle's bulge vary by about 2 mm; poses stay; nothing beyond the modes."""
    knee = synthetic_knee(3.5)
    mean = {name: bone.vertices for name, bone in knee.items()}
    faces = {name: bone.faces for name, bone in knee.items()}
    features = JointFeatures(mean)
    middle, _ = features.encode(_bones(mean))
    modes = np.array([features.encode(_bones(_deformed(mean, mode)))[0] - middle for mode in range(3)])
    # Only shapes: how wider bones would change pose and size is no concern here.
    modes[:, features.slices["sizes"].start :] = 0.0
    templates = {name: Template(mean[name], faces[name], np.zeros(0, dtype=np.int64)) for name in BONE_NAMES}
    basis = {name: np.zeros((len(mean[name]), 1)) for name in BONE_NAMES}
    return KneeShapeModel(templates, features, PartialPca(middle, modes, 0.1), basis, {"schema": "ssrkd-shape-model/1"})


def _bones(vertices: dict[str, NDArray[np.float64]]) -> BoneSet:
    seen = {name: np.ones(len(points), dtype=bool) for name, points in vertices.items()}
    return BoneSet(vertices, seen, (frozenset(BONE_NAMES),))


def _deformed(vertices: dict[str, NDArray[np.float64]], mode: int) -> dict[str, NDArray[np.float64]]:
    result = {}
    for name, points in vertices.items():
        moved = points.copy()
        if mode < 2:
            moved[:, mode] *= 1.05
        else:
            near = np.exp(-np.linalg.norm(points - np.array([30.0, 10.0, 10.0]), axis=1) / 20.0)
            moved[:, 0] += 3.0 * near
        result[name] = moved
    return result


def unlike_the_mean(model: KneeShapeModel, side: str) -> dict[str, Surface]:
    """A knee of the model off the middle, and of another shape than the mean; of either side."""
    knee = FittedKnee(model, np.zeros(3), 3)
    step = np.zeros(knee.count)
    step[:6] = 0.03, -0.04, 0.05, 4.0, -3.0, 2.0
    step[24:] = 0.02, 1.0, -0.8, 1.0
    bones = knee.surfaces(knee.start(8.0).moved(step))
    return bones if side == "right" else {name: bone.transformed(MIRROR) for name, bone in bones.items()}


def baseline_rig(side: str = "right") -> Rig:
    """A room with pixels of 1.2 mm."""
    return preset("room", side, (1.2, 1.2), 250, 250)


def bone_radiographs(bones: dict[str, Surface], rig: Rig) -> tuple[NDArray[np.float32], ...]:
    """Line integrals of solid bones in tissue of one thickness."""
    images = []
    for view in rig.views:
        steps = {name: np.full((len(bone.vertices), 1), BONE_PER_MM) for name, bone in bones.items()}
        shadow = sum(shell_image(bone.vertices, bone.faces, steps[name], view)[..., 0] for name, bone in bones.items())
        images.append((TISSUE + np.asarray(shadow)).astype(np.float32))
    return tuple(images)

"""Legs to make cases from: real ones, and real or modelled femora completed with the other bones of a real leg."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.errors import InputError
from SSRKDCore.json_files import read_json
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import read_bone_surfaces, read_surface

Array = NDArray[np.float64]
_MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Anatomy:
    """Four bones of one right knee in one frame.

    Attributes
    ----------
    name: what it was made from.
    subject: who it was made from; test subjects are left out by this.
    bones: bone name -> closed surface, LPS mm, knee frame (joint near the origin); left legs are mirrored to right ones.
    """

    name: str
    subject: str
    bones: dict[str, Surface]


def read_legs(data: Path, excluded_subjects: Iterable[str] = ()) -> list[Anatomy]:
    """The whole legs of the anatomy folder (manifest.json and legs/), mirrored to right legs, without the excluded subjects.

    Items marked evaluate_only are never read. Raises InputError when the manifest is missing or an excluded subject unknown.
    """
    manifest = read_json(data / "manifest.json", "the manifest of the anatomy folder")
    items = [item for item in manifest["items"] if (data / "legs" / item["id"]).is_dir()]
    excluded = set(excluded_subjects)
    unknown = excluded - {item["subject"] for item in items}
    if unknown:
        raise InputError(f"{data} has no subject {', '.join(sorted(unknown))}: correct the list of excluded subjects.")
    legs = []
    for item in items:
        if item["subject"] in excluded or item.get("suggested_use") == "evaluate_only":
            continue
        bones = read_bone_surfaces(data / "legs" / item["id"])
        if item["side"] == "L":
            bones = {name: surface.transformed(_MIRROR) for name, surface in bones.items()}
        legs.append(Anatomy(item["id"], item["subject"], bones))
    return legs


def completed_femora(data: Path, legs: list[Anatomy], seed: int) -> Iterator[Anatomy]:
    """Each femur of the anatomy folder with the tibia, fibula and patella of a leg, fitted to it by the affine map of the femora.

    Right and left femora of one subject share its name as subject. Parameters as in `read_legs`; `seed` chooses the legs.
    """
    generator = np.random.default_rng(seed)
    for path in sorted((data / "femora").glob("*.ply")):
        femur = read_surface(path)
        if path.stem.endswith("_L"):
            femur = femur.transformed(_MIRROR)
        leg = legs[int(generator.integers(len(legs)))]
        fit = affine_fit(_near_knee(leg.bones["femur"]), _near_knee(femur))
        bones = {name: surface.transformed(fit) for name, surface in leg.bones.items() if name != "femur"}
        bones["femur"] = femur
        yield Anatomy(f"{path.stem}+{leg.name}", path.stem.split("_")[0], {name: bones[name] for name in BONE_NAMES})


def completed_shape_model(data: Path, legs: list[Anatomy], count: int, seed: int) -> Iterator[Anatomy]:
    """Samples of the Clouthier shape model (femur, tibia, patella) with the fibula of a leg, and its patella's place.

    The tibiae's affine map places the fibula. The model's own patella sits wrongly; the leg's patella is used, placed by the
    femora's affine map.
    """
    model = np.load(data / "ssm_clouthier" / "clouthier100.npz")
    generator = np.random.default_rng(seed)
    for index in generator.permutation(len(model["femur"]))[:count]:
        femur = Surface(model["femur"][index], model["faces_femur"])
        tibia = Surface(model["tibia"][index], model["faces_tibia"])
        leg = legs[int(generator.integers(len(legs)))]
        femur_fit = affine_fit(_near_knee(leg.bones["femur"]), _near_knee(femur))
        tibia_fit = affine_fit(_near_knee(leg.bones["tibia"]), _near_knee(tibia))
        bones = {
            "patella": leg.bones["patella"].transformed(femur_fit),
            "femur": femur,
            "fibula": leg.bones["fibula"].transformed(tibia_fit),
            "tibia": tibia,
        }
        yield Anatomy(f"clouthier{index:03d}+{leg.name}", f"clouthier{index:03d}", bones)


def _near_knee(surface: Surface, reach: float = 70.0) -> Array:
    """Vertices within `reach` mm of the joint line, the part of a long bone that both of a pair are sure to have."""
    return surface.vertices[np.abs(surface.vertices[:, 2]) < reach]


def affine_fit(moving: Array, fixed: Array, iterations: int = 40) -> Array:
    """4x4 affine map of the points `moving` (N, 3) onto the points `fixed` (M, 3): iterative closest points, rigid first.

    Besl and McKay, IEEE PAMI 14(2), 1992, with an affine update in the second half of the iterations.
    """
    from scipy.spatial import cKDTree

    step = max(1, len(moving) // 4000)
    points = moving[::step]
    tree = cKDTree(fixed)
    transform = np.eye(4)
    transform[:3, 3] = fixed.mean(axis=0) - points.mean(axis=0)
    for iteration in range(iterations):
        moved = points @ transform[:3, :3].T + transform[:3, 3]
        distance, nearest = tree.query(moved)
        kept = distance < np.quantile(distance, 0.9)
        source, target = points[kept], fixed[nearest[kept]]
        source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
        if iteration < iterations // 2:
            u, _, vt = np.linalg.svd((source - source_mean).T @ (target - target_mean))
            turn = vt.T @ np.diag([1.0, 1.0, np.sign(np.linalg.det(vt.T @ u.T))]) @ u.T
        else:
            turn = np.linalg.lstsq(source - source_mean, target - target_mean, rcond=None)[0].T
        transform[:3, :3] = turn
        transform[:3, 3] = target_mean - turn @ source_mean
    return transform

"""A knee of smooth, asymmetric solids, and an anatomy folder made of such knees: for tests of what is learnt from bones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import write_surface

Array = NDArray[np.float64]
MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])

# Capsules: two ends (mm, right knee, LPS) and a radius; the medial side (+x) is the larger one everywhere.
CAPSULES: dict[str, list[tuple[tuple[float, float, float], tuple[float, float, float], float]]] = {
    "femur": [((0, 0, 30), (4, -4, 230), 14), ((22, 8, 18), (22, 2, 20), 19), ((-21, 8, 18), (-21, 2, 20), 16)],
    "tibia": [((0, 0, -40), (2, 0, -230), 12), ((19, 0, -22), (12, 0, -24), 17), ((-19, 2, -22), (-12, 2, -24), 15)],
    "fibula": [((-32, 18, -40), (-29, 20, -230), 6), ((-33, 18, -34), (-31, 18, -36), 10)],
    "patella": [((-9, -45, 30), (9, -45, 30), 11), ((1, -45, 26), (2, -46, 14), 6)],
}


def simple_bone(name: str, size: float = 1.0, bulge: float = 0.0, end: float | None = None) -> Surface:
    """One bone: `bulge` mm on the radius of all but the first capsule; `end` cuts a shaft flat at that height (mm)."""
    from skimage.measure import marching_cubes

    step = 2.0
    capsules = [(size * np.array(a, float), size * np.array(b, float), size * r) for a, b, r in CAPSULES[name]]
    capsules = [(a, b, r + (bulge if index else 0.0)) for index, (a, b, r) in enumerate(capsules)]
    low = np.min([np.minimum(a, b) - r for a, b, r in capsules], axis=0) - 4.0
    high = np.max([np.maximum(a, b) + r for a, b, r in capsules], axis=0) + 4.0
    axes = [np.arange(low[i], high[i], step) for i in range(3)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    blend = 4.0
    total = sum(np.exp(-_capsule(points, *capsule) / blend) for capsule in capsules)
    field = -blend * np.log(np.maximum(total, 1e-30))
    if end is not None:
        field = np.maximum(field, np.sign(end) * (points[..., 2] - end))
    vertices, faces, _, _ = marching_cubes(field, 0.0, spacing=(step, step, step))
    surface = Surface(vertices + low, faces)
    return surface if surface.volume > 0 else Surface(surface.vertices, surface.faces[:, ::-1])


def _capsule(points: Array, a: Array, b: Array, radius: float) -> Array:
    along = np.clip((points - a) @ (b - a) / ((b - a) @ (b - a)), 0.0, 1.0)
    return np.asarray(np.linalg.norm(points - a - along[..., None] * (b - a), axis=-1) - radius)


def write_simple_anatomy(folder: Path) -> None:
    """An anatomy folder: a person with two legs, one with a short scan, one with a femur alone, draws of a model, and an item for
    evaluation only, whose files do not exist, so that whoever reads it fails.
    """
    items = []

    def add(name: str, subject: str, side: str, bones: dict[str, Surface], **words: object) -> None:
        files = {}
        for bone, surface in bones.items():
            path = folder / "legs" / name / f"{bone}.ply"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_surface(path, surface.transformed(MIRROR) if side == "L" else surface)
            files[bone] = {"file": str(path.relative_to(folder))}
        items.append(
            {"id": name, "subject": subject, "side": side, "files": files, "suggested_use": "train"}
            | {"pose_is_anatomical": len(bones) == 4}
            | words
        )

    add("ann_R", "ann", "R", {name: simple_bone(name) for name in CAPSULES})
    add("ann_L", "ann", "L", {name: simple_bone(name, bulge=0.4) for name in CAPSULES})
    ends = {"femur": 90.0, "tibia": -80.0, "fibula": -80.0}
    add("bob_R", "bob", "R", {name: simple_bone(name, 1.08, 1.0, ends.get(name)) for name in CAPSULES})
    add("cat_L", "cat", "L", {"femur": simple_bone("femur", 0.93, -1.0).transformed(_moved(0.0, 0.0, -15.0))})
    items.append({"id": "held_out", "subject": "dan", "side": "R", "files": {"femur": {"file": "absent.ply"}}})
    items[-1] |= {"suggested_use": "evaluate_only", "pose_is_anatomical": True}
    items.append(
        {"id": "clouthier100", "side": "R", "files": {}, "suggested_use": "train", "pose_is_anatomical": False}
    )
    (folder / "manifest.json").write_text(json.dumps({"items": items}))
    _write_draws(folder / "ssm_clouthier" / "clouthier100.npz")


def _write_draws(path: Path) -> None:
    generator = np.random.default_rng(5)
    arrays = {}
    for name, end in (("femur", 103.0), ("tibia", -92.0), ("patella", None)):
        mean = simple_bone(name, end=end)
        widening = mean.vertices * np.array([0.02, 0.0, 0.0])
        coefficients = generator.standard_normal(6)
        arrays[name] = (mean.vertices + coefficients[:, None, None] * widening).astype(np.float32)
        arrays[f"mean_{name}"] = mean.vertices.astype(np.float32)
        arrays[f"faces_{name}"] = mean.faces.astype(np.int32)
    path.parent.mkdir(parents=True)
    np.savez(path, **arrays)


def _moved(x: float, y: float, z: float) -> Array:
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return matrix

"""Training samples made in memory: two network views of a random knee, and labelled points."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.drr.siddon import line_integrals
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.network_view import network_view
from SSRKDCore.geometry.presets import central_view
from SSRKDCore.geometry.view import View
from SSRKDCore.grid import Grid
from SSRKDCore.population.knee_sampler import (
    DistanceField,
    Knee,
    attenuation_volume,
    bone_distances,
    labels_of_distances,
    sample_knee,
    sample_tissue,
)

Array = NDArray[np.float64]

_POOL = 400_000
_NEAR_MM = 2.5
_VERY_NEAR_MM = 0.8


@dataclass(frozen=True)
class RigRanges:
    """Random rigs: sizes in mm, angles in degrees (standard deviations unless a range)."""

    field_of_view: tuple[float, float] = (130.0, 215.0)
    center: tuple[float, float, float] = (4.0, 4.0, 10.0)
    source_to_isocentre: tuple[float, float] = (550.0, 1600.0)
    magnification: tuple[float, float] = (1.05, 2.0)
    axial_error: float = 5.0
    tilt: float = 3.0
    narrow_separation: float = 0.15
    narrow_range: tuple[float, float] = (55.0, 90.0)


@dataclass(frozen=True)
class SampleSizes:
    """Pixels of a network view, and points of each kind."""

    image: int = 256
    near_points_per_bone: int = 2500
    uniform_points: int = 5000
    voxel: float = 1.2


def random_views(generator: np.random.Generator, ranges: RigRanges, image_size: int) -> tuple[list[View], FieldOfView]:
    """An AP-like and a lateral-like network view from either side, of a random room, and the cube that they see."""
    from scipy.spatial.transform import Rotation

    g = generator
    size = float(g.uniform(*ranges.field_of_view))
    x, y, z = g.normal(0.0, 1.0, 3) * np.array(ranges.center)
    cube = FieldOfView((float(x), float(y), float(z)), size)
    narrow = g.random() < ranges.narrow_separation
    separation = float(g.uniform(*ranges.narrow_range)) if narrow else 90.0
    views = []
    for name, axis, column in (("ap", (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)), ("lateral", (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))):
        sign = -1.0 if g.random() < 0.5 else 1.0
        turn = Rotation.from_euler(
            "xyz", [g.normal(0, ranges.tilt), g.normal(0, ranges.tilt), g.normal(0, ranges.axial_error)], degrees=True
        ).as_matrix()
        if name == "lateral" and separation != 90.0:
            turn = (
                turn
                @ Rotation.from_euler(
                    "z", (90.0 - separation) * (1 if g.random() < 0.5 else -1), degrees=True
                ).as_matrix()
            )
        distance = float(g.uniform(*ranges.source_to_isocentre))
        view = central_view(
            name, turn @ np.array(axis) * sign, turn @ np.array(column), turn @ np.array([0.0, 0.0, -1.0]),
            distance, distance * float(g.uniform(*ranges.magnification)), (1.0, 1.0), 8, 8, isocentre=cube.center,
        )  # fmt: skip
        views.append(network_view(view, cube, image_size))
    return views, cube


def _points(
    knee: Knee, cube: FieldOfView, sizes: SampleSizes, generator: np.random.Generator
) -> tuple[Array, NDArray[np.uint8], int]:
    """Points (N, 3) in mm and labels (N,); the first `count` lie near surfaces, half of them very near, the rest anywhere."""
    low, high = cube.bounds
    pool = generator.uniform(low, high, (_POOL, 3))
    distances = bone_distances(knee, pool)
    chosen = []
    for bone in range(4):
        gap = np.abs(distances[:, bone])
        for reach, wanted in (
            (_VERY_NEAR_MM, sizes.near_points_per_bone // 2),
            (_NEAR_MM, sizes.near_points_per_bone // 2),
        ):
            candidates = np.flatnonzero(gap < reach)
            chosen.append(candidates[generator.permutation(len(candidates))[:wanted]])
    near = np.concatenate(chosen)
    generator.shuffle(near)
    index = np.concatenate([near, generator.integers(_POOL, size=sizes.uniform_points)])
    return pool[index], labels_of_distances(distances[index]), len(near)


def simulate(
    fields: list[DistanceField],
    generator: np.random.Generator,
    rigs: int = 2,
    ranges: RigRanges | None = None,
    sizes: SampleSizes | None = None,
) -> list[dict[str, np.ndarray]]:
    """`rigs` samples of one random knee.

    Each sample holds `images` (2, S, S) float16 line integrals; `projections` (2, 3, 4) float64, mm to (row * w, column * w, w) of
    the network views; `cube` (4,) centre and size of the field of view in mm; `points` (N, 3) float32 mm; `labels` (N,) uint8;
    `near` how many of the points, the first ones, lie near a surface.
    """
    ranges, sizes = ranges or RigRanges(), sizes or SampleSizes()
    knee = sample_knee(fields, generator)
    tissue = sample_tissue(generator)
    rooms = [random_views(generator, ranges, sizes.image) for _ in range(rigs)]
    reach = max(cube.size / 2 * 1.15 + abs(cube.center[2]) for _, cube in rooms)
    half = 100.0
    counts = (int(2 * reach / sizes.voxel), int(2 * half / sizes.voxel), int(2 * half / sizes.voxel))
    grid = Grid((-half, -half, -reach), (sizes.voxel,) * 3, counts)
    volume = attenuation_volume(knee, tissue, grid, generator)
    samples: list[dict[str, np.ndarray]] = []
    for views, cube in rooms:
        points, labels, near = _points(knee, cube, sizes, generator)
        samples.append(
            {
                "images": np.stack([line_integrals(volume, grid, view) for view in views]).astype(np.float16),
                "projections": np.stack([view.projection_matrix for view in views]),
                "cube": np.array([*cube.center, cube.size]),
                "points": points.astype(np.float32),
                "labels": labels,
                "near": np.array(near),
            }
        )
    return samples


def save_samples(path: Path, samples: list[dict[str, np.ndarray]]) -> None:
    """Write samples as one uncompressed .npz, complete or not at all."""
    beside = path.with_suffix(".part.npz")
    arrays: dict[str, Any] = {
        f"{index}/{key}": value for index, sample in enumerate(samples) for key, value in sample.items()
    }
    np.savez(beside, **arrays)
    beside.rename(path)


def load_samples(path: Path) -> list[dict[str, np.ndarray]]:
    """Read samples written by `save_samples`."""
    with np.load(path, allow_pickle=False) as archive:
        count = len({name.split("/")[0] for name in archive.files})
        keys = sorted({name.split("/")[1] for name in archive.files})
        return [{key: archive[f"{index}/{key}"] for key in keys} for index in range(count)]

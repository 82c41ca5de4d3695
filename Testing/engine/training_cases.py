"""Small knees as case folders with a CT, for the tests of training: analytic bones that tell left from right, front from back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES, lateral_direction
from SSRKDCore.cases import save_case
from SSRKDCore.evaluation.label_surfaces import label_surface
from SSRKDCore.geometry.presets import preset
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.grid import Grid
from SSRKDCore.segmentation_files import write_segmentation
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import write_surface

VOXEL = 3.0
SURFACE_VOXEL = 3.0


def _grid(voxel: float) -> Grid:
    half = np.array([66.0, 66.0, 84.0])
    x, y, z = (int(n) for n in np.round(2 * half / voxel))
    first = -half + voxel / 2
    return Grid((first[0], first[1], first[2]), (voxel,) * 3, (z, y, x))


def _ball(point: NDArray[np.float64], center: tuple[float, ...], radii: tuple[float, ...]) -> NDArray[np.bool_]:
    return (((point - np.array(center)) / np.array(radii)) ** 2).sum(axis=-1) < 1


def _rod(point: NDArray[np.float64], x: float, y: float, z: tuple[float, float], radius: float) -> NDArray[np.bool_]:
    near = (point[..., 0] - x) ** 2 + (point[..., 1] - y) ** 2 < radius**2
    return near & (point[..., 2] > z[0]) & (point[..., 2] < z[1])


def knee_labels(grid: Grid, side: str, size: float = 1.0) -> NDArray[np.uint8]:
    """Labels [z, y, x] of a knee about the origin: fibula lateral and behind, patella in front."""
    z, y, x = np.meshgrid(*(axis for axis in grid.axes[::-1]), indexing="ij")
    point = np.stack([x * lateral_direction(side), y, z], axis=-1) / size  # +x is lateral
    labels = np.zeros(grid.shape, dtype=np.uint8)
    labels[_ball(point, (0, 2, 20), (36, 24, 19)) | _rod(point, -2, 4, (20, 120), 14)] = 2
    labels[_ball(point, (0, 4, -17), (33, 22, 14)) | _rod(point, -2, 2, (-120, -17), 13)] = 4
    labels[_rod(point, 33, 16, (-120, -30), 6)] = 3
    labels[_ball(point, (3, -38, 22), (17, 8, 19))] = 1
    return labels


def knee_surfaces(side: str = "right", size: float = 1.0) -> dict[str, Surface]:
    """The bones as closed surfaces, LPS mm, running past the CT's ends."""
    grid = _grid(SURFACE_VOXEL)
    tall = Grid(
        (*grid.origin[:2], grid.origin[2] - 10 * SURFACE_VOXEL), grid.spacing, (grid.shape[0] + 20, *grid.shape[1:])
    )
    labels = knee_labels(tall, side, size)
    return {name: label_surface(labels, tall, number, smooth=True) for number, name in enumerate(BONE_NAMES, start=1)}


def knee_hounsfield(grid: Grid, side: str, size: float = 1.0) -> NDArray[np.int16]:
    """CT numbers [z, y, x]: a leg of soft tissue in air, bone of 700 HU with a softer middle in it."""
    x, y, z = grid.axes
    leg = (x[None, None, :] / 58) ** 2 + (y[None, :, None] / 58) ** 2 + 0 * z[:, None, None] < 1
    labels = knee_labels(grid, side, size) > 0
    values = np.where(leg, 40.0, -1000.0)
    values[labels] = 700.0
    inner = labels & np.roll(labels, 2, 1) & np.roll(labels, -2, 1) & np.roll(labels, 2, 2) & np.roll(labels, -2, 2)
    values[inner] = 300.0
    return (values + np.random.default_rng(0).normal(0, 10, grid.shape)).astype(np.int16)


def write_volume(path: Path, values: NDArray[np.int16], grid: Grid) -> None:
    """A volume [z, y, x] as a file that SimpleITK writes."""
    image = sitk.GetImageFromArray(values)
    image.SetOrigin(grid.origin)
    image.SetSpacing(grid.spacing)
    sitk.WriteImage(image, str(path), useCompression=True)


def write_knee_case(
    folder: Path,
    id: str | None = None,
    side: str = "right",
    reference: str | None = "surfaces",
    size: float = 1.0,
    provenance: dict | None = None,
    extent: dict[str, tuple[float, float]] | None = None,
) -> Path:
    """A whole case folder; `reference` is "surfaces", "segmentation" or None. Returns the folder."""
    folder.mkdir(parents=True)
    grid = _grid(VOXEL)
    write_volume(folder / "ct.nrrd", knee_hounsfield(grid, side, size), grid)
    given: dict[str, str] | str | None = None
    if reference == "surfaces":
        given = {}
        for name, surface in knee_surfaces(side, size).items():
            given[name] = f"{name}.ply"
            write_surface(folder / given[name], surface)
    elif reference == "segmentation":
        given = "reference.seg.nrrd"
        fine = _grid(SURFACE_VOXEL)
        write_segmentation(folder / given, knee_labels(fine, side, size), fine, side)
    room = preset("room", side, pixel_spacing=(20.0, 20.0), rows=20, columns=20)
    rig = Rig(room.views, room.field_of_view.__class__((0.0, 0.0, 0.0), 120.0), room.provenance)
    for view in rig.views:
        sitk.WriteImage(sitk.GetImageFromArray(np.zeros((20, 20), np.float32)), str(folder / f"{view.name}.nrrd"))
    images = {view.name: f"{view.name}.nrrd" for view in rig.views}
    save_case(folder, id or folder.name, side, rig, images, "line_integral", given, "ct.nrrd", provenance, extent)
    return folder

"""The bones of one side of a comparison, from a folder of surfaces or a segmentation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import bone
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.label_surfaces import surfaces_of_labels
from SSRKDCore.evaluation.overlap import dice
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.grid import Grid
from SSRKDCore.json_files import read_json
from SSRKDCore.segmentation_files import read_segmentation
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import find_bone_files, read_bone_surfaces

_SEGMENTATION_SUFFIX = ".seg.nrrd"
_REPORT_FILE = "report.json"


@dataclass(frozen=True)
class BoneSet:
    """Bones in one frame.

    Attributes
    ----------
    surfaces: by bone name, LPS mm.
    labels, grid: the label volume [z, y, x] that they come from, or None.
    field_of_view: the cube that was reconstructed, where a report beside the surfaces says so.
    voxel_size: mm between the samples of that reconstruction, where the report says so.
    path: the folder or file.
    """

    surfaces: Mapping[str, Surface]
    labels: NDArray[np.uint8] | None
    grid: Grid | None
    field_of_view: FieldOfView | None
    voxel_size: float | None
    path: Path


def read_bones(path: str | Path, smooth_labels: bool = False) -> BoneSet:
    """Read a folder of STL, PLY or OBJ files named after the bones, a .seg.nrrd file, or a folder that holds one.

    Raises InputError, naming the file, when there are no bones or a file is unusable.
    """
    path = Path(path)
    segmentation = path if path.is_file() else None
    if path.is_dir() and not find_bone_files(path):
        found = sorted(path.glob(f"*{_SEGMENTATION_SUFFIX}"))
        if len(found) > 1:
            raise InputError(
                f"{path} holds several segmentations ({', '.join(item.name for item in found)}): name one of them."
            )
        segmentation = found[0] if found else None
    field_of_view, voxel_size = _reported_sampling(path if path.is_dir() else path.parent)
    if segmentation is None:
        if not path.exists():
            raise InputError(f"{path} does not exist: name a folder of bone surfaces or a {_SEGMENTATION_SUFFIX} file.")
        return BoneSet(read_bone_surfaces(path), None, None, field_of_view, voxel_size, path)
    if segmentation.suffix.lower() != ".nrrd":
        raise InputError(
            f"{segmentation} is neither a folder of bone surfaces nor a {_SEGMENTATION_SUFFIX} file: name one of these."
        )
    labels, grid, names = read_segmentation(segmentation)
    surfaces = surfaces_of_labels(labels, grid, names, smooth_labels)
    if not surfaces:
        raise InputError(f"{segmentation} has bone segments but not one voxel in them: check the segmentation.")
    return BoneSet(surfaces, labels, grid, field_of_view, voxel_size, path)


def label_dice(a: BoneSet, b: BoneSet, name: str, box: NDArray[np.float64]) -> float | None:
    """Dice of a bone counted on the label volumes themselves, inside a box (2, 3) mm; None unless both are volumes on
    the same grid.
    """
    if a.labels is None or b.labels is None or a.grid is None or a.grid != b.grid:
        return None
    inside = tuple(
        (axis >= box[0, index]) & (axis <= box[1, index]) for index, axis in reversed(list(enumerate(a.grid.axes)))
    )
    part = np.ix_(*inside)
    label = bone(name).label
    return dice(a.labels[part] == label, b.labels[part] == label)


def _reported_sampling(folder: Path) -> tuple[FieldOfView | None, float | None]:
    """Field of view and voxel size in mm that `ssrkd reconstruct` noted in report.json beside its surfaces."""
    report = folder / _REPORT_FILE
    if not report.is_file():
        return None, None
    content = read_json(report, "the report of a reconstruction")
    rig, size = content.get("rig"), content.get("voxel_size_mm")
    value = rig.get("field_of_view") if isinstance(rig, dict) else None
    voxel_size = float(size) if isinstance(size, (int, float)) and 0 < size < math.inf else None
    return None if value is None else _field_of_view_from(value, report), voxel_size


def _field_of_view_from(value: Any, source: Path) -> FieldOfView:
    """A field of view from {"center": [x, y, z], "size": mm}. Raises InputError that names `source`."""
    try:
        x, y, z = value["center"]
        return FieldOfView((float(x), float(y), float(z)), float(value["size"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{source} has a field of view without a centre [x, y, z] and a size in mm: correct or remove it."
        ) from error

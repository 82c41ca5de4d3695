"""Segments that are label maps: numbers that change when somebody paints or erases."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk
from vtk.util.numpy_support import vtk_to_numpy

# Counted once as long as nobody changes the image: the panel asks each time that it is updated. By address, time of change, and label.
_counted: dict[tuple[str, int, int], list[float]] = {}
_MOST_KEPT = 64


def voxelsOf(image: Any, label: int) -> list[float]:
    """How many voxels of a vtkOrientedImageData have a label, and where their middle is, RAS mm without transforms; [0] for none."""
    key = (image.GetAddressAsString(""), image.GetMTime(), label)
    if key not in _counted:
        if len(_counted) >= _MOST_KEPT:
            _counted.clear()
        _counted[key] = _count(image, label)
    return _counted[key]


def _count(image: Any, label: int) -> list[float]:
    scalars = image.GetPointData().GetScalars()
    if scalars is None:
        return [0.0]
    shape = image.GetDimensions()
    inside = vtk_to_numpy(scalars).reshape(shape[::-1]) == label
    count = int(inside.sum())
    if count == 0:
        return [0.0]
    first, middle = image.GetExtent()[::2], []
    for axis in range(3):
        # Arrays of VTK run [slice, row, column].
        others = tuple(2 - other for other in range(3) if other != axis)
        middle.append(first[axis] + float(inside.sum(axis=others) @ np.arange(shape[axis])) / count)
    matrix, place = vtk.vtkMatrix4x4(), [0.0] * 4
    image.GetImageToWorldMatrix(matrix)
    matrix.MultiplyPoint([*middle, 1.0], place)
    return [float(count), *place[:3]]

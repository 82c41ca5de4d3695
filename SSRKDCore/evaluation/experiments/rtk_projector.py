"""Line integrals by RTK's Joseph projector, an implementation independent of ours (S. Rit et al., J Phys Conf Ser 489, 2014)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.view import View
from SSRKDCore.grid import Grid


def load_rtk() -> Any:
    """The module itk. Raises InputError where RTK is missing."""
    try:
        import itk
    except ModuleNotFoundError:
        itk = None
    if itk is None or not hasattr(itk, "RTK"):
        raise InputError("RTK is not installed: install it with pip install itk-rtk, or leave the point RTK out.")
    return itk


def rtk_line_integrals(volume: NDArray[np.float32], grid: Grid, view: View) -> NDArray[np.float32]:
    """Line integrals float32 [row, column] of a volume [z, y, x] on `grid` (LPS mm). Raises InputError where RTK is missing."""
    itk = load_rtk()
    point, vector, image_type = itk.Point[itk.D, 3], itk.Vector[itk.D, 3], itk.Image[itk.F, 3]

    def triple(kind: Any, values: tuple[float, float, float]) -> Any:
        item = kind()
        for index, value in enumerate(values):
            item.SetElement(index, value)
        return item

    geometry = itk.RTK.ThreeDCircularProjectionGeometry.New()
    directions = (triple(vector, view.column_direction), triple(vector, view.row_direction))
    if not geometry.AddProjection(triple(point, view.source), triple(point, view.detector_origin), *directions):
        raise InputError(f"RTK cannot express view '{view.name}': use another rig.")
    empty = itk.image_from_array(np.zeros((1, view.rows, view.columns), np.float32))
    empty.SetSpacing([view.pixel_spacing[1], view.pixel_spacing[0], 1.0])
    body = itk.image_from_array(np.ascontiguousarray(volume, dtype=np.float32))
    body.SetOrigin(list(grid.origin))
    body.SetSpacing(list(grid.spacing))
    projector = itk.RTK.JosephForwardProjectionImageFilter[image_type, image_type].New()
    projector.SetInput(0, empty)
    projector.SetInput(1, body)
    projector.SetGeometry(geometry)
    projector.Update()
    return np.asarray(itk.array_from_image(projector.GetOutput())[0], dtype=np.float32)

"""Where a bone's shadow ends on a radiograph: the outline of its projection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.geometry.view import View
from SSRKDCore.pictures.render import add_panel, off_screen_window, rendered
from SSRKDCore.surface import Surface

if TYPE_CHECKING:
    from vtkmodules.vtkRenderingCore import vtkRenderWindow

Array = NDArray[np.float64]


class ShadowRenderer:
    """Draws shadows of surfaces on a rectangle of a view's image.

    Parameters
    ----------
    view: the view.
    rectangle: (2, 2) first and last [row, column] that are drawn, in image pixels (fractions allowed).
    width, height: size of the shadow in picture pixels.

    Raises RenderingUnavailable.
    """

    def __init__(self, view: View, rectangle: Array, width: int, height: int) -> None:
        self._view = view
        self._rectangle = np.asarray(rectangle, dtype=np.float64)
        self._size = np.array([height, width])
        self._window: vtkRenderWindow = off_screen_window(width, height, antialiased=False)
        self._renderer = add_panel(self._window, 0, 0, 1, 1, (0, 0, 0))
        camera = self._renderer.GetActiveCamera()
        camera.SetFocalPoint(width / 2, height / 2, 0)
        camera.SetPosition(width / 2, height / 2, 1)
        camera.SetViewUp(0, 1, 0)
        camera.SetParallelScale(height / 2)
        camera.SetClippingRange(0.1, 2)

    def shadow(self, surface: Surface) -> NDArray[np.bool_]:
        """[row, column] True where a ray through the picture pixel meets the surface. Triangles behind the source
        cast no shadow.
        """
        from vtkmodules.vtkRenderingCore import vtkActor, vtkPolyDataMapper

        pixels, depth = self._view.project(surface.vertices)
        usable = (depth > 0)[surface.faces].all(axis=1)
        # Pixel centres are whole numbers in the image; the camera has the lower left corner of the picture at (0, 0).
        share = (np.nan_to_num(pixels) - self._rectangle[0]) / (self._rectangle[1] - self._rectangle[0])
        flat = np.zeros_like(surface.vertices)
        flat[:, 0] = share[:, 1] * self._size[1]
        flat[:, 1] = (1 - share[:, 0]) * self._size[0]
        mapper = vtkPolyDataMapper()
        mapper.SetInputData(Surface(flat, surface.faces[usable]).to_vtk())
        actor = vtkActor()
        actor.SetMapper(mapper)
        actor.GetProperty().LightingOff()
        actor.GetProperty().SetColor(1, 1, 1)
        self._renderer.RemoveAllViewProps()
        self._renderer.AddActor(actor)
        return rendered(self._window)[:, :, 0] > 127

    def outline(self, surface: Surface) -> Array:
        """Line pieces (S, 2, 2) around the shadow, ends as [row, column] in image pixels."""
        return (
            mask_outline(self.shadow(surface)) / self._size * (self._rectangle[1] - self._rectangle[0])
            + self._rectangle[0]
        )


def mask_outline(mask: NDArray[np.bool_]) -> Array:
    """Line pieces (S, 2, 2) around a mask, ends as [row, column] from the mask's upper left corner in its pixels.

    The border of the mask is no outline: a shadow that runs out of the picture stays open there.
    """
    from scipy.ndimage import gaussian_filter
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges2D

    # Slight smoothing takes the pixel steps off the line.
    smooth = gaussian_filter(mask.astype(np.float32), 0.8, mode="nearest")
    rows, columns = mask.shape
    image = vtkImageData()
    image.SetDimensions(columns, rows, 1)
    image.GetPointData().SetScalars(numpy_to_vtk(smooth.ravel(), deep=True))
    contour = vtkFlyingEdges2D()
    contour.SetInputData(image)
    contour.SetValue(0, 0.5)
    contour.Update()
    lines = contour.GetOutput()
    if lines.GetNumberOfLines() == 0:
        return np.zeros((0, 2, 2))
    ends = vtk_to_numpy(lines.GetLines().GetConnectivityArray()).reshape(-1, 2)
    positions = vtk_to_numpy(lines.GetPoints().GetData()).astype(np.float64)[:, [1, 0]] + 0.5
    return positions[ends]

"""Off-screen rendering with VTK: panels side by side in one picture, on machines with or without a display."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.surface import Surface

if TYPE_CHECKING:
    from vtkmodules.vtkRenderingCore import vtkActor, vtkActor2D, vtkRenderer, vtkRenderWindow

Color = tuple[float, float, float]
Array = NDArray[np.float64]

_SAMPLES = 8
_NO_OPENGL = (
    "No picture was made: this machine has no OpenGL, not even off-screen; install Mesa (libegl1 or libosmesa6)."
)
# Names under which VTK looks for software OpenGL.
_OSMESA_LIBRARIES = ("libOSMesa.so", "libOSMesa.so.8", "libOSMesa.so.6", "osmesa.dll", "libOSMesa.dylib")


class RenderingUnavailable(RuntimeError):
    """No way to draw on this machine: neither a display nor off-screen OpenGL. Everything but pictures still works."""


def off_screen_window(width: int, height: int, antialiased: bool = True) -> vtkRenderWindow:
    """An off-screen window of `width` x `height` pixels. Raises RenderingUnavailable."""
    # These modules register the OpenGL and FreeType implementations that the window and its text need.
    import vtkmodules.vtkRenderingFreeType
    import vtkmodules.vtkRenderingOpenGL2  # noqa: F401
    from vtkmodules.vtkCommonCore import vtkLogger
    from vtkmodules.vtkRenderingCore import vtkRenderWindow

    # Without a display VTK warns about that and then takes EGL or OSMesa, which is what is wanted.
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_ERROR)
    window = vtkRenderWindow()
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_INFO)
    if window.GetClassName() == "vtkOSOpenGLRenderWindow" and not _has_osmesa():
        # VTK would end the process at the first drawing.
        raise RenderingUnavailable(_NO_OPENGL)
    window.SetOffScreenRendering(1)
    window.SetShowWindow(False)
    window.SetMultiSamples(_SAMPLES if antialiased else 0)
    window.SetSize(width, height)
    if not window.SupportsOpenGL():
        raise RenderingUnavailable(_NO_OPENGL)
    return window


def _has_osmesa() -> bool:
    for name in _OSMESA_LIBRARIES:
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False


def add_panel(
    window: vtkRenderWindow, left: float, bottom: float, right: float, top: float, background: Color
) -> vtkRenderer:
    """A renderer on the part of the window given in fractions of its width and height, with a parallel camera."""
    from vtkmodules.vtkRenderingCore import vtkRenderer

    renderer = vtkRenderer()
    renderer.SetViewport(left, bottom, right, top)
    renderer.SetBackground(*background)
    renderer.GetActiveCamera().ParallelProjectionOn()
    window.AddRenderer(renderer)
    return renderer


def panel_size(renderer: vtkRenderer) -> tuple[int, int]:
    """Width and height of a panel in pixels."""
    width, height = renderer.GetRenderWindow().GetSize()
    left, bottom, right, top = renderer.GetViewport()
    return round((right - left) * width), round((top - bottom) * height)


def look(renderer: vtkRenderer, towards: Array, up: Array, bounds: Array, fill: float = 0.9) -> None:
    """Aim the panel's parallel camera so that a box fills a share of it.

    Parameters
    ----------
    renderer: the panel.
    towards: (3,) unit direction in which one looks.
    up: (3,) unit direction that points up in the picture.
    bounds: (2, 3) lowest and highest corner of the box.
    fill: share of the panel's height or width, whichever is tighter.
    """
    towards, up = np.asarray(towards, dtype=np.float64), np.asarray(up, dtype=np.float64)
    center = bounds.mean(axis=0)
    corners = (
        np.array([[bounds[i, 0], bounds[j, 1], bounds[k, 2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) - center
    )
    width, height = panel_size(renderer)
    half_height = np.abs(corners @ up).max()
    half_width = np.abs(corners @ np.cross(towards, up)).max()
    away = float(np.linalg.norm(corners, axis=1).max()) + 1.0
    camera = renderer.GetActiveCamera()
    camera.SetFocalPoint(*center)
    camera.SetPosition(*(center - 2 * away * towards))
    camera.SetViewUp(*up)
    camera.SetClippingRange(0.5 * away, 4 * away)
    camera.SetParallelScale(max(half_height, half_width * height / width) / fill)


def pixels_per_mm(renderer: vtkRenderer) -> float:
    """Picture pixels to one unit of the panel's world, for its parallel camera."""
    return float(panel_size(renderer)[1] / (2 * renderer.GetActiveCamera().GetParallelScale()))


def surface_actor(surface: Surface, color: Color) -> vtkActor:
    """A smoothly shaded surface in one colour."""
    from vtkmodules.vtkFiltersCore import vtkPolyDataNormals
    from vtkmodules.vtkRenderingCore import vtkActor, vtkPolyDataMapper

    normals = vtkPolyDataNormals()
    normals.SetInputData(surface.to_vtk())
    normals.SplittingOff()
    normals.ConsistencyOff()
    mapper = vtkPolyDataMapper()
    mapper.SetInputConnection(normals.GetOutputPort())
    mapper.ScalarVisibilityOff()
    actor = vtkActor()
    actor.SetMapper(mapper)
    shading = actor.GetProperty()
    shading.SetColor(*color)
    shading.SetAmbient(0.15)
    shading.SetDiffuse(0.8)
    shading.SetSpecular(0.15)
    shading.SetSpecularPower(20)
    return actor


def text_actor(
    text: str,
    x: float,
    y: float,
    size: int,
    color: Color,
    horizontal: str = "left",
    vertical: str = "bottom",
    bold: bool = False,
) -> vtkActor2D:
    """Text at a place in a panel given in fractions of its width and height."""
    from vtkmodules.vtkRenderingCore import vtkTextActor

    actor = vtkTextActor()
    actor.SetInput(text)
    actor.GetPositionCoordinate().SetCoordinateSystemToNormalizedViewport()
    actor.SetPosition(x, y)
    style = actor.GetTextProperty()
    style.SetFontFamilyToArial()
    style.SetFontSize(size)
    style.SetColor(*color)
    style.SetBold(bold)
    {
        "left": style.SetJustificationToLeft,
        "center": style.SetJustificationToCentered,
        "right": style.SetJustificationToRight,
    }[horizontal]()
    {"bottom": style.SetVerticalJustificationToBottom, "top": style.SetVerticalJustificationToTop}[vertical]()
    return actor


def add_scale_bar(renderer: vtkRenderer, length: float, text: str, color: Color) -> None:
    """Draw a bar of `length` world units at the bottom left of a panel, with its words above. Call `look` first."""
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
    from vtkmodules.vtkRenderingCore import vtkActor2D, vtkPolyDataMapper2D

    width, height = panel_size(renderer)
    left, bottom = 0.05 * width, 0.04 * height
    points = vtkPoints()
    points.InsertNextPoint(left, bottom, 0)
    points.InsertNextPoint(left + length * pixels_per_mm(renderer), bottom, 0)
    lines = vtkCellArray()
    lines.InsertNextCell(2, [0, 1])
    bar = vtkPolyData()
    bar.SetPoints(points)
    bar.SetLines(lines)
    mapper = vtkPolyDataMapper2D()
    mapper.SetInputData(bar)
    actor = vtkActor2D()
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(*color)
    actor.GetProperty().SetLineWidth(4)
    renderer.AddViewProp(actor)
    renderer.AddViewProp(text_actor(text, 0.05, 0.055, 14, color))


def rendered(window: vtkRenderWindow) -> NDArray[np.uint8]:
    """Draw the window: [row, column, 3] uint8, first row at the top."""
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkRenderingCore import vtkWindowToImageFilter

    window.Render()
    grab = vtkWindowToImageFilter()
    grab.SetInput(window)
    grab.ReadFrontBufferOff()
    grab.ShouldRerenderOff()
    grab.Update()
    columns, rows, _ = grab.GetOutput().GetDimensions()
    return vtk_to_numpy(grab.GetOutput().GetPointData().GetScalars()).reshape(rows, columns, 3)[::-1].copy()


def write_png(path: str | Path, picture: NDArray[np.uint8]) -> None:
    """Write a picture [row, column, 3] uint8 as PNG. Raises OSError when it cannot be written."""
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkIOImage import vtkPNGWriter

    rows, columns, _ = picture.shape
    image = vtkImageData()
    image.SetDimensions(columns, rows, 1)
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(picture[::-1]).reshape(-1, 3), deep=True))
    writer = vtkPNGWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(image)
    writer.Write()
    if not Path(path).is_file():
        raise OSError(f"{path} could not be written")

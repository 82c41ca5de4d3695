"""Pictures of a seated guide: the bone under it by its gap, and the planned and seated cuts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.pictures.render import (
    Color,
    add_panel,
    add_scale_bar,
    look,
    off_screen_window,
    rendered,
    surface_actor,
    text_actor,
)
from SSRKDCore.planning.guide_errors import moved_plane
from SSRKDCore.planning.guide_simulation import GuideSimulation
from SSRKDCore.planning.plane import Plane
from SSRKDCore.surface import Surface

if TYPE_CHECKING:
    from vtkmodules.vtkCommonCore import vtkLookupTable
    from vtkmodules.vtkRenderingAnnotation import vtkScalarBarActor
    from vtkmodules.vtkRenderingCore import vtkActor, vtkRenderWindow

Array = NDArray[np.float64]

_WIDTH, _HEIGHT, _BAR_WIDTH, _HALF_VIEW_MM = 900, 620, 110, 55.0
_ROD_RADIUS_MM = 0.35
_WHITE: Color = (1.0, 1.0, 1.0)
_INK: Color = (0.1, 0.1, 0.1)
_BONE: Color = (0.87, 0.82, 0.72)
_GUIDE: Color = (0.45, 0.6, 0.75)
_PLANNED: Color = (0.1, 0.55, 0.25)
_SEATED: Color = (0.8, 0.25, 0.1)
LARGEST_GAP_MM = 2.0


def gap_picture(simulation: GuideSimulation, bone: Surface) -> NDArray[np.uint8]:
    """The seated contact patch on the bone, coloured by its gap (0 to 2 mm), seen along the push. Raises RenderingUnavailable."""
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonCore import vtkLookupTable

    # Before any actor: it brings in the OpenGL that their mappers are made with.
    window = off_screen_window(_WIDTH, _HEIGHT)
    table = vtkLookupTable()
    table.SetNumberOfTableValues(64)
    table.SetHueRange(0.62, 0.0)
    table.SetTableRange(0.0, LARGEST_GAP_MM)
    table.Build()
    actor = surface_actor(simulation.guide.contact.transformed(simulation.motion), _WHITE)
    mapper: Any = actor.GetMapper()
    mapper.Update()
    data = mapper.GetInput()
    data.GetPointData().SetScalars(numpy_to_vtk(simulation.gaps_mm, deep=True))
    mapper.SetInputDataObject(data)
    mapper.SetLookupTable(table)
    mapper.SetScalarRange(0.0, LARGEST_GAP_MM)
    mapper.SetScalarModeToUsePointData()
    mapper.ScalarVisibilityOn()
    push = simulation.motion[:3, :3] @ simulation.guide.seating_direction
    actors = [surface_actor(bone, _BONE), actor]
    return _picture(window, actors, push, simulation, "Gap between guide and bone", _bar(table))


def _bar(table: vtkLookupTable) -> vtkScalarBarActor:
    from vtkmodules.vtkRenderingAnnotation import vtkScalarBarActor

    bar = vtkScalarBarActor()
    bar.SetLookupTable(table)
    bar.SetTitle("")
    bar.SetNumberOfLabels(5)
    bar.SetLabelFormat("%.1f")
    bar.UnconstrainedFontSizeOn()
    style = bar.GetLabelTextProperty()
    style.SetColor(*_INK)
    style.SetFontSize(16)
    style.ShadowOff()
    style.ItalicOff()
    style.BoldOff()
    bar.SetPosition(0.15, 0.1)
    bar.SetPosition2(0.6, 0.75)
    return bar


def cut_picture(simulation: GuideSimulation, bone: Surface) -> NDArray[np.uint8]:
    """Guide, bone, planned (green) and seated (red) cut, seen along the planned plane. Raises RenderingUnavailable."""
    window = off_screen_window(_WIDTH, _HEIGHT)
    planned = simulation.guide.cut_plane
    seated = moved_plane(planned, simulation.motion)
    body = simulation.guide.surface
    guide = simulation.guide.contact if body.is_empty else body
    shown = surface_actor(bone, _BONE)
    shown.GetProperty().SetOpacity(0.5)
    actors = [shown, surface_actor(guide.transformed(simulation.motion), _GUIDE)]
    actors += [_plane_actor(plane, simulation, color) for plane, color in ((planned, _PLANNED), (seated, _SEATED))]
    push = simulation.motion[:3, :3] @ simulation.guide.seating_direction
    across = np.cross(planned.normal, push)
    length = float(np.linalg.norm(across))
    along = across / length if length > 1e-6 else np.array([0.0, 1.0, 0.0])
    return _picture(window, actors, along, simulation, "Cut: planned green, seated red")


def _plane_actor(plane: Plane, simulation: GuideSimulation, color: Color) -> vtkActor:
    """The border of a square in the plane as a rod: seen along the plane, nothing else of it shows."""
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkFiltersCore import vtkTubeFilter
    from vtkmodules.vtkFiltersSources import vtkLineSource
    from vtkmodules.vtkRenderingCore import vtkActor, vtkPolyDataMapper

    centre = simulation.guide.contact.centroid
    middle = centre - plane.distances(centre[None])[0] * plane.normal
    first, second = np.linalg.svd(plane.normal[None])[2][1:] * _HALF_VIEW_MM
    corners = vtkPoints()
    for corner in (first + second, second - first, -first - second, first - second, first + second):
        corners.InsertNextPoint(*(middle + corner))
    line = vtkLineSource()
    line.SetPoints(corners)
    rod = vtkTubeFilter()
    rod.SetInputConnection(line.GetOutputPort())
    rod.SetRadius(_ROD_RADIUS_MM)
    rod.SetNumberOfSides(12)
    mapper = vtkPolyDataMapper()
    mapper.SetInputConnection(rod.GetOutputPort())
    actor = vtkActor()
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(*color)
    return actor


def _picture(
    window: vtkRenderWindow,
    actors: list[vtkActor],
    towards: Array,
    simulation: GuideSimulation,
    title: str,
    bar: vtkScalarBarActor | None = None,
) -> NDArray[np.uint8]:
    share = 1.0 if bar is None else 1.0 - _BAR_WIDTH / _WIDTH
    panel = add_panel(window, 0.0, 0.0, share, 1.0, _WHITE)
    for actor in actors:
        panel.AddActor(actor)
    # Up is the head's end, as far as the view allows.
    up = np.array([0.0, 0.0, 1.0]) - towards[2] * towards
    up = up / np.linalg.norm(up) if np.linalg.norm(up) > 1e-3 else np.array([0.0, -1.0, 0.0])
    centre = simulation.guide.contact.transformed(simulation.motion).centroid
    look(panel, towards, up, np.stack([centre - _HALF_VIEW_MM, centre + _HALF_VIEW_MM]), fill=1.6)
    panel.ResetCameraClippingRange()
    add_scale_bar(panel, 10.0, "10 mm", _INK)
    panel.AddViewProp(text_actor(title, 0.5, 0.97, 20, _INK, "center", "top", bold=True))
    if bar is not None:
        beside = add_panel(window, share, 0.0, 1.0, 1.0, _WHITE)
        beside.AddViewProp(bar)
        beside.AddViewProp(text_actor("gap, mm", 0.5, 0.92, 16, _INK, "center", "top"))
    return rendered(window)

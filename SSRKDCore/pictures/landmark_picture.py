"""A picture of a leg with its landmarks and axes, from the front and from the side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import bone
from SSRKDCore.pictures.render import (
    add_panel,
    look,
    off_screen_window,
    panel_size,
    rendered,
    surface_actor,
    text_actor,
    write_png,
)
from SSRKDCore.surface import Surface

if TYPE_CHECKING:
    from vtkmodules.vtkRenderingCore import vtkActor, vtkActor2D, vtkRenderer

Array = NDArray[np.float64]
Color = tuple[float, float, float]

_PANEL = (640, 900)
_BACKGROUND, _INK, _COMPUTED, _GIVEN = (1.0, 1.0, 1.0), (0.1, 0.1, 0.1), (0.80, 0.10, 0.10), (0.05, 0.30, 0.80)
_LEADER = (0.6, 0.6, 0.6)
_LABEL_COLUMN, _LABEL_LINE = 0.24, 0.02


def write_landmark_picture(
    path: Path,
    bones: Mapping[str, Surface],
    landmarks: Mapping[str, Array],
    given: Sequence[str],
    lines: Mapping[str, tuple[Array, Array]],
    views: Mapping[str, tuple[Array, Array, Array, Sequence[str]]],
) -> None:
    """Write one panel a view, side by side.

    Parameters
    ----------
    bones: surfaces by name, drawn translucent.
    landmarks: name -> (3,) LPS mm; those in `given` are drawn in blue, the others in red.
    lines: words -> both ends (3,) of an axis.
    views: words -> (direction in which one looks (3,), up (3,), box (2, 3) that is shown, names of the landmarks that are labelled).

    Raises RenderingUnavailable.
    """
    width, height = _PANEL
    window = off_screen_window(width * len(views), height)
    for index, (words, (towards, up, box, labelled)) in enumerate(views.items()):
        panel = add_panel(window, index / len(views), 0, (index + 1) / len(views), 1, _BACKGROUND)
        for name, surface in bones.items():
            actor = surface_actor(surface, bone(name).color)
            actor.GetProperty().SetOpacity(0.45)
            panel.AddActor(actor)
        look(panel, towards, up, box, 0.95)
        # The camera stands outside the box that it shows, and must see what lies in front of it and behind.
        everything = np.concatenate(
            [surface.vertices for surface in bones.values()] + [np.array(list(landmarks.values()))]
        )
        _see_through(panel, everything)
        size = 0.006 * float(np.linalg.norm(box[1] - box[0]))
        for ends in lines.values():
            panel.AddActor(_rod(*ends, 0.35 * size))
        for name, position in landmarks.items():
            panel.AddActor(_ball(position, size, _GIVEN if name in given else _COMPUTED))
        _label(panel, landmarks, [name for name in labelled if name in landmarks])
        panel.AddViewProp(text_actor(words, 0.03, 0.97, 16, _INK, vertical="top", bold=True))
    write_png(path, rendered(window))


def _see_through(panel: vtkRenderer, points: Array) -> None:
    camera = panel.GetActiveCamera()
    focus, position = np.array(camera.GetFocalPoint()), np.array(camera.GetPosition())
    towards = (focus - position) / np.linalg.norm(focus - position)
    reach = float(np.abs((points - focus) @ towards).max()) + 50.0
    camera.SetPosition(*(focus - 2.0 * reach * towards))
    camera.SetClippingRange(0.5 * reach, 3.5 * reach)


def _ball(centre: Array, radius: float, color: Color) -> vtkActor:
    from vtkmodules.vtkFiltersSources import vtkSphereSource

    ball = vtkSphereSource()
    ball.SetCenter(*centre)
    ball.SetRadius(radius)
    ball.SetThetaResolution(16)
    ball.SetPhiResolution(12)
    return _plain_actor(ball, color)


def _rod(start: Array, end: Array, radius: float) -> vtkActor:
    from vtkmodules.vtkFiltersCore import vtkTubeFilter
    from vtkmodules.vtkFiltersSources import vtkLineSource

    line = vtkLineSource()
    line.SetPoint1(*start)
    line.SetPoint2(*end)
    tube = vtkTubeFilter()
    tube.SetInputConnection(line.GetOutputPort())
    tube.SetRadius(radius)
    tube.SetNumberOfSides(10)
    return _plain_actor(tube, _INK)


def _plain_actor(source: object, color: Color) -> vtkActor:
    from vtkmodules.vtkRenderingCore import vtkActor, vtkPolyDataMapper

    mapper = vtkPolyDataMapper()
    mapper.SetInputConnection(source.GetOutputPort())  # type: ignore[attr-defined]
    actor = vtkActor()
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(*color)
    actor.GetProperty().LightingOff()
    return actor


def _label(panel: vtkRenderer, landmarks: Mapping[str, Array], names: Sequence[str]) -> None:
    """Write the names in columns at both sides of the panel, each with a line to its landmark."""
    places: dict[str, tuple[float, float]] = {}
    for name in names:
        panel.SetWorldPoint([*(float(value) for value in landmarks[name]), 1.0])
        panel.WorldToView()
        x, y, _ = panel.GetViewPoint()
        places[name] = (0.5 * (x + 1.0), 0.5 * (y + 1.0))
    middle = float(np.median([across for across, _ in places.values()])) if places else 0.5
    for at_left in (True, False):
        column = sorted(
            (name for name, (across, _) in places.items() if (across < middle) == at_left),
            key=lambda name: -places[name][1],
        )
        edge = _LABEL_COLUMN if at_left else 1.0 - _LABEL_COLUMN
        line = 1.0
        for name in column:
            # Downwards, and never nearer to the label above than a line of text.
            line = min(line - _LABEL_LINE, places[name][1] + 0.5 * _LABEL_LINE * len(column) - 0.05)
            words = name.replace("_", " ")
            panel.AddViewProp(text_actor(words, edge, line, 11, _INK, "right" if at_left else "left", "bottom"))
            gap = 0.005 if at_left else -0.005
            panel.AddViewProp(_leader(panel, (edge + gap, line + 0.3 * _LABEL_LINE), places[name]))


def _leader(panel: vtkRenderer, start: tuple[float, float], end: tuple[float, float]) -> vtkActor2D:
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
    from vtkmodules.vtkRenderingCore import vtkActor2D, vtkPolyDataMapper2D

    width, height = panel_size(panel)
    points = vtkPoints()
    for across, up in (start, end):
        points.InsertNextPoint(across * width, up * height, 0)
    lines = vtkCellArray()
    lines.InsertNextCell(2, [0, 1])
    drawn = vtkPolyData()
    drawn.SetPoints(points)
    drawn.SetLines(lines)
    mapper = vtkPolyDataMapper2D()
    mapper.SetInputData(drawn)
    actor = vtkActor2D()
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(*_LEADER)
    return actor

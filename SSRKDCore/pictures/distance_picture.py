"""A bone coloured by its distance to the reference, from four sides, with a colour bar in millimetres."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

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
    write_png,
)
from SSRKDCore.surface import Surface

if TYPE_CHECKING:
    from vtkmodules.vtkCommonCore import vtkLookupTable
    from vtkmodules.vtkRenderingCore import vtkActor, vtkActor2D

Array = NDArray[np.float64]

_PANEL_WIDTH, _PANEL_HEIGHT, _BAR_WIDTH, _TITLE_HEIGHT = 340, 560, 170, 84
_WHITE: Color = (1.0, 1.0, 1.0)
_INK: Color = (0.1, 0.1, 0.1)
_GREY: Color = (0.62, 0.62, 0.62)
# Blue (inside the reference), near white (on it), red (outside): the ends and middle of Moreland's diverging map,
# readable by the colour-blind.
_COLORS = np.array([[0.230, 0.299, 0.754], [0.865, 0.865, 0.865], [0.706, 0.016, 0.150]])
_SIGNED_LEGEND = "mm; red: outside\nthe reference,\nblue: inside,\ngrey: not scored"
_NICE_RANGES_MM = (0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0)
_DIRECTIONS: tuple[tuple[str, tuple[float, float, float]], ...] = (
    ("front", (0.0, 1.0, 0.0)),
    ("back", (0.0, -1.0, 0.0)),
    ("from the patient's right", (1.0, 0.0, 0.0)),
    ("from the patient's left", (-1.0, 0.0, 0.0)),
)


def color_range(distances: Array) -> float:
    """A round number of mm for both ends of the colour bar, so that 98 % of the distances (NaN ignored) fit in."""
    known = np.abs(distances[np.isfinite(distances)])
    wanted = float(np.percentile(known, 98)) if known.size else 0.0
    return next((nice for nice in _NICE_RANGES_MM if nice >= wanted), float(np.ceil(wanted)))


def write_distance_picture(
    path: str | Path,
    surface: Surface,
    distances: Array,
    title: str,
    subtitle: str = "",
    limit: float | None = None,
    legend: str = _SIGNED_LEGEND,
) -> None:
    """Write the coloured bone as PNG.

    Parameters
    ----------
    path: the file.
    surface: the bone, LPS mm.
    distances: (V,) signed distance in mm of each vertex, positive outside the reference; NaN is drawn grey (not
        scored).
    title: names the bone and the measure.
    subtitle: figures, in words.
    limit: mm at both ends of the colour bar; None chooses a round number.
    legend: what the colours mean, below the bar.

    Raises RenderingUnavailable when the machine cannot draw, ValueError when there is nothing to draw or the distances
    do not fit the vertices.
    """
    distances = np.asarray(distances, dtype=np.float64)
    if surface.is_empty or distances.shape != (len(surface.vertices),):
        raise ValueError(
            f"one distance for each of {len(surface.vertices)} vertices of a surface is needed, not {distances.shape}"
        )
    reach = color_range(distances) if limit is None else float(limit)
    width = len(_DIRECTIONS) * _PANEL_WIDTH + _BAR_WIDTH
    height = _PANEL_HEIGHT + _TITLE_HEIGHT
    window = off_screen_window(width, height)
    actor, table = colored_actor(surface, distances, reach)
    ceiling = _PANEL_HEIGHT / height
    # One scale for all panels: every view gets the same box, as wide as the bone is from any side.
    bounds = surface.bounds
    half = (bounds[1, :2] - bounds[0, :2]).max() / 2
    middle = bounds.mean(axis=0)
    box = np.array(
        [[middle[0] - half, middle[1] - half, bounds[0, 2]], [middle[0] + half, middle[1] + half, bounds[1, 2]]]
    )
    for index, (words, towards) in enumerate(_DIRECTIONS):
        panel = add_panel(
            window, index * _PANEL_WIDTH / width, 0.0, (index + 1) * _PANEL_WIDTH / width, ceiling, _WHITE
        )
        panel.AddActor(actor)
        look(panel, np.array(towards), np.array([0.0, 0.0, 1.0]), box, fill=0.8)
        panel.AddViewProp(text_actor(words, 0.5, 0.985, 16, _INK, "center", "top"))
        if index == 0:
            length = _scale_bar_length(float(bounds[1, 2] - bounds[0, 2]))
            add_scale_bar(panel, length, f"{length:.0f} mm", _INK)
    bar = add_panel(window, 1.0 - _BAR_WIDTH / width, 0.0, 1.0, ceiling, _WHITE)
    bar.AddViewProp(_color_bar(table))
    bar.AddViewProp(text_actor(legend, 0.05, 0.02, 14, _INK))
    heading = add_panel(window, 0.0, ceiling, 1.0, 1.0, _WHITE)
    heading.AddViewProp(text_actor(title, 0.5, 0.9, 24, _INK, "center", "top", bold=True))
    heading.AddViewProp(text_actor(subtitle, 0.5, 0.4, 18, _INK, "center", "top"))
    write_png(path, rendered(window))


def colored_actor(surface: Surface, distances: Array, reach: float) -> tuple[vtkActor, vtkLookupTable]:
    """The surface with the colour of each vertex's signed distance (V,) in mm, and the colours from -reach to reach."""
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonCore import vtkLookupTable

    table = vtkLookupTable()
    table.SetNumberOfTableValues(256)
    table.SetTableRange(-reach, reach)
    for index, place in enumerate(np.linspace(0.0, 1.0, 256)):
        red, green, blue = (float(np.interp(place, [0.0, 0.5, 1.0], _COLORS[:, channel])) for channel in range(3))
        table.SetTableValue(index, red, green, blue, 1.0)
    table.SetNanColor(*_GREY, 1.0)
    actor = surface_actor(surface, _WHITE)
    # Less shadow than on plain bones: here the colour is the message.
    actor.GetProperty().SetAmbient(0.4)
    actor.GetProperty().SetDiffuse(0.6)
    actor.GetProperty().SetSpecular(0.0)
    mapper = actor.GetMapper()
    mapper.Update()
    data = mapper.GetInput()
    data.GetPointData().SetScalars(numpy_to_vtk(distances, deep=True))
    mapper.SetInputDataObject(data)
    mapper.SetLookupTable(table)
    mapper.SetScalarRange(-reach, reach)
    mapper.SetScalarModeToUsePointData()
    mapper.InterpolateScalarsBeforeMappingOn()
    mapper.ScalarVisibilityOn()
    return actor, table


def _color_bar(table: vtkLookupTable) -> vtkActor2D:
    from vtkmodules.vtkRenderingAnnotation import vtkScalarBarActor

    bar = vtkScalarBarActor()
    bar.SetLookupTable(table)
    bar.SetNumberOfLabels(5)
    bar.SetTitle("")
    bar.SetLabelFormat("%+.1f")
    bar.UnconstrainedFontSizeOn()
    style = bar.GetLabelTextProperty()
    style.SetColor(*_INK)
    style.SetFontSize(16)
    style.SetItalic(False)
    style.SetBold(False)
    style.SetShadow(False)
    bar.GetPositionCoordinate().SetCoordinateSystemToNormalizedViewport()
    bar.SetPosition(0.1, 0.22)
    bar.SetPosition2(0.6, 0.74)
    return bar


def _scale_bar_length(height: float) -> float:
    """A round number of mm, about a quarter of the bone's height."""
    return next((nice for nice in (100.0, 50.0, 20.0, 10.0, 5.0) if nice <= height / 3), 1.0)

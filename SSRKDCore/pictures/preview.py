"""One picture of a result: the radiographs with the bones' outlines, and the bones in 3D from the front and from the
side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONES, bone, lateral_direction
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.view import View
from SSRKDCore.pictures.outline import ShadowRenderer
from SSRKDCore.pictures.render import (
    Color,
    add_panel,
    add_scale_bar,
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
    from vtkmodules.vtkRenderingCore import vtkActor, vtkImageActor, vtkRenderer

Array = NDArray[np.float64]

_PANEL_WIDTH, _PANEL_HEIGHT = 440, 600
_LEGEND_HEIGHT = 40
_BACKGROUND: Color = (0.10, 0.11, 0.13)
_BLACK: Color = (0.0, 0.0, 0.0)
_TEXT: Color = (0.92, 0.92, 0.92)
_SCALE_BAR_MM = 50.0
_VIEW_WORDS = {"ap": "AP", "pa": "PA", "lateral": "Lateral"}


def write_preview(
    path: str | Path,
    surfaces: Mapping[str, Surface],
    radiographs: Sequence[NDArray[np.floating]],
    views: Sequence[View],
    field_of_view: FieldOfView | None = None,
    side: str | None = None,
) -> None:
    """Write the preview as PNG.

    Parameters
    ----------
    path: the file.
    surfaces: bones by name, LPS mm; empty ones are left out.
    radiographs: images [row, column], larger where the beam met more, one for each view and of its size.
    views: how each radiograph was taken.
    field_of_view: the radiographs are shown around its projection; None shows them whole.
    side: "right" or "left", shown as R or L on the lateral side of the knee; None when unknown.

    Raises RenderingUnavailable when the machine cannot draw, ValueError when images and views do not fit together.
    """
    if len(radiographs) != len(views):
        raise ValueError(f"one radiograph for each view is needed, not {len(radiographs)} for {len(views)}")
    shown = {
        item.name: surfaces[item.name] for item in BONES if item.name in surfaces and not surfaces[item.name].is_empty
    }
    count = len(views) + 2
    width, height = count * _PANEL_WIDTH, _PANEL_HEIGHT + _LEGEND_HEIGHT
    window = off_screen_window(width, height)
    floor = _LEGEND_HEIGHT / height
    for index, (image, view) in enumerate(zip(radiographs, views, strict=True)):
        panel = add_panel(window, index / count, floor, (index + 1) / count, 1.0, _BLACK)
        _show_radiograph(panel, np.asarray(image, dtype=np.float32), view, shown, field_of_view, side)
    outward = lateral_direction(side) if side is not None else -1.0
    directions = (("Front", (0.0, 1.0, 0.0)), ("Lateral side" if side else "From the right", (-outward, 0.0, 0.0)))
    for index, (words, towards) in enumerate(directions, start=len(views)):
        panel = add_panel(window, index / count, floor, (index + 1) / count, 1.0, _BACKGROUND)
        _show_bones(panel, words, np.array(towards), shown)
        if index == len(views) and side is not None:
            _add_side_marker(panel, side, at_left=outward < 0)
    _add_legend(add_panel(window, 0.0, 0.0, 1.0, floor, _BACKGROUND), list(shown))
    write_png(path, rendered(window))


def _show_radiograph(
    panel: vtkRenderer,
    image: NDArray[np.float32],
    view: View,
    surfaces: Mapping[str, Surface],
    field_of_view: FieldOfView | None,
    side: str | None,
) -> None:
    if image.shape != (view.rows, view.columns):
        raise ValueError(
            f"the radiograph is {image.shape}, and view '{view.name}' has {(view.rows, view.columns)} pixels"
        )
    rectangle = _shown_rectangle(view, field_of_view)
    extent = (rectangle[1] - rectangle[0]) * np.array(view.pixel_spacing)
    panel.AddViewProp(_image_actor(image, view, rectangle))
    bounds = np.array([[0.0, -extent[0], 0.0], [extent[1], 0.0, 0.0]])
    look(panel, np.array([0.0, 0.0, -1.0]), np.array([0.0, 1.0, 0.0]), bounds, fill=1.0)
    width, height = panel_size(panel)
    scale = min(width / extent[1], height / extent[0])
    shadows = ShadowRenderer(view, rectangle, max(round(extent[1] * scale), 2), max(round(extent[0] * scale), 2))
    for name, surface in surfaces.items():
        outline = (shadows.outline(surface) - rectangle[0]) * np.array(view.pixel_spacing)
        panel.AddActor(_lines_actor(outline, bone(name).color))
    title = _VIEW_WORDS.get(view.name.lower(), view.name)
    panel.AddViewProp(text_actor(title, 0.5, 0.985, 20, _TEXT, "center", "top", bold=True))
    if field_of_view is not None:
        length = _SCALE_BAR_MM * view.magnification(np.array(field_of_view.center))
        add_scale_bar(panel, length, f"{_SCALE_BAR_MM:.0f} mm at the knee", _TEXT)
    if side is not None:
        # Seen from the side neither edge of the image is the lateral one.
        across = view.column_direction[0] * lateral_direction(side)
        _add_side_marker(panel, side, at_left=across < 0.5)


def _shown_rectangle(view: View, field_of_view: FieldOfView | None) -> Array:
    """(2, 2) first and last [row, column] edge of the part of the image around the field of view."""
    whole = np.array([[-0.5, -0.5], [view.rows - 0.5, view.columns - 0.5]])
    if field_of_view is None:
        return whole
    corners, depth = view.project(field_of_view.corners)
    if (depth <= 0).any():
        return whole
    cropped = np.stack([np.maximum(corners.min(axis=0), whole[0]), np.minimum(corners.max(axis=0), whole[1])])
    return cropped if (cropped[1] - cropped[0] >= 8).all() else whole


def _image_actor(image: NDArray[np.float32], view: View, rectangle: Array) -> vtkImageActor:
    """The shown part of the radiograph, bones bright, as an image whose upper left corner is the origin, in detector
    mm.
    """
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkRenderingCore import vtkImageActor

    first = np.maximum(np.floor(rectangle[0] + 0.5), 0).astype(int)
    last = np.minimum(np.ceil(rectangle[1] + 0.5), image.shape).astype(int)
    part = image[first[0] : last[0], first[1] : last[1]]
    # Averaging whole blocks keeps a large radiograph from flickering at picture size.
    block = max(1, int(min(part.shape[0] / _PANEL_HEIGHT, part.shape[1] / _PANEL_WIDTH)))
    rows, columns = part.shape[0] // block, part.shape[1] // block
    part = part[: rows * block, : columns * block].reshape(rows, block, columns, block).mean(axis=(1, 3))
    finite = part[np.isfinite(part)]
    low, high = np.percentile(finite, [1.0, 99.7]) if finite.size else (0.0, 1.0)
    grey = np.clip((np.nan_to_num(part) - low) / max(high - low, 1e-6), 0, 1) * 255
    data = vtkImageData()
    data.SetDimensions(columns, rows, 1)
    spacing = np.array(view.pixel_spacing) * block
    # VTK images grow upwards, so the last row comes first.
    data.SetSpacing(spacing[1], spacing[0], 1.0)
    corner = (first - 0.5 - rectangle[0]) * np.array(view.pixel_spacing)
    data.SetOrigin(corner[1] + spacing[1] / 2, -(corner[0] + (rows - 0.5) * spacing[0]), -0.1)
    data.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(grey[::-1]).astype(np.uint8).ravel(), deep=True))
    actor = vtkImageActor()
    actor.SetInputData(data)
    return actor


def _lines_actor(pieces: Array, color: Color) -> vtkActor:
    """Line pieces (S, 2, 2), ends as [down, across] in mm from the upper left corner."""
    from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
    from vtkmodules.vtkRenderingCore import vtkActor, vtkPolyDataMapper

    ends = pieces.reshape(-1, 2)
    points = vtkPoints()
    points.SetData(numpy_to_vtk(np.stack([ends[:, 1], -ends[:, 0], np.zeros(len(ends))], axis=1), deep=True))
    cells = vtkCellArray()
    cells.SetData(2, numpy_to_vtkIdTypeArray(np.arange(len(ends), dtype=np.int64), deep=True))
    data = vtkPolyData()
    data.SetPoints(points)
    data.SetLines(cells)
    mapper = vtkPolyDataMapper()
    mapper.SetInputData(data)
    actor = vtkActor()
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(*color)
    actor.GetProperty().LightingOff()
    actor.GetProperty().SetLineWidth(2.0)
    return actor


def _show_bones(panel: vtkRenderer, words: str, towards: Array, surfaces: Mapping[str, Surface]) -> None:
    for name, surface in surfaces.items():
        panel.AddActor(surface_actor(surface, bone(name).color))
    panel.AddViewProp(text_actor(words, 0.5, 0.985, 20, _TEXT, "center", "top", bold=True))
    if surfaces:
        every = np.stack([surface.bounds for surface in surfaces.values()])
        look(
            panel,
            towards,
            np.array([0.0, 0.0, 1.0]),
            np.stack([every[:, 0].min(axis=0), every[:, 1].max(axis=0)]),
            fill=0.82,
        )
        add_scale_bar(panel, _SCALE_BAR_MM, f"{_SCALE_BAR_MM:.0f} mm", _TEXT)
    else:
        panel.AddViewProp(text_actor("no bone was found", 0.5, 0.5, 18, _TEXT, "center"))


def _add_side_marker(panel: vtkRenderer, side: str, at_left: bool) -> None:
    place, alignment = (0.04, "left") if at_left else (0.96, "right")
    panel.AddViewProp(text_actor(side[0].upper(), place, 0.985, 34, _TEXT, alignment, "top", bold=True))


def _add_legend(panel: vtkRenderer, names: list[str]) -> None:
    for index, name in enumerate(names):
        place = (index + 0.5) / max(len(names), 1)
        panel.AddViewProp(text_actor(name, place, 0.25, 20, bone(name).color, "center", bold=True))

"""Legends in mm for coloured surfaces: narrow, at the right edge of their views, beside the bones."""

from __future__ import annotations

from typing import Any

import slicer

from . import layouts

_FONT_SIZE = 10
#: Shares of the view.
_WIDTH, _HEIGHT, _RIGHT = 0.12, 0.4, 0.99


def addLegend(model: Any, title: str, views: list[str], labels: str = "%.1f") -> None:
    """A legend of the colours of a model's scalars, in the named views; an earlier one is replaced. labels: format of five numbers."""
    # Always a new one: a view draws only the legends that are added while it is there.
    removeLegend(model)
    legend = slicer.modules.colors.logic().AddDefaultColorLegendDisplayNode(model)
    if legend is None:
        return  # Somebody removed how the model is shown.
    legend.SetTitleText(title)
    legend.SetSize(_WIDTH, _HEIGHT)
    legend.SetPosition(_RIGHT, 0.5)
    legend.SetLabelFormat(labels)
    legend.SetNumberOfLabels(5)
    for text in (legend.GetTitleTextProperty(), legend.GetLabelTextProperty()):
        text.SetFontSize(_FONT_SIZE)
    legend.SetVisibility(True)
    layouts.restrictTo(legend, views)


def removeLegend(model: Any) -> None:
    """Remove the legend of a model, where it has one."""
    for index in reversed(range(model.GetNumberOfDisplayNodes())):
        display = model.GetNthDisplayNode(index)
        if display is not None and display.IsA("vtkMRMLColorLegendDisplayNode"):
            slicer.mrmlScene.RemoveNode(display)

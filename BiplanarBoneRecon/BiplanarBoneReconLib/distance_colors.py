"""Colours of distances: one table for signed ones (blue inside, white on it, red outside), one for absolute ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer

from .parameters import DistanceKind

_ATTRIBUTE = "BiplanarBoneRecon.DistanceColors"
_COUNT = 256
#: Vertices outside the field of view have no distance and are grey.
_NOT_SCORED = (0.6, 0.6, 0.6, 1.0)
# Moreland's diverging map (2009) in five of its colours, and a perceptually ordered yellow-to-purple one.
_STOPS = {
    DistanceKind.SIGNED: [
        (0.23, 0.30, 0.75),
        (0.55, 0.69, 1.00),
        (0.93, 0.93, 0.93),
        (0.96, 0.60, 0.48),
        (0.71, 0.02, 0.15),
    ],
    DistanceKind.ABSOLUTE: [
        (0.95, 0.95, 0.85),
        (0.99, 0.80, 0.35),
        (0.93, 0.42, 0.26),
        (0.67, 0.16, 0.40),
        (0.25, 0.04, 0.36),
    ],
}


def colorNode(kind: DistanceKind) -> Any:
    """The colour table of that kind in the scene, made where there is none."""
    scene = slicer.mrmlScene
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLColorTableNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLColorTableNode")
        if node.GetAttribute(_ATTRIBUTE) == kind.name:
            return _withGrey(node)
    node = scene.AddNewNodeByClass("vtkMRMLColorTableNode", f"{kind.name.capitalize()} distance")
    node.SetAttribute(_ATTRIBUTE, kind.name)
    node.SetTypeToUser()
    node.SetNumberOfColors(_COUNT)
    stops = np.array(_STOPS[kind])
    where = np.linspace(0, len(stops) - 1, _COUNT)
    for index in range(_COUNT):
        color = [float(np.interp(where[index], np.arange(len(stops)), stops[:, channel])) for channel in range(3)]
        node.SetColor(index, f"{index}", *color, 1.0)
    node.SetHideFromEditors(True)
    return _withGrey(node)


def scalarRange(kind: DistanceKind, reach: float) -> tuple[float, float]:
    """Lowest and highest distance in mm that has a colour of its own."""
    return (-reach, reach) if kind is DistanceKind.SIGNED else (0.0, reach)


def _withGrey(node: Any) -> Any:
    # Not saved with a scene, so set each time.
    node.GetLookupTable().SetNanColor(*_NOT_SCORED)
    return node

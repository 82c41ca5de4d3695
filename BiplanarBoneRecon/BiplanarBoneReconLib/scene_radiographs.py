"""Radiographs in the scene: one-slice volumes that stand where their detectors are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from .frames import imageToRAS, vtkMatrix
from .problems import Problem
from .radiograph_sources import INTENSITY_ATTRIBUTE, readFrom
from .scene_calibration import markersGoWith
from .texts import CALIBRATED_RIG, RIG, attachJson

_NODE_NAMES = {"ap": "AP radiograph", "lateral": "Lateral radiograph"}


def addRadiograph(image: Path, view: str, sourcePath: str) -> Any:
    """Add the engine's line-integral image of a radiograph as a volume; returns it."""
    # Names tell the radiographs of two patients apart in a selector.
    name = slicer.mrmlScene.GenerateUniqueName(_NODE_NAMES[view])
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    storage = slicer.vtkMRMLNRRDStorageNode()
    storage.SetFileName(str(image))
    if not storage.ReadData(node):
        raise Problem(_("{image} cannot be read: load the radiograph again.").format(image=image))
    readFrom(node, sourcePath)
    node.SetAttribute(INTENSITY_ATTRIBUTE, "line_integral")
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
    display.SetAutoWindowLevel(True)
    return node


def placeOnDetectors(nodes: dict[str, Any], rig: dict[str, Any]) -> None:
    """Stand the radiographs (by view name) on the detectors of a rig.json, and keep the rig with them."""
    with markersGoWith(nodes):
        for view in rig["views"]:
            node = nodes.get(view["name"])
            if node is None:
                continue
            # A transform above it would move it away from its detector.
            node.SetAndObserveTransformNodeID(None)
            node.SetIJKToRASMatrix(vtkMatrix(imageToRAS(view)))
            text = attachJson(node, RIG, f"{node.GetName()} rig", rig)
            text.SetHideFromEditors(True)


def calibrateTo(pair: dict[str, Any], rig: dict[str, Any]) -> None:
    """Stand a pair (by view name) in a rig that it was calibrated to, and keep that as its geometry in this scene."""
    placeOnDetectors(pair, rig)
    for node in pair.values():
        attachJson(node, CALIBRATED_RIG, f"{node.GetName()} calibrated rig", rig).SetHideFromEditors(True)


def understoodInWords(report: dict[str, Any]) -> list[str]:
    """What the engine understood of a pair, one sentence a line, without the warnings."""
    lines = []
    for view in report["views"]:
        down, across = view["pixel_spacing_mm"]
        size = f"{across:.3f}" if abs(across - down) < 1e-6 else f"{across:.3f} \u00d7 {down:.3f}"
        words = _("{view}: {columns} \u00d7 {rows} pixels of {size} mm, magnification {magnification:.3f}.")
        lines.append(
            words.format(
                view=_("AP") if view["name"] == "ap" else _("Lateral"),
                columns=view["columns"],
                rows=view["rows"],
                size=size,
                magnification=view["magnification"],
            )
        )
    lines.append(_("The views are {angle:.1f}\u00b0 apart.").format(angle=report["separation_degrees"]))
    lines.append(report["geometry"])
    sides = {"right": _("Side: right."), "left": _("Side: left.")}
    lines.append(sides.get(report.get("side"), _("Side: not stated.")))
    return lines

"""Radiographs in the scene: one-slice volumes that stand where their detectors are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer

from .frames import imageToRAS, vtkMatrix
from .problems import Problem
from .radiograph_sources import INTENSITY_ATTRIBUTE, SOURCE_ATTRIBUTE, VIEW_NAMES
from .texts import RIG, attachJson


def addRadiograph(image: Path, view: str, sourcePath: str) -> Any:
    """Add the engine's line-integral image of a radiograph as a volume; returns it."""
    name = f"{VIEW_NAMES[view]} radiograph"
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name[0].upper() + name[1:])
    storage = slicer.vtkMRMLNRRDStorageNode()
    storage.SetFileName(str(image))
    if not storage.ReadData(node):
        raise Problem(f"{image} cannot be read: load the radiograph again.")
    node.SetAttribute(SOURCE_ATTRIBUTE, sourcePath)
    node.SetAttribute(INTENSITY_ATTRIBUTE, "line_integral")
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
    display.SetAutoWindowLevel(True)
    return node


def placeOnDetectors(nodes: dict[str, Any], rig: dict[str, Any]) -> None:
    """Stand the radiographs (by view name) on the detectors of a rig.json, and keep the rig with them."""
    for view in rig["views"]:
        node = nodes.get(view["name"])
        if node is None:
            continue
        node.SetIJKToRASMatrix(vtkMatrix(imageToRAS(view)))
        text = attachJson(node, RIG, f"{node.GetName()} rig", rig)
        text.SetHideFromEditors(True)


def understoodInWords(report: dict[str, Any]) -> list[str]:
    """What the engine understood of a pair, one sentence a line, without the warnings."""
    lines = []
    for view in report["views"]:
        down, across = view["pixel_spacing_mm"]
        name = "AP" if view["name"] == "ap" else view["name"].capitalize()
        words = f"{name}: {view['columns']} \u00d7 {view['rows']} pixels of {across:.3f}"
        words += "" if abs(across - down) < 1e-6 else f" \u00d7 {down:.3f}"
        lines.append(f"{words} mm, magnification {view['magnification']:.3f}.")
    lines.append(f"The views are {report['separation_degrees']:.1f}\u00b0 apart.")
    lines.append(report["geometry"])
    side = report.get("side")
    lines.append(f"Side: {side}." if side else "Side: not stated.")
    return lines

"""JSON that travels with the scene: text nodes, found again through node references."""

from __future__ import annotations

import json
from typing import Any

import slicer

RIG = "BiplanarBoneRecon.Rig"
REPORT = "BiplanarBoneRecon.Report"


def attachJson(owner: Any, role: str, name: str, value: dict[str, Any]) -> Any:
    """Write `value` into the text node that `owner` refers to by `role`; the node is made where there is none. Returns it."""
    node = owner.GetNodeReference(role)
    if node is None:
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode", name)
        owner.SetNodeReferenceID(role, node.GetID())
    node.SetText(json.dumps(value))
    return node


def attachedJson(owner: Any, role: str) -> dict[str, Any] | None:
    """What `attachJson` wrote, or None."""
    node = owner.GetNodeReference(role) if owner is not None else None
    if node is None or not node.GetText():
        return None
    try:
        value = json.loads(node.GetText())
    except ValueError:
        return None
    return value if isinstance(value, dict) else None

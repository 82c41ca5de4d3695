"""Text in the scene and in the panel: JSON in text nodes, found again through node references, and lines of HTML."""

from __future__ import annotations

import json
from html import escape
from typing import Any

import slicer
from slicer.i18n import tr as _

RIG = "BiplanarBoneRecon.Rig"
CALIBRATED_RIG = "BiplanarBoneRecon.CalibratedRig"
REPORT = "BiplanarBoneRecon.Report"


def warningLine(warning: str) -> str:
    """A warning of the engine as a line of the panel."""
    return f"<b>{_('Warning:')}</b> {escape(warning)}"


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

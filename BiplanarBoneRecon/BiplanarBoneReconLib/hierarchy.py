"""Folders of the subject hierarchy: what belongs together stands together."""

from __future__ import annotations

from typing import Any

import slicer


def _hierarchy() -> Any:
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)


def newFolder(name: str, parent: int | None = None) -> int:
    """A new folder; returns its item."""
    hierarchy = _hierarchy()
    return int(hierarchy.CreateFolderItem(hierarchy.GetSceneItemID() if parent is None else parent, name))


def itemOf(node: Any) -> int:
    """The item of a node, made where there is none yet."""
    hierarchy = _hierarchy()
    item = int(hierarchy.GetItemByDataNode(node))
    return item if item else int(hierarchy.CreateItem(hierarchy.GetSceneItemID(), node))


def put(node: Any, folder: int) -> None:
    """Move a node into a folder."""
    _hierarchy().SetItemParent(itemOf(node), folder)


def folderOf(node: Any) -> int | None:
    """The folder that a node lies in, or None."""
    hierarchy = _hierarchy()
    parent = int(hierarchy.GetItemParent(itemOf(node)))
    return None if parent in (0, int(hierarchy.GetSceneItemID())) else parent


def remove(node: Any) -> None:
    """Remove a node with its item and its display nodes."""
    displays = (
        [node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes())] if _isShown(node) else []
    )
    # The item first: one that has lost its node cannot be removed.
    _hierarchy().RemoveItem(itemOf(node), False, False)
    for item in (node, *displays):
        if item is not None:
            slicer.mrmlScene.RemoveNode(item)


def _isShown(node: Any) -> bool:
    return bool(node.IsA("vtkMRMLDisplayableNode"))


def removeIfEmpty(folder: int) -> None:
    """Remove a folder in which nothing is left; what somebody else has put there stays."""
    hierarchy = _hierarchy()
    if hierarchy.GetNumberOfItemChildren(folder) == 0:
        hierarchy.RemoveItem(folder, False, False)

"""Either all of a result stands in the scene, or nothing of it."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import slicer
import vtk


class SceneTransaction:
    """Removes every node and subject-hierarchy folder that was added inside the `with` block when the block raises."""

    def __init__(self, scene: Any) -> None:
        self._scene = scene
        self._added: list[str] = []
        self._tag: int | None = None
        self._items: set[int] = set()

    def __enter__(self) -> SceneTransaction:
        self._items = set(_hierarchyItems(self._scene))

        @vtk.calldata_type(vtk.VTK_OBJECT)
        def onAdded(caller: Any, event: Any, node: Any) -> None:
            self._added.append(node.GetID())

        self._tag = self._scene.AddObserver(self._scene.NodeAddedEvent, onAdded)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scene.RemoveObserver(self._tag)
        if kind is None:
            return
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self._scene)
        # Children before their folders, the items before their nodes: an item that has lost its node cannot be removed.
        for item in sorted(set(_hierarchyItems(self._scene)) - self._items, reverse=True):
            hierarchy.RemoveItem(item, False, False)
        for identifier in reversed(self._added):
            node = self._scene.GetNodeByID(identifier) if identifier else None
            # The hierarchy node holds everybody's items; only ours are removed.
            if node is not None and not node.IsA("vtkMRMLSubjectHierarchyNode"):
                self._scene.RemoveNode(node)


def _hierarchyItems(scene: Any) -> list[int]:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    found = vtk.vtkIdList()
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), found, True)
    return [found.GetId(index) for index in range(found.GetNumberOfIds())]

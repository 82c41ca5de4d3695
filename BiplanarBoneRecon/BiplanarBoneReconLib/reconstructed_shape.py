"""The shape that bones had when they were reconstructed: whether they were edited since, and where a hardened transform took them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from vtk.util.numpy_support import vtk_to_numpy

from .segments import bonesOf

_SHAPE = "BiplanarBoneRecon.ReconstructedShape"
_POINTS = 4
#: A saved scene rounds positions.
_SAME_MM = 0.02


def noteShape(segmentation: Any) -> None:
    """Note the shape that bones have now, before anybody can change it."""
    segmentation.SetAttribute(_SHAPE, json.dumps(_samples(segmentation)))


def motionSince(segmentation: Any) -> np.ndarray | None:
    """(4, 4) RAS by which hardened transforms have moved the bones since `noteShape`, the identity where none has; None where they were
    changed in another way. Transforms above them do not count. Bones of which nothing was noted count as unchanged.
    """
    noted = segmentation.GetAttribute(_SHAPE)
    if not noted:
        return np.eye(4)
    then, now = json.loads(noted), _samples(segmentation)
    if then.keys() != now.keys() or any(then[bone][0] != now[bone][0] for bone in then):
        return None
    before, after = (np.array([point for row in rows.values() for point in row[1]]) for rows in (then, now))
    if len(before) == 0 or np.allclose(before, after, rtol=0.0, atol=_SAME_MM):
        return np.eye(4)
    whole = np.column_stack([before, np.ones(len(before))])
    motion = np.eye(4)
    motion[:3] = np.linalg.lstsq(whole, after, rcond=None)[0].T
    return motion if np.allclose(whole @ motion[:3].T, after, rtol=0.0, atol=_SAME_MM) else None


def _samples(segmentation: Any) -> dict[str, tuple[int, list[list[float]]]]:
    """By bone: how many points its surface has, and some of them, RAS mm without the transforms above. No points for a label map."""
    segments = segmentation.GetSegmentation()
    kind = segments.GetSourceRepresentationName()
    found = {}
    for bone, identifier in bonesOf(segmentation).items():
        shape = segments.GetSegment(identifier).GetRepresentation(kind) if kind == "Closed surface" else None
        if shape is None or shape.GetNumberOfPoints() < _POINTS:
            found[bone] = (0, [])
            continue
        points = vtk_to_numpy(shape.GetPoints().GetData())
        chosen = points[[index * len(points) // _POINTS for index in range(_POINTS)]]
        found[bone] = (len(points), [[round(float(value), 4) for value in point] for point in chosen])
    return found

"""Both versions of a case's bones, cut alike: nothing but the bones themselves may tell them apart.

A model is closed at its field of view, while true bones run on or end where a scan ended. Both are therefore cut by the
same planes, a little inside all of these ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.field_of_view import flat_shaft_end, inside_by, scoring_box
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

VERSIONS = ("reference", "reconstruction")
_CUT_MARGIN_MM = 2.0
_ON_PLANE_MM = 1e-4


@dataclass(frozen=True)
class ShownBones:
    """What a reader sees of a case.

    Attributes
    ----------
    bones: names of the bones to grade: those of the reference.
    versions: version -> its surfaces by bone name, LPS mm, cut by the same planes in both.
    missing: bones that the reconstruction lacks.
    left_out: bones of the reconstruction that the reference lacks: shown in neither.
    """

    bones: tuple[str, ...]
    versions: Mapping[str, Mapping[str, Surface]]
    missing: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def vertices(self) -> Array:
        """(V, 3) vertices in mm of everything in both versions."""
        return np.concatenate(
            [surface.vertices for surfaces in self.versions.values() for surface in surfaces.values()]
        )


def shown_bones(
    case: str,
    reference: Mapping[str, Surface],
    reconstruction: Mapping[str, Surface],
    field_of_view: Array | None,
    extents: Mapping[str, tuple[float | None, float | None]] | None = None,
    spacing_mm: float = 0.0,
) -> ShownBones:
    """Cut both versions of a case alike.

    Parameters
    ----------
    case: its name, for messages.
    reference, reconstruction: surfaces by bone name, LPS mm, closed.
    field_of_view: (2, 3) lowest and highest corner in mm of what was reconstructed, or None.
    extents: bone -> (lowest z, highest z) in mm of what the reference shows of it.
    spacing_mm: between the samples of the reconstruction; its caps lie up to half of it off the field of view.

    Raises InputError when no bone of the reference lies in the field of view, or the two versions lie apart from one another.
    """
    names = [name for name in BONE_NAMES if name in reference and not reference[name].is_empty]
    drawn: dict[str, dict[str, Surface]] = {version: {} for version in VERSIONS}
    for name in names:
        answer = reconstruction.get(name, Surface.empty())
        box = _common_box(name, reference[name], answer, field_of_view, (extents or {}).get(name), spacing_mm)
        for version, surface in zip(VERSIONS, (reference[name], answer), strict=True):
            part = cut_closed(surface, box)
            if not part.is_empty:
                drawn[version][name] = part
    bones = tuple(name for name in names if name in drawn["reference"])
    if not bones:
        raise InputError(
            f"Case {case}: no bone of its reference lies in the field of view: check the rig and the frame."
        )
    shown = {version: {name: part for name, part in parts.items() if name in bones} for version, parts in drawn.items()}
    if not shown["reconstruction"]:
        raise InputError(
            f"Case {case}: the reconstruction shares no bone with the reference: check its folder, or leave the case out."
        )
    _check_place(case, shown)
    missing = tuple(name for name in bones if name not in shown["reconstruction"])
    left_out = tuple(name for name in reconstruction if name not in bones and not reconstruction[name].is_empty)
    return ShownBones(bones, shown, missing, left_out)


def _common_box(
    name: str,
    reference: Surface,
    answer: Surface,
    field_of_view: Array | None,
    extent: tuple[float | None, float | None] | None,
    spacing_mm: float,
) -> Array:
    box = scoring_box(field_of_view, extent)
    for surface in (reference, answer):
        end = flat_shaft_end(surface, name)
        if end is not None:
            row, nearer = (1, min) if name == "femur" else (0, max)
            box[row, 2] = nearer(box[row, 2], end)
    return inside_by(box, _CUT_MARGIN_MM + spacing_mm)


def cut_closed(surface: Surface, box: Array) -> Surface:
    """The part of a closed surface inside a box (2, 3) mm (infinite: no limit), closed with flat caps that share no vertex with it."""
    from vtkmodules.vtkCommonDataModel import vtkPlane, vtkPlaneCollection
    from vtkmodules.vtkFiltersCore import vtkTriangleFilter
    from vtkmodules.vtkFiltersGeneral import vtkClipClosedSurface

    if surface.is_empty:
        return surface
    planes = vtkPlaneCollection()
    bounds = surface.bounds
    for axis in range(3):
        for row, inwards in ((0, 1.0), (1, -1.0)):
            beyond = (bounds[row, axis] - box[row, axis]) * inwards
            if not np.isfinite(box[row, axis]) or beyond >= 0:
                continue
            plane = vtkPlane()
            origin, normal = np.zeros(3), np.zeros(3)
            origin[axis], normal[axis] = box[row, axis], inwards
            plane.SetOrigin(*origin)
            plane.SetNormal(*normal)
            planes.AddItem(plane)
    if planes.GetNumberOfItems() == 0:
        return surface
    clip = vtkClipClosedSurface()
    clip.SetInputData(surface.to_vtk())
    clip.SetClippingPlanes(planes)
    triangles = vtkTriangleFilter()
    triangles.SetInputConnection(clip.GetOutputPort())
    triangles.PassLinesOff()
    triangles.PassVertsOff()
    triangles.Update()
    result = triangles.GetOutput()
    return Surface.empty() if result.GetNumberOfPolys() == 0 else _with_own_caps(Surface.from_vtk(result), box)


def _with_own_caps(surface: Surface, box: Array) -> Surface:
    """The same surface whose caps share no vertex with the bone.

    Shared, they would be shaded smoothly around the rim, in streaks that follow the triangles and so tell a fine mesh from a coarse one.
    """
    # (triangles, corners, low or high side, axes)
    near = np.abs(surface.triangles[:, :, None, :] - box) <= _ON_PLANE_MM
    on_face = near.all(axis=1).reshape(-1, 6).any(axis=1)
    caps = surface.faces[on_face]
    faces = surface.faces.copy()
    faces[on_face] = len(surface.vertices) + np.arange(caps.size).reshape(caps.shape)
    return Surface(np.concatenate([surface.vertices, surface.vertices[caps.ravel()]]), faces)


def _check_place(case: str, shown: Mapping[str, Mapping[str, Surface]]) -> None:
    for name, part in shown["reconstruction"].items():
        a, b = part.bounds, shown["reference"][name].bounds
        if (a[0] > b[1]).any() or (b[0] > a[1]).any():
            raise InputError(
                f"Case {case}: the reconstructed {name} does not touch the box around the true one: check that both are LPS and in mm."
            )

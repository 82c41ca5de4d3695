"""How far the outlines of reconstructed bones, projected into the radiographs, lie from the bone edges that are seen there.

The only error that can be measured without a reference. Where a ray grazes a bone its path in the bone vanishes, and the line integral
falls steeply outwards; along the normal of each projected outline the steepest fall is taken for the seen edge, as active shape models
do (Cootes et al., Comput Vis Image Underst 61, 1995). Distances are scaled from the detector to the depth of the outline itself.

Limits: an error along the rays is not seen by that view, and where nothing falls steeply enough nothing is found, which is counted. Edges
of neighbouring bones can be mistaken for one's own, the more so the farther off the outline is: beyond the search range the distance
tells that something is wrong, but not how much.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.evaluation.edge_profiles import steepest_falls
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.geometry.view import View
from SSRKDCore.pictures.contour_generator import SHORTEST_LINE_MM, contour_lines_with_normals
from SSRKDCore.side_by_side import side_by_side
from SSRKDCore.surface import Surface
from SSRKDCore.vertex_normals import vertex_normals

Array = NDArray[np.float64]

REACH_MM = 6.0
_SPACING_MM = 1.0
_STEP_MM = 0.1
_BLUR_MM = 0.3
# A fall of less than this (line integral per mm in the bone's plane) is no bone edge: cortical bone of 1 mm along the ray, against
# soft tissue, is 0.04 at 60 keV.
_LEAST_FALL = 0.01
# Outlines nearer than this to the field of view's faces belong to the cut there.
_MARGIN_MM = 3.0


@dataclass(frozen=True)
class OutlineDistance:
    """Distances between projected and seen outlines, mm at the bone.

    Attributes
    ----------
    mean_mm: of the absolute distances. p95_mm: their 95th percentile. signed_mean_mm: positive where the seen edge lies outside the
    projected outline (the reconstruction is too small). These three are None where no edge was found.
    found: share of the outline's samples for which an edge was found.
    samples: how many samples, about 1 mm apart.
    """

    mean_mm: float | None
    p95_mm: float | None
    signed_mean_mm: float | None
    found: float
    samples: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class OutlineSamples:
    """Samples of one bone's outline in one view, about 1 mm apart.

    Attributes
    ----------
    points: (N, 3) LPS mm, where the view's rays graze the bone.
    outwards: (N, 2) unit vectors away from the bone in the image, along the view's row and column directions.
    offsets: (N,) mm at the bone from the projected outline to the seen edge, positive outwards; NaN where none is found.
    """

    points: Array
    outwards: Array
    offsets: Array


def outline_samples(
    surfaces: Mapping[str, Surface],
    images: Mapping[str, NDArray[np.floating]],
    rig: Rig,
    field_of_view: FieldOfView | None = None,
    reach_mm: float = REACH_MM,
    normals: Mapping[str, Array] | None = None,
    threads: int = 1,
) -> dict[str, dict[str, OutlineSamples]]:
    """Every sample behind `outline_distances`, whose arguments these are: view name -> bone name -> samples.

    normals: bone name -> (V, 3) of `vertex_normals`, for whoever has them; bones that are not there have theirs computed.
    threads: views that are looked at side by side.
    """
    bones = {name: surfaces[name] for name in BONE_NAMES if name in surfaces and not surfaces[name].is_empty}
    known = normals or {}
    across = {
        name: known[name] if name in known else vertex_normals(bone.vertices, bone.faces)
        for name, bone in bones.items()
    }

    def seen_in(view: View) -> dict[str, OutlineSamples]:
        image = np.asarray(images[view.name])
        if image.shape != (view.rows, view.columns):
            raise ValueError(f"the image of view '{view.name}' is {image.shape}, not {(view.rows, view.columns)}")
        outlines = {name: _outline(bone, across[name], view, field_of_view) for name, bone in bones.items()}
        return _with_edges({name: found for name, found in outlines.items() if len(found[0])}, image, view, reach_mm)

    seen = side_by_side([partial(seen_in, view) for view in rig.views], threads)
    return dict(zip((view.name for view in rig.views), seen, strict=True))


def outline_distances(
    surfaces: Mapping[str, Surface],
    images: Mapping[str, NDArray[np.floating]],
    rig: Rig,
    field_of_view: FieldOfView | None = None,
    reach_mm: float = REACH_MM,
) -> dict[str, dict[str, OutlineDistance]]:
    """Distances by view and bone, and of everything together.

    Parameters
    ----------
    surfaces: bone name -> reconstructed surface, LPS mm, outward winding.
    images: view name -> line integrals [row, column] (bone bright), as many pixels as the view has.
    rig: the views.
    field_of_view: the cube that was reconstructed: outlines at its faces do not count. None counts every outline.
    reach_mm: how far on either side an edge is looked for.

    Returns view name -> bone name -> OutlineDistance, bones without an outline in a view left out; and under "all" by bone over all
    views, and under ["all"]["all"] over everything.
    """
    return distances_of(outline_samples(surfaces, images, rig, field_of_view, reach_mm))


def distances_of(samples: Mapping[str, Mapping[str, OutlineSamples]]) -> dict[str, dict[str, OutlineDistance]]:
    """The figures of `outline_distances` from its samples."""
    offsets = {view: {bone: found.offsets for bone, found in bones.items()} for view, bones in samples.items()}
    result = {view: {bone: _figures([found]) for bone, found in bones.items()} for view, bones in offsets.items()}
    by_bone = {bone: [bones[bone] for bones in offsets.values() if bone in bones] for bone in BONE_NAMES}
    result["all"] = {bone: _figures(found) for bone, found in by_bone.items() if found}
    result["all"]["all"] = _figures([found for parts in by_bone.values() for found in parts])
    return result


def _figures(parts: list[Array]) -> OutlineDistance:
    values = np.concatenate(parts) if parts else np.zeros(0)
    known = values[np.isfinite(values)]
    if not len(known):
        return OutlineDistance(None, None, None, 0.0, len(values))
    size = np.abs(known)
    return OutlineDistance(
        float(size.mean()),
        float(np.percentile(size, 95)),
        float(known.mean()),
        len(known) / len(values),
        len(values),
    )


def _outline(surface: Surface, normals: Array, view: View, field_of_view: FieldOfView | None) -> tuple[Array, Array]:
    """Points (N, 3) of a bone's outline that fall on the detector, and their outward directions (N, 2), as in `OutlineSamples`."""
    points, across = _sampled_outline(surface, normals, view)
    if field_of_view is not None and len(points):
        low, high = field_of_view.bounds
        within = ((points > low + _MARGIN_MM) & (points < high - _MARGIN_MM)).all(axis=1)
        points, across = points[within], across[within]
    if not len(points):
        return points, np.zeros((0, 2))
    pixels, _ = view.project(points)
    outwards = across @ np.stack([view.row_direction, view.column_direction], axis=1)
    length = np.linalg.norm(outwards, axis=1)
    seen = (pixels >= 0).all(axis=1) & (pixels <= [view.rows - 1, view.columns - 1]).all(axis=1) & (length > 1e-3)
    return points[seen], outwards[seen] / length[seen, None]


def _with_edges(
    outlines: Mapping[str, tuple[Array, Array]], image: NDArray[np.floating], view: View, reach_mm: float
) -> dict[str, OutlineSamples]:
    """Outlines with the edges that are seen of them."""
    if not outlines:
        return {}
    points, outwards = (np.concatenate(parts) for parts in zip(*outlines.values(), strict=True))
    pixels, depth = view.project(points)
    magnification = view.source_to_detector / depth
    # One blur for the whole image: depths of a knee differ by a few percent.
    sigma = [_BLUR_MM * float(np.median(magnification)) / spacing for spacing in view.pixel_spacing]
    step = outwards * magnification[:, None] / np.array(view.pixel_spacing)
    along = np.arange(-reach_mm, reach_mm + _STEP_MM / 2, _STEP_MM)
    offsets = steepest_falls(image, pixels, step, along, sigma, _LEAST_FALL)
    ends = np.cumsum([len(of_bone) for of_bone, _ in outlines.values()])[:-1]
    parts = zip(np.split(points, ends), np.split(outwards, ends), np.split(offsets, ends), strict=True)
    return {name: OutlineSamples(*part) for name, part in zip(outlines, parts, strict=True)}


def _sampled_outline(surface: Surface, normals: Array, view: View) -> tuple[Array, Array]:
    """(N, 3) points about 1 mm apart on the lines where the view's rays graze the surface, the shortest lines left out; and (N, 3) normals
    there, of no exact length.
    """
    parts = []
    for line, across in contour_lines_with_normals(surface, np.array(view.source), normals):
        lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
        if lengths[-1] < SHORTEST_LINE_MM:
            continue
        at = np.arange(_SPACING_MM / 2, lengths[-1], _SPACING_MM)
        both = np.concatenate([line, across], axis=1)
        parts.append(np.stack([np.interp(at, lengths, column) for column in both.T], axis=1))
    found = np.concatenate(parts) if parts else np.zeros((0, 6))
    return found[:, :3], found[:, 3:]

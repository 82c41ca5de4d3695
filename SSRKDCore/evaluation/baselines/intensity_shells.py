"""Line integrals through a bone made of nested closed surfaces, each a step of attenuation: a fast, exact projection.

The path of a ray inside a closed surface is the sum of where it leaves less the sum of where it enters. A step that varies along
the bone is read where the ray crosses the surface; positions are counted from the middle of the bone in that view, so that where
both crossings have the same step, as across a shaft, the sum is exact.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from SSRKDCore.geometry.view import View

Array = NDArray[np.float64]


def shell_image(vertices: Array, faces: NDArray[np.int64], steps: Array, view: View) -> Array:
    """(rows, columns, K) line integrals of closed surfaces that share their mesh's vertices.

    Parameters
    ----------
    vertices: (V, 3) LPS mm. faces: (F, 3), outward.
    steps: (V, K) what the inside has more than the outside, per mm, at each vertex, in K variants.
    view: where from.
    """
    pixels, _ = view.project(vertices)
    image = np.zeros((view.rows, view.columns, steps.shape[1]))
    if np.isfinite(pixels).all():
        source = np.array(view.source)
        middle = float(np.linalg.norm(vertices.mean(axis=0) - source))
        _add_crossings(
            image,
            np.ascontiguousarray(pixels),
            np.ascontiguousarray(vertices - source),
            faces,
            np.ascontiguousarray(steps),
            np.array(view.detector_origin) - source,
            np.array(view.row_direction) * view.pixel_spacing[0],
            np.array(view.column_direction) * view.pixel_spacing[1],
            middle,
        )
    return image


def shell_derivatives(vertices: Array, faces: NDArray[np.int64], steps: Array, motions: Array, view: View) -> Array:
    """(rows, columns, P) change of the line integrals of a closed surface for each of P motions of its vertices.

    A ray's path inside changes by what a crossed triangle moves along its normal, over the cosine of normal and ray; where a ray
    grazes the surface, where that has no bound, the cosine counts as 0.1 at least.

    vertices: (V, 3) LPS mm. faces: (F, 3), outward. steps: (V,) see `shell_image`. motions: (V, 3, P) mm per unit of each parameter.
    """
    pixels, _ = view.project(vertices)
    image = np.zeros((view.rows, view.columns, motions.shape[2]))
    if np.isfinite(pixels).all():
        source = np.array(view.source)
        _add_motions(
            image,
            np.ascontiguousarray(pixels),
            np.ascontiguousarray(vertices - source),
            faces,
            np.ascontiguousarray(steps),
            np.ascontiguousarray(motions),
            np.array(view.detector_origin) - source,
            np.array(view.row_direction) * view.pixel_spacing[0],
            np.array(view.column_direction) * view.pixel_spacing[1],
        )
    return image


@numba.njit(cache=True)
def _edge(pixels, a, b, row, column):  # type: ignore[no-untyped-def]
    """Which side of edge a-b a pixel is on; exactly opposite for b-a, so that neighbouring triangles share no pixel and miss none."""
    if a < b:
        return (pixels[b, 1] - pixels[a, 1]) * (row - pixels[a, 0]) - (pixels[b, 0] - pixels[a, 0]) * (
            column - pixels[a, 1]
        )
    return -(
        (pixels[a, 1] - pixels[b, 1]) * (row - pixels[b, 0]) - (pixels[a, 0] - pixels[b, 0]) * (column - pixels[b, 1])
    )


@numba.njit(cache=True)
def _add_crossings(image, pixels, vertices, faces, steps, origin, per_row, per_column, middle):  # type: ignore[no-untyped-def]
    rows, columns, variants = image.shape
    normal = np.empty(3)
    ray = np.empty(3)
    for face in range(len(faces)):
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        low_row = max(0, int(np.ceil(min(pixels[a, 0], pixels[b, 0], pixels[c, 0]))))
        high_row = min(rows - 1, int(np.floor(max(pixels[a, 0], pixels[b, 0], pixels[c, 0]))))
        low_column = max(0, int(np.ceil(min(pixels[a, 1], pixels[b, 1], pixels[c, 1]))))
        high_column = min(columns - 1, int(np.floor(max(pixels[a, 1], pixels[b, 1], pixels[c, 1]))))
        if low_row > high_row or low_column > high_column:
            continue
        for i in range(3):
            j, k = (i + 1) % 3, (i + 2) % 3
            normal[i] = (vertices[b, j] - vertices[a, j]) * (vertices[c, k] - vertices[a, k]) - (
                vertices[b, k] - vertices[a, k]
            ) * (vertices[c, j] - vertices[a, j])
        plane = normal[0] * vertices[a, 0] + normal[1] * vertices[a, 1] + normal[2] * vertices[a, 2]
        for row in range(low_row, high_row + 1):
            for column in range(low_column, high_column + 1):
                wa = _edge(pixels, b, c, row, column)
                wb = _edge(pixels, c, a, row, column)
                wc = _edge(pixels, a, b, row, column)
                inside = (wa > 0 and wb > 0 and wc > 0) or (wa < 0 and wb < 0 and wc < 0)
                if not inside:
                    continue
                length = 0.0
                slope = 0.0
                for i in range(3):
                    ray[i] = origin[i] + row * per_row[i] + column * per_column[i]
                    length += ray[i] * ray[i]
                    slope += ray[i] * normal[i]
                length = np.sqrt(length)
                if slope == 0.0:
                    continue
                position = plane / slope * length - middle
                signed = position if slope > 0 else -position
                total = wa + wb + wc
                for variant in range(variants):
                    step = wa * steps[a, variant] + wb * steps[b, variant] + wc * steps[c, variant]
                    image[row, column, variant] += signed * step / total


@numba.njit(cache=True)
def _add_motions(image, pixels, vertices, faces, steps, motions, origin, per_row, per_column):  # type: ignore[no-untyped-def]
    rows, columns, count = image.shape
    normal = np.empty(3)
    ray = np.empty(3)
    moved = np.empty((3, count))
    for face in range(len(faces)):
        corners = faces[face]
        a, b, c = corners[0], corners[1], corners[2]
        low_row = max(0, int(np.ceil(min(pixels[a, 0], pixels[b, 0], pixels[c, 0]))))
        high_row = min(rows - 1, int(np.floor(max(pixels[a, 0], pixels[b, 0], pixels[c, 0]))))
        low_column = max(0, int(np.ceil(min(pixels[a, 1], pixels[b, 1], pixels[c, 1]))))
        high_column = min(columns - 1, int(np.floor(max(pixels[a, 1], pixels[b, 1], pixels[c, 1]))))
        if low_row > high_row or low_column > high_column:
            continue
        area = 0.0
        for i in range(3):
            j, k = (i + 1) % 3, (i + 2) % 3
            normal[i] = (vertices[b, j] - vertices[a, j]) * (vertices[c, k] - vertices[a, k]) - (
                vertices[b, k] - vertices[a, k]
            ) * (vertices[c, j] - vertices[a, j])
            area += normal[i] * normal[i]
        if area == 0.0:
            continue
        area = np.sqrt(area)
        ready = False
        for row in range(low_row, high_row + 1):
            for column in range(low_column, high_column + 1):
                wa = _edge(pixels, b, c, row, column)
                wb = _edge(pixels, c, a, row, column)
                wc = _edge(pixels, a, b, row, column)
                if not ((wa > 0 and wb > 0 and wc > 0) or (wa < 0 and wb < 0 and wc < 0)):
                    continue
                if not ready:
                    for corner in range(3):
                        for p in range(count):
                            total = 0.0
                            for i in range(3):
                                total += normal[i] * motions[corners[corner], i, p]
                            moved[corner, p] = total / area
                    ready = True
                length = 0.0
                slope = 0.0
                for i in range(3):
                    ray[i] = origin[i] + row * per_row[i] + column * per_column[i]
                    length += ray[i] * ray[i]
                    slope += ray[i] * normal[i]
                cosine = max(abs(slope) / (np.sqrt(length) * area), 0.1)
                total = wa + wb + wc
                wa, wb, wc = wa / total, wb / total, wc / total
                step = (wa * steps[a] + wb * steps[b] + wc * steps[c]) / cosine
                for p in range(count):
                    image[row, column, p] += step * (wa * moved[0, p] + wb * moved[1, p] + wc * moved[2, p])

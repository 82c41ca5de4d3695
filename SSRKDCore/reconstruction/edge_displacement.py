"""How far edges lie in one image from where they lie in another of the same scene, along their own normals.

For translations between image styles: tones may change, even locally, but a bone's edge must stay where it is, for the
rig turns pixels into millimetres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, gaussian_filter, map_coordinates
from scipy.sparse import csr_matrix, diags
from scipy.spatial import cKDTree

Array = NDArray[np.float64]
Found = NDArray[np.bool_]

#: Edges may move by this much, pixels.
LARGEST_SHIFT = 0.5
#: Share of edges without a counterpart that is still taken.
LARGEST_LOST_SHARE = 0.3

_SMOOTHING = 1.2
_REACH = 4.0
_STEP = 0.25
_PROFILE = np.arange(-5.0, 5.0 + _STEP / 2, _STEP)
_MOST_POINTS = 1200
_EDGE_SHARE = 0.1
_LEAST_SLOPE = 0.35
_FEWEST_POINTS = 30
_BLOCKS = 8
_LEAST_BLOCK = 16
_FEWEST_IN_PART = 16
_SECTORS = 4
_LEAST_LIKENESS = 0.6
_LEAST_STRENGTH = 0.1
_NEIGHBOURS = 6.0
_ALIKE = 0.8
_SHARP = 0.9
_ONE = round(1.0 / _STEP)
_WINDOW = np.hanning(len(_PROFILE) + 2)[1:-1]
_CURVE_DEGREE = 7
_PIXELS_OF_CURVE = 50_000


@dataclass(frozen=True)
class EdgeDisplacement:
    """What became of edges.

    Attributes
    ----------
    typical: median distance in pixels over all edge points that were found again.
    largest: the largest, over the edges of one direction in a block (an eighth of the image's side, 16 pixels at
        least), of the median displacement.
    lost_share: share of edge points with no counterpart within 4 pixels, the larger of both directions: edges of the
        first image that vanished, and edges of the second that came from nowhere.
    points: how many edge points were looked at.
    """

    typical: float
    largest: float
    lost_share: float
    points: int

    @property
    def kept(self) -> bool:
        """Whether the geometry can be relied on: `LARGEST_SHIFT` everywhere, and few edges lost or made up."""
        return self.largest <= LARGEST_SHIFT and self.lost_share <= LARGEST_LOST_SHARE


def edge_displacement(first: Array, second: Array, seen: NDArray[np.bool_] | None = None) -> EdgeDisplacement:
    """Compare the edges of two images (rows, columns) of the same scene.

    Edge points of either image are looked up in the other: the slope across the edge is compared along its normal at
    shifts up to 4 pixels, by normalised correlation, so that contrast drops out; it may turn round as well. A curve of
    tones alone moves the steepest place of a blurred edge, though nothing moved: for the distances, the tones of the
    first image are therefore brought to those of the second beforehand, by one curve. Where an image has fewer than 30
    edge points nothing can be said, and nothing counts as moved.

    seen: (rows, columns), where the images show something; edges at its rim are left out.
    """
    seen = np.ones(first.shape, dtype=bool) if seen is None else seen
    inner = binary_erosion(seen, iterations=int(_REACH) + 2, border_value=0)
    before, after = (gaussian_filter(np.asarray(image, dtype=np.float64), _SMOOTHING) for image in (first, second))
    in_tones_of_second = _with_tones(before, after, seen)
    shifts: list[tuple[Array, Array, Array]] = []
    lost, looked = [], 0
    of_before, of_after, of_toned = (_edge_points(image, inner) for image in (before, after, in_tones_of_second))
    for source, target, (points, normals) in ((before, after, of_before), (after, before, of_after)):
        if len(points) >= _FEWEST_POINTS:
            _, found, _ = _shifts(source, target, points, normals)
            lost.append(1.0 - float(found.mean()))
            looked += len(points)
    toned = in_tones_of_second
    for source, target, (points, normals) in ((toned, after, of_toned), (after, toned, of_after)):
        if len(points) >= _FEWEST_POINTS:
            distance, _, placed = _shifts(source, target, points, normals)
            # Seen from the other image an edge has moved the other way.
            sign = 1.0 if target is after else -1.0
            shifts.append((points[placed], normals[placed], sign * distance[placed]))
    if not any(len(distance) for _, _, distance in shifts):
        return EdgeDisplacement(0.0, 0.0, max(lost, default=0.0), looked)
    points, normals, distances = (np.concatenate(parts) for parts in zip(*shifts, strict=True))
    typical = float(np.median(np.abs(distances)))
    largest = _largest_of_parts(points, normals, distances, first.shape)
    return EdgeDisplacement(typical, largest, max(lost, default=0.0), looked)


def _with_tones(image: Array, other: Array, seen: NDArray[np.bool_]) -> Array:
    """An image whose tones went through the curve that brings it nearest to the other image: a polynomial, since a
    curve with more freedom would take up part of a displacement.
    """
    if not seen.any() or not np.ptp(image[seen]) > 0:
        return image
    # Eight numbers do not need every pixel.
    some = (slice(None, None, max(1, np.count_nonzero(seen) // _PIXELS_OF_CURVE)),)
    curve = np.polynomial.Chebyshev.fit(image[seen][some], other[seen][some], _CURVE_DEGREE)
    return np.asarray(curve(image))


def _edge_points(image: Array, inner: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Points (N, 2) of the stronger edges, all over the image, thinned to maxima across the edge, and their unit normals (N, 2)."""
    down, across = np.gradient(image)
    slope = np.stack([down, across], axis=-1)
    strength = np.sqrt(down * down + across * across)
    if not inner.any() or not strength[inner].max() > 0:
        return np.zeros((0, 2)), np.zeros((0, 2))
    threshold = np.quantile(strength[inner], 1 - _EDGE_SHARE)
    rows, columns = np.nonzero(inner & (strength > max(threshold, _LEAST_SLOPE * strength[inner].max())))
    points = np.stack([rows, columns], axis=1).astype(np.float64)
    normals = slope[rows, columns] / strength[rows, columns][:, None]
    beside = [map_coordinates(strength, (points + sign * normals).T, order=1, mode="nearest") for sign in (-1, 1)]
    ridge = (strength[rows, columns] >= beside[0]) & (strength[rows, columns] >= beside[1])
    step = max(1, -(-int(ridge.sum()) // _MOST_POINTS))
    return points[ridge][::step], normals[ridge][::step]


def _slopes(image: Array, points: Array, normals: Array, reach: float) -> Array:
    """(N, K) slope of the image along each normal, from -5 - reach to 5 + reach pixels."""
    offsets = np.arange(-5.0 - reach, 5.0 + reach + _STEP / 2, _STEP)
    places = points[:, None, :] + offsets[None, :, None] * normals[:, None, :]
    values = map_coordinates(image, np.moveaxis(places, -1, 0), order=1, mode="nearest")
    return np.gradient(values, _STEP, axis=1)


def _shifts(source: Array, target: Array, points: Array, normals: Array) -> tuple[Array, Found, Found]:
    """For each point (N,): the signed distance in pixels along the normal to the best likeness in the target, whether
    there is one, and whether the edge is also sharp enough in the source for the distance to mean anything.
    """
    near, far = (_slopes(image, points, normals, _REACH) for image in (source, target))
    count = round(2 * _REACH / _STEP) + 1
    middle = count // 2
    own, strength = _unit(near[:, middle : middle + len(_PROFILE)])
    likeness, strengths = _likeness(own, far)
    # An edge is a line: what its neighbours along it say of its place is averaged, against noise.
    likeness = _along_edges(points, normals) @ likeness
    best = likeness.argmax(axis=1)
    rows = np.arange(len(points))
    shift = (best - middle + _vertex(likeness, best)) * _STEP
    # An edge that is hundreds of times weaker than its like elsewhere is gone, whatever its shape.
    ratio = strengths[rows, best] / (strength + 1e-12)
    found = (likeness[rows, best] >= _LEAST_LIKENESS) & (ratio >= _LEAST_STRENGTH * np.median(ratio))
    beside = [_unit(near[:, middle + step : middle + step + len(_PROFILE)])[0] for step in (-_ONE, _ONE)]
    sharp = np.max([np.abs((own * part).sum(axis=1)) for part in beside], axis=0) <= _SHARP
    return shift, found, found & sharp


def _along_edges(points: Array, normals: Array) -> csr_matrix:
    """(N, N) weights that average over the points within `_NEIGHBOURS` pixels whose normals are alike."""
    pairs = cKDTree(points).query_pairs(_NEIGHBOURS, output_type="ndarray")
    alike = (normals[pairs[:, 0]] * normals[pairs[:, 1]]).sum(axis=1) >= _ALIKE
    first, second = pairs[alike].T
    own = np.arange(len(points))
    rows, columns = np.concatenate([own, first, second]), np.concatenate([own, second, first])
    weights = csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(points), len(points)))
    return diags(1.0 / np.asarray(weights.sum(axis=1)).ravel()) @ weights


def _likeness(own: Array, far: Array) -> tuple[Array, Array]:
    """(N, C) size of the correlation of unit profiles (N, K) with every part of longer ones (N, C + K - 1), each part taken as `_unit`
    takes it, and the lengths of the parts.
    """
    parts = np.lib.stride_tricks.sliding_window_view(far, len(_PROFILE), axis=1)
    weights = _WINDOW**2
    mean = parts @ (_WINDOW / _WINDOW.sum())
    squares = np.lib.stride_tricks.sliding_window_view(far**2, len(_PROFILE), axis=1)
    square = squares @ weights - 2 * mean * (parts @ weights)
    length = np.sqrt(np.maximum(square + mean**2 * weights.sum(), 0.0))
    windowed = own * _WINDOW
    product = np.einsum("nck,nk->nc", parts, windowed) - mean * windowed.sum(axis=1, keepdims=True)
    return np.abs(product) / (length + 1e-12), length


def _unit(slopes: Array) -> tuple[Array, Array]:
    """Profiles (N, K) in a window, without their mean there and of length 1, and their lengths before (N,)."""
    centred = (slopes - (slopes * _WINDOW).sum(axis=1, keepdims=True) / _WINDOW.sum()) * _WINDOW
    length = np.linalg.norm(centred, axis=1)
    return centred / (length[:, None] + 1e-12), length


def _vertex(values: Array, best: NDArray[np.int64]) -> Array:
    """(N,) offset in samples, -0.5 to 0.5, of the vertex of the parabola through the best value and its neighbours."""
    middle = np.clip(best, 1, values.shape[1] - 2)
    rows = np.arange(len(values))
    left, centre, right = (values[rows, middle + offset] for offset in (-1, 0, 1))
    curvature = left - 2 * centre + right
    offset = 0.5 * (left - right) / np.where(curvature < 0, curvature, -1.0)
    return np.where((best == middle) & (curvature < 0), np.clip(offset, -0.5, 0.5), 0.0)


def _largest_of_parts(points: Array, normals: Array, distance: Array, shape: tuple[int, ...]) -> float:
    """The largest median displacement of a part: the edges of one direction in a block, at most eight blocks a side.

    Displacements are signed along the edge's direction, so that noise averages out and a shift does not.
    """
    blocks = np.clip(np.array(shape) // _LEAST_BLOCK, 1, _BLOCKS)
    block = np.minimum((points / np.array(shape) * blocks).astype(int), blocks - 1)
    sector = np.floor((np.arctan2(normals[:, 0], normals[:, 1]) / np.pi + 1) * _SECTORS / 2).astype(int) % _SECTORS
    number = (block[:, 0] * blocks[1] + block[:, 1]) * _SECTORS + sector
    medians = [
        abs(float(np.median(distance[number == n])))
        for n in np.unique(number)
        if (number == n).sum() >= _FEWEST_IN_PART
    ]
    return max(medians, default=0.0)

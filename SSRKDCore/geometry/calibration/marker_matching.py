"""Which detected disc is which marker of the object: hypotheses of a parallel projection, then the full view.

Four markers and four discs determine a parallel projection (2 x 4, eight numbers), near enough to a cone beam's for telling
markers apart. Hypotheses are drawn (all of them where they are few; RANSAC, Fischler and Bolles, Commun ACM 24(6), 1981), scored
by how many markers then lie on a disc, and the best are refined with the direct linear transform. Its eleven numbers fit seven
markers of any order rather well; so what is left is judged by a view with a flat detector of known pixels, which has nine.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.calibration.direct_linear_transform import Pinhole, decomposed, projection_matrix
from SSRKDCore.geometry.calibration.marker_object import LEAST_MARKERS, check_spread
from SSRKDCore.geometry.calibration.view_refinement import refined

Array = NDArray[np.float64]

_HYPOTHESES = 60_000
# Hypotheses of all bases together, and how many bases there are at least and at most: a base with a hidden marker is of no use.
_ALL_HYPOTHESES = 240_000
_BASES = (4, 40)
_CHUNK = 4000
_REFINED = 300
# Perspective moves a marker from where the parallel projection has it by about this share of the object's image.
_PARALLEL_ERROR = 0.1
# Cosine between the image's axes, and logarithm of the ratio of their scales, of a parallel projection through four markers:
# perspective gives up to about half as much.
_MOST_SHEAR, _MOST_SQUEEZE = 0.4, 0.4
_CLOSE_PX = 3.0
_LEAST_SHARE = 0.7
_FEWEST_AFTER_LOSS = 7
# Standard deviation of a coordinate, pixels: a disc's middle is found to a tenth of a pixel, and an object is made to some tenths of
# a millimetre. A poorer fit is of other markers than these.
_LARGEST_NOISE_PX = 2.0
# Matchings of few markers fit by chance, as there are very many: so many of them may be expected to.
_MOST_CHANCE_FITS = 1e-3
_VIEW_NUMBERS = 9
# Matchings whose views have every marker at the same place, to so many pixels, are of one view.
_SAME_VIEW_PX = 3.0


@dataclass(frozen=True)
class Matching:
    """markers, discs: (M,) matched indices. rms_px: of the reprojection."""

    markers: NDArray[np.int64]
    discs: NDArray[np.int64]
    rms_px: float


@dataclass(frozen=True)
class _Candidate:
    """matching, and where its view has all markers: (N, 2) [row, column]."""

    matching: Matching
    projected: Array


def match_markers(points: Array, discs: Array, ratio: float = 1.0, seed: int = 0) -> Matching:
    """Match markers (N, 3) mm to discs (K, 2) [row, column].

    ratio: pitch between rows over pitch between columns.

    A disc on which two markers lie is matched to neither, as its middle is that of none.
    Raises InputError when too few match, or not as well as markers do, and when two different views are equally good (the object is
    symmetric).
    """
    if len(discs) < LEAST_MARKERS:
        raise InputError(
            f"Only {len(discs)} markers were found in the image, and a view needs {LEAST_MARKERS}: check the markers' size and "
            "whether they are bright or dark, or pick them by hand."
        )
    limit = _PARALLEL_ERROR * float(np.ptp(discs, axis=0).max())
    needed = max(LEAST_MARKERS, int(np.ceil(_LEAST_SHARE * min(len(points), len(discs)))))
    found: dict[tuple[tuple[int, int], ...], _Candidate] = {}
    for projected in _hypotheses(points, discs, limit, ratio, np.random.default_rng(seed)):
        rough = _refined(points, discs, projected, limit)
        if rough is None or len(rough.markers) < needed or _pairs(rough) in found:
            continue
        candidate = _judged(points, discs, rough, limit, ratio, needed)
        if candidate is not None:
            found[_pairs(rough)] = candidate
    if not found:
        raise InputError(
            "The discs in the image do not fit the calibration object: check the object's file, or pick the markers by hand."
        )
    best, *others = sorted(found.values(), key=lambda one: (-len(one.matching.markers), one.matching.rms_px))
    for other in others:
        as_many = len(other.matching.markers) >= len(best.matching.markers)
        as_good = other.matching.rms_px < 2 * best.matching.rms_px + 0.1
        if as_many and as_good and np.abs(other.projected - best.projected).max() > _SAME_VIEW_PX:
            raise InputError(
                "The image fits the calibration object in more than one way (it is symmetric): pick the markers by name."
            )
    return best.matching


def _pairs(matching: Matching) -> tuple[tuple[int, int], ...]:
    return tuple(sorted(zip(matching.markers.tolist(), matching.discs.tolist(), strict=True)))


def _hypotheses(points: Array, discs: Array, limit: float, ratio: float, generator: np.random.Generator) -> list[Array]:
    """(N, 2) [row, column] of the markers in parallel projections, the best first."""
    # Which marker lies on which disc -> (score, projected): from other bases the same hypothesis comes again.
    distinct: dict[bytes, tuple[float, Array]] = {}
    choices = _choices(len(discs), generator)
    most = int(np.clip(_ALL_HYPOTHESES // len(choices), *_BASES))
    for base in _bases(points, generator, most):
        system = np.concatenate([points[base], np.ones((4, 1))], axis=1)
        # (4, N): each marker as a combination of the base's four.
        combination = np.linalg.solve(system.T, np.concatenate([points, np.ones((len(points), 1))], axis=1).T)
        upright = choices[_upright(np.einsum("hbi,bj->hij", discs[choices], np.linalg.inv(system.T)[:, :3]), ratio)]
        for start in range(0, len(upright), _CHUNK):
            part = upright[start : start + _CHUNK]
            projected = np.einsum("hbi,bn->hni", discs[part], combination)
            distance = np.linalg.norm(projected[:, :, None] - discs[None, None], axis=3)
            # Where markers are hidden or outside the image, it is the discs that must have a marker each.
            if len(discs) < len(points):
                distance = distance.transpose(0, 2, 1)
            nearest = distance.argmin(axis=2)
            # Projections that put many markers onto few discs are degenerate: each counts once.
            repeated = (np.diff(np.sort(nearest, axis=1), axis=1) == 0).mean(axis=1)
            scores = np.clip(distance.min(axis=2) / limit, 0, 1).mean(axis=1) + repeated
            for index in np.argsort(scores)[:_REFINED]:
                key = nearest[index].tobytes()
                if key not in distinct or scores[index] < distinct[key][0]:
                    distinct[key] = float(scores[index]), projected[index]
        best = sorted(distinct.items(), key=lambda item: item[1][0])[:_REFINED]
        distinct = dict(best)
    return [projected for _, projected in distinct.values()]


def _upright(linear: Array, ratio: float) -> NDArray[np.bool_]:
    """(H,) whether linear parts (H, 2, 3) of parallel projections are about those of a flat detector that the beam meets about squarely:
    the image's axes at right angles and of one scale. Four wrong discs mostly give a sheared or squeezed image."""
    down, across = linear[:, 0] * ratio, linear[:, 1]
    lengths = np.linalg.norm(down, axis=1), np.linalg.norm(across, axis=1)
    shear = np.abs((down * across).sum(axis=1)) / np.maximum(lengths[0] * lengths[1], 1e-12)
    squeeze = np.abs(np.log(np.maximum(lengths[0], 1e-12) / np.maximum(lengths[1], 1e-12)))
    return np.asarray((shear < _MOST_SHEAR) & (squeeze < _MOST_SQUEEZE))


def _judged(points: Array, discs: Array, rough: Matching, limit: float, ratio: float, needed: int) -> _Candidate | None:
    """A matching with the view that a flat detector of square or known pixels has of it, or None where no such view fits."""
    try:
        pinhole, _, noise = refined(points[rough.markers], discs[rough.discs], ratio)
    except (InputError, np.linalg.LinAlgError, ValueError):
        return None
    projected = pinhole.project(points)
    if not noise <= _LARGEST_NOISE_PX or not np.isfinite(projected).all():
        return None
    if _chance_fits(len(points), len(discs), len(rough.markers), noise / limit) > _MOST_CHANCE_FITS:
        return None
    off = np.linalg.norm(projected[:, None] - discs[rough.discs][None], axis=2)
    alone = (off <= 2 * _CLOSE_PX).sum(axis=0) == 1
    markers, chosen = (
        (rough.markers[alone], rough.discs[alone]) if alone.sum() >= needed else (rough.markers, rough.discs)
    )
    rms = float(np.sqrt(((projected[markers] - discs[chosen]) ** 2).sum(axis=1).mean()))
    return _Candidate(Matching(markers, chosen, rms), projected)


def _chance_fits(markers: int, discs: int, matched: int, relative_noise: float) -> float:
    """About how many of all possible matchings would fit so well by chance: their number, times the chance that all coordinates beyond
    the view's nine numbers fall so near. relative_noise: over the distance by which a wrong match is off, at the least."""
    ways = _log_ways(markers, matched) + _log_ways(discs, matched) + math.lgamma(matched + 1)
    return math.exp(min(ways + (2 * matched - _VIEW_NUMBERS) * math.log(max(relative_noise, 1e-12)), 700.0))


def _log_ways(count: int, chosen: int) -> float:
    return math.lgamma(count + 1) - math.lgamma(chosen + 1) - math.lgamma(count - chosen + 1)


def _bases(points: Array, generator: np.random.Generator, most: int) -> list[NDArray[np.int64]]:
    """Sets of four markers that span a large volume; several, since any marker can be hidden."""
    count = len(points)
    tried = np.array([generator.permutation(count)[:4] for _ in range(300)])
    edges = points[tried[:, 1:]] - points[tried[:, :1]]
    volumes = np.abs(np.linalg.det(edges))
    order = tried[np.argsort(-volumes)]
    bases = [order[0]]
    for candidate in order:
        if len(bases) == most:
            break
        if max(len(set(candidate) & set(base)) for base in bases) <= 2:
            bases.append(candidate)
    return bases


def _choices(count: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """(H, 4) ordered choices of four different discs: all, or a sample."""
    total = count * (count - 1) * (count - 2) * (count - 3)
    if total <= _HYPOTHESES:
        return np.array(list(itertools.permutations(range(count), 4)), dtype=np.int64)
    drawn = generator.integers(0, count, size=(2 * _HYPOTHESES, 4))
    ordered = np.sort(drawn, axis=1)
    return drawn[(np.diff(ordered, axis=1) > 0).all(axis=1)][:_HYPOTHESES]


def _refined(points: Array, discs: Array, projected: Array, limit: float) -> Matching | None:
    """Alternate between assigning discs to projected markers, with an ever smaller limit, and fitting the view to them."""
    markers, chosen = _assigned(projected, discs, limit)
    for reach in (0.5 * limit, 0.2 * limit, 0.0, 0.0):
        if len(markers) < LEAST_MARKERS:
            return None
        try:
            pinhole = _without_worst(points, discs, markers, chosen)
        except (InputError, np.linalg.LinAlgError):
            return None
        projected = pinhole.project(points)
        markers, chosen = _assigned(projected, discs, max(reach, _CLOSE_PX))
    if len(markers) < LEAST_MARKERS:
        return None
    rms = float(np.sqrt(((projected[markers] - discs[chosen]) ** 2).sum(axis=1).mean()))
    return Matching(markers, chosen, rms)


def _without_worst(points: Array, discs: Array, markers: NDArray[np.int64], chosen: NDArray[np.int64]) -> Pinhole:
    """The view of assigned markers, the worst ones left out one by one while the fit is poor and enough remain."""
    while True:
        check_spread(points[markers], "The calibration object")
        pinhole = decomposed(projection_matrix(points[markers], discs[chosen]), points[markers])
        off = np.linalg.norm(pinhole.project(points[markers]) - discs[chosen], axis=1)
        if off.max() <= _CLOSE_PX or len(markers) <= _FEWEST_AFTER_LOSS:
            return pinhole
        kept = np.arange(len(off)) != int(off.argmax())
        markers, chosen = markers[kept], chosen[kept]


def _assigned(projected: Array, discs: Array, limit: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One disc a marker, total distance least, none farther than `limit` pixels."""
    from scipy.optimize import linear_sum_assignment

    distance = np.linalg.norm(projected[:, None] - discs[None], axis=2)
    markers, chosen = linear_sum_assignment(np.minimum(np.nan_to_num(distance, nan=1e9), 10 * limit))
    near = distance[markers, chosen] <= limit
    return markers[near], chosen[near]

"""Which detected disc is which marker of the object: hypotheses of a parallel projection, then the full view.

Four markers and four discs determine a parallel projection (2 x 4, eight numbers), near enough to a cone beam's for telling
markers apart. Hypotheses are drawn (all of them where they are few; RANSAC, Fischler and Bolles, Commun ACM 24(6), 1981), scored
by how many markers then lie on a disc, and the best are refined with the direct linear transform.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.calibration.direct_linear_transform import Pinhole, decomposed, projection_matrix
from SSRKDCore.geometry.calibration.marker_object import LEAST_MARKERS, check_spread

Array = NDArray[np.float64]

_HYPOTHESES = 60_000
_BASES = 4
_CHUNK = 4000
_REFINED = 300
# Perspective moves a marker from where the parallel projection has it by about this share of the object's image.
_PARALLEL_ERROR = 0.1
_CLOSE_PX = 3.0
_LEAST_SHARE = 0.7
_FEWEST_AFTER_LOSS = 7


@dataclass(frozen=True)
class Matching:
    """markers, discs: (M,) matched indices. rms_px: of the reprojection."""

    markers: NDArray[np.int64]
    discs: NDArray[np.int64]
    rms_px: float


def match_markers(points: Array, discs: Array, seed: int = 0) -> Matching:
    """Match markers (N, 3) mm to discs (K, 2) [row, column].

    Raises InputError when too few match, and when two different matchings are equally good (the object is symmetric).
    """
    if len(discs) < LEAST_MARKERS:
        raise InputError(
            f"Only {len(discs)} markers were found in the image, and a view needs {LEAST_MARKERS}: check the markers' size and "
            "whether they are bright or dark, or pick them by hand."
        )
    generator = np.random.default_rng(seed)
    limit = _PARALLEL_ERROR * float(np.ptp(discs, axis=0).max())
    scored: list[tuple[float, Array]] = []
    for base in _bases(points, generator):
        choices = _choices(len(discs), generator)
        system = np.concatenate([points[base], np.ones((4, 1))], axis=1)
        # (4, N): each marker as a combination of the base's four.
        combination = np.linalg.solve(system.T, np.concatenate([points, np.ones((len(points), 1))], axis=1).T)
        for start in range(0, len(choices), _CHUNK):
            part = choices[start : start + _CHUNK]
            projected = np.einsum("hbi,bn->hni", discs[part], combination)
            distance = np.linalg.norm(projected[:, :, None] - discs[None, None], axis=3)
            # Projections that put many markers onto few discs are degenerate: each disc counts once.
            chosen = np.sort(distance.argmin(axis=2), axis=1)
            repeated = (np.diff(chosen, axis=1) == 0).mean(axis=1)
            scores = np.clip(distance.min(axis=2) / limit, 0, 1).mean(axis=1) + repeated
            best = np.argsort(scores)[:_REFINED]
            scored += [(float(scores[i]), projected[i]) for i in best]
        scored = sorted(scored, key=lambda item: item[0])[:_REFINED]
    found: list[Matching] = []
    for _, projected in scored:
        matching = _refined(points, discs, projected, limit)
        if matching is not None:
            found.append(matching)
    needed = max(LEAST_MARKERS, int(np.ceil(_LEAST_SHARE * min(len(points), len(discs)))))
    found = sorted((m for m in found if len(m.markers) >= needed), key=lambda m: (-len(m.markers), m.rms_px))
    if not found:
        raise InputError(
            "The discs in the image do not fit the calibration object: check the object's file, or pick the markers by hand."
        )
    best_match = found[0]
    for other in found[1:]:
        as_many = len(other.markers) >= len(best_match.markers)
        if as_many and not _same(best_match, other) and other.rms_px < 2 * best_match.rms_px + 0.1:
            raise InputError(
                "The image fits the calibration object in more than one way (it is symmetric): pick the markers by name."
            )
    return best_match


def _same(one: Matching, other: Matching) -> bool:
    return dict(zip(one.markers, one.discs, strict=True)) == dict(zip(other.markers, other.discs, strict=True))


def _bases(points: Array, generator: np.random.Generator) -> list[NDArray[np.int64]]:
    """Sets of four markers that span a large volume; several, since any marker can be hidden."""
    count = len(points)
    tried = np.array([generator.permutation(count)[:4] for _ in range(300)])
    edges = points[tried[:, 1:]] - points[tried[:, :1]]
    volumes = np.abs(np.linalg.det(edges))
    order = tried[np.argsort(-volumes)]
    bases = [order[0]]
    for candidate in order:
        if len(bases) == _BASES:
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

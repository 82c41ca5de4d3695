"""The search that interpolates within a tolerance, on fields that are known in closed form."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from array_field import ArrayField, tensor_field
from scipy import ndimage

from SSRKDCore.errors import InputError
from SSRKDCore.reconstruction.field_evaluation import SparseOccupancy
from SSRKDCore.reconstruction.octree import evaluate_sparse
from SSRKDCore.reconstruction.search_tolerance import MOST_TOLERANCE_MM, checked_tolerance

#: The grids of the search have 33, 65 and 129 samples a side.
RESOLUTION = 129
#: By how much the margin of the fields below changes at most from one surface sample to the next.
_STEEPEST = 1.0


def _plane(z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Bone 1 on one side of an oblique plane: interpolation has no error."""
    logits = np.full((len(z), 5), -40.0, dtype=np.float32)
    logits[:, 0] = 0.0
    logits[:, 1] = 0.31 * z + 0.12 * y - 0.45 * x - 2.3037
    return logits


def _egg(z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A bone whose surface is curved, and curved differently everywhere."""
    squares = ((z - 60.2) / 30) ** 2 + ((y - 66.7) / 22) ** 2 + ((x - 58.1) / 41) ** 2
    logits = np.zeros((len(z), 5), dtype=np.float32)
    logits[:, 1:] = -9.0
    logits[:, 3] = 12.0 * (1.0 - np.sqrt(squares))
    return logits


def _wedge(z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Two planes that meet at an edge, where interpolation is off on any grid."""
    logits = np.zeros((len(z), 5), dtype=np.float32)
    logits[:, 1:] = -9.0
    logits[:, 2] = np.minimum(0.9 * z + 0.3 * y - 70.3, 0.8 * (100.4 - y) + 0.1 * x)
    return logits


@cache
def _noise() -> np.ndarray:
    generator = np.random.default_rng(8)
    volume = ndimage.gaussian_filter(generator.standard_normal((RESOLUTION,) * 3), 7.0)
    return np.asarray(volume / volume.std(), dtype=np.float32)


def _bumps(z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Smooth noise about a level, of a scale that the coarse grid cannot follow."""
    logits = np.zeros((len(z), 5), dtype=np.float32)
    logits[:, 1:] = -9.0
    logits[:, 4] = _noise()[z, y, x] - 1.5
    return logits


def _search(field: ArrayField, tolerance: float) -> tuple[SparseOccupancy, int]:
    """What the search finds, and how many samples it asked for on the finest grid alone."""
    finest = 0

    def counted(z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        nonlocal finest
        finest += int(((z % 2 == 1) | (y % 2 == 1) | (x % 2 == 1)).sum())
        return field(z, y, x)

    return evaluate_sparse(tensor_field(counted), RESOLUTION, tolerance=tolerance), finest


def _crossings(occupancy: SparseOccupancy, axis: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both ends (N, 3) of the edges along an axis whose labels differ, and where the kept logits put the surface on them (N,)."""
    ends = np.argwhere(np.diff(occupancy.labels.astype(int), axis=axis) != 0)
    others = ends.copy()
    others[:, axis] += 1
    return ends, others, _zero(*(occupancy.logits[occupancy.slots[tuple(end.T)] - 1] for end in (ends, others)))


def _zero(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Where along an edge the class of the first end loses to that of the second, from the logits (N, classes) of both."""
    own, other = first.argmax(axis=1), second.argmax(axis=1)
    rows = np.arange(len(first))
    here, there = first[rows, own] - first[rows, other], second[rows, own] - second[rows, other]
    return np.asarray(here / (here - there))


def _displacements(field: ArrayField, found: SparseOccupancy, exact: SparseOccupancy) -> np.ndarray:
    """How far apart, in spacings along the normal, two searches put the surface on the edges that both see it cross."""
    result = []
    for axis in range(3):
        ends, others, place = _crossings(exact, axis)
        same = (found.labels[tuple(ends.T)] == exact.labels[tuple(ends.T)]) & (
            found.labels[tuple(others.T)] == exact.labels[tuple(others.T)]
        )
        ends, others, place = ends[same], others[same], place[same]
        moved = _zero(*(found.logits[found.slots[tuple(end.T)] - 1] for end in (ends, others))) - place
        first, second = (field(*end.T) for end in (ends, others))
        own, other = first.argmax(axis=1), second.argmax(axis=1)
        rows = np.arange(len(ends))
        along = (first - second)[rows, own] - (first - second)[rows, other]
        squares = np.zeros(len(ends))
        for direction in range(3):
            step = np.zeros(3, dtype=int)
            step[direction] = 1
            before, after = np.maximum(ends - step, 0), np.minimum(ends + step, RESOLUTION - 1)
            change = (field(*after.T) - field(*before.T)) / (after - before)[:, direction, None]
            squares += (change[rows, own] - change[rows, other]) ** 2
        result.append(np.abs(moved * along) / np.sqrt(np.maximum(squares, along**2)))
    return np.concatenate(result)


@pytest.mark.parametrize("field", [_plane, _egg, _wedge, _bumps])
@pytest.mark.parametrize("tolerance", [0.05, 0.3])
def test_the_surface_stays_within_the_tolerance(field: ArrayField, tolerance: float) -> None:
    found, _ = _search(field, tolerance)
    exact, _ = _search(field, 0.0)
    off = _displacements(field, found, exact)
    assert len(off) > 10_000
    assert off.max() <= tolerance
    # Labels differ only at samples that the surface all but touches.
    different = np.argwhere(found.labels != exact.labels)
    assert len(different) < 0.5 * tolerance * len(off)
    margins = np.sort(field(*different.T), axis=1)
    assert np.all(margins[:, -1] - margins[:, -2] <= tolerance * _STEEPEST)


@pytest.mark.parametrize("field", [_plane, _egg, _wedge, _bumps])
def test_every_end_of_a_change_has_logits_that_give_its_label(field: ArrayField) -> None:
    occupancy, _ = _search(field, 0.3)
    for axis in range(3):
        ends, others, _ = _crossings(occupancy, axis)
        assert all((occupancy.slots[tuple(end.T)] > 0).all() for end in (ends, others))
    known = occupancy.slots > 0
    rows = occupancy.slots[known] - 1
    assert len(np.unique(rows)) == len(rows) == len(occupancy.logits) > occupancy.evaluated
    np.testing.assert_array_equal(occupancy.logits[rows].argmax(axis=1), occupancy.labels[known])


def test_where_interpolation_has_no_error_the_finest_grid_is_not_asked() -> None:
    occupancy, finest = _search(_plane, 0.01)
    exact, asked = _search(_plane, 0.0)
    np.testing.assert_array_equal(occupancy.labels, exact.labels)
    assert finest == 0
    assert asked > 10_000


def test_only_the_edge_of_a_wedge_is_asked_for() -> None:
    """Its planes are interpolated exactly; the edge is a line across the volume."""
    _, wedge = _search(_wedge, 0.05)
    _, asked = _search(_wedge, 0.0)
    assert 0 < wedge < 40 * RESOLUTION < asked


@pytest.mark.parametrize("radius", [0.9, 1.5, 2.5, 5.0])
def test_a_rod_that_hides_between_the_coarsest_samples_is_found(radius: float) -> None:
    """Samples of the starting grid are four apart; logits are limited as trained ones are."""
    direction = np.array([0.88, 0.36, -0.31])
    direction /= np.linalg.norm(direction)

    def rod(z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        away = np.stack([z, y, x], axis=1) - np.array([64.3, 61.8, 67.1])
        distance = np.linalg.norm(away - (away @ direction)[:, None] * direction, axis=1)
        logits = np.zeros((len(z), 5), dtype=np.float32)
        logits[:, 1:] = -9.0
        logits[:, 3] = np.clip(radius - distance, -8.0, 8.0)
        return logits

    found, _ = _search(rod, 0.3)
    z, y, x = np.indices((RESOLUTION,) * 3).reshape(3, -1)
    dense = rod(z, y, x).argmax(axis=1).reshape((RESOLUTION,) * 3)
    assert np.count_nonzero(dense) > 250
    differing = found.labels != dense
    margins = np.abs(rod(*np.argwhere(differing).T)[:, 3])
    assert np.all(margins <= 0.3) and differing.sum() < 0.1 * np.count_nonzero(dense)


def test_a_larger_tolerance_asks_for_less() -> None:
    counts = [_search(_bumps, tolerance)[0].evaluated for tolerance in (0.0, 0.05, 0.2, 0.5)]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] < 0.7 * counts[0]


def test_tolerances_that_are_refused() -> None:
    assert checked_tolerance(0.0) == 0.0
    assert checked_tolerance(MOST_TOLERANCE_MM) == MOST_TOLERANCE_MM
    for millimetres in (-0.1, 0.51, float("nan")):
        with pytest.raises(InputError, match="surface tolerance"):
            checked_tolerance(millimetres)

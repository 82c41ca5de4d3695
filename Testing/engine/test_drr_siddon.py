"""Line integrals against closed forms, a plain reference, and RTK's projector."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from SSRKDCore.drr.siddon import line_integrals
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.geometry.presets import central_view, preset
from SSRKDCore.geometry.view import View
from SSRKDCore.grid import Grid


def oblique_view(rows: int = 60, columns: int = 80, spacing: tuple[float, float] = (1.7, 1.1)) -> View:
    """A view along no axis, with unequal pixels, turned in its plane, the detector off the central ray."""
    beam = np.array([0.35, 0.85, 0.4]) / np.linalg.norm([0.35, 0.85, 0.4])
    across = np.cross(beam, [0.1, 0.2, 1.0])
    across /= np.linalg.norm(across)
    down = np.cross(beam, across)
    whole = central_view("oblique", beam, across, down, 500.0, 800.0, spacing, rows + 14, columns + 9, (3.0, -2.0, 5.0))
    return whole.cropped(4, 7, rows, columns)


def rays(view: View) -> tuple[np.ndarray, np.ndarray]:
    """Source (3,) and pixel centres (rows, columns, 3)."""
    rows, columns = np.meshgrid(np.arange(view.rows), np.arange(view.columns), indexing="ij")
    return np.array(view.source), view.pixel_position(rows, columns)


def ellipsoid_chords(view: View, center: np.ndarray, half_axes: np.ndarray) -> np.ndarray:
    """Length in mm of every ray inside an ellipsoid along the axes."""
    source, pixels = rays(view)
    start, step = (source - center) / half_axes, (pixels - source) / half_axes
    a, b, c = (step**2).sum(-1), (start * step).sum(-1), (start**2).sum(-1) - 1
    root = np.sqrt(np.maximum(b * b - a * c, 0.0))
    return 2 * root / a * np.linalg.norm(pixels - source, axis=-1)


def box_chords(view: View, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Length in mm of every ray, from source to pixel, inside a box."""
    source, pixels = rays(view)
    step = pixels - source
    with np.errstate(divide="ignore", invalid="ignore"):
        first, last = (low - source) / step, (high - source) / step
    enter = np.maximum(np.minimum(first, last).max(-1), 0.0)
    leave = np.minimum(np.maximum(first, last).min(-1), 1.0)
    return np.maximum(leave - enter, 0.0) * np.linalg.norm(step, axis=-1)


def ellipsoid_volume(grid: Grid, center: np.ndarray, half_axes: np.ndarray) -> np.ndarray:
    """Share of each voxel inside an ellipsoid, from 4 x 4 x 4 samples a voxel."""
    total = np.zeros(grid.shape)
    shifts = (np.arange(4) - 1.5) / 4
    x, y, z = grid.axes
    for dz in shifts:
        for dy in shifts:
            for dx in shifts:
                along = [
                    (axis + shift * step - middle) / half
                    for axis, shift, step, middle, half in zip(
                        (x, y, z), (dx, dy, dz), grid.spacing, center, half_axes, strict=True
                    )
                ]
                total += (along[0] ** 2 + (along[1] ** 2)[:, None] + (along[2] ** 2)[:, None, None]) <= 1.0
    return (total / 64).astype(np.float32)


def test_box_is_exact_in_an_oblique_view_with_unequal_pixels() -> None:
    grid = Grid((-20.0, -14.0, -31.0), (0.7, 1.3, 0.9), (50, 23, 41))
    view = oblique_view()
    image = line_integrals(np.full(grid.shape, 0.02, np.float32), grid, view)
    expected = 0.02 * box_chords(view, *grid.bounds)
    assert image.dtype == np.float32
    assert image.shape == (60, 80)
    assert 0 < np.count_nonzero(expected) < expected.size, "the view must see both the box and beside it"
    # float32 attenuation and result: 1e-7 relative; the sums are float64.
    np.testing.assert_allclose(image, expected, rtol=3e-7, atol=1e-7)


@pytest.mark.parametrize("half_axes", [(14.0, 14.0, 14.0), (9.0, 16.0, 12.0)], ids=["sphere", "ellipsoid"])
def test_sphere_and_ellipsoid(half_axes: tuple[float, float, float]) -> None:
    grid = Grid.cube((0.0, 0.0, 0.0), 44.0, 110)
    center = np.array([2.5, -1.5, 3.0])
    view = oblique_view()
    image = line_integrals(ellipsoid_volume(grid, center, np.array(half_axes)), grid, view)
    expected = ellipsoid_chords(view, center, np.array(half_axes))
    # Voxels of 0.4 mm with partial volume: a ray errs by half a voxel at each end of its chord at most, on average by
    # far less, and the errors cancel over the image; only grazing rays, whose chord changes fastest, err by more.
    assert np.abs(image - expected)[expected > 0].mean() < 0.2
    assert np.abs(image - expected).max() < 2.0
    assert image.sum() == pytest.approx(expected.sum(), rel=1.5e-3)


def test_left_stays_left_and_up_stays_up() -> None:
    """A small ball at the patient's left, anterior and superior lands where the view projects its centre."""
    ball = np.array([12.0, -9.0, 15.0])
    grid = Grid((-19.5, -19.5, -19.5), (1.0, 1.0, 1.0), (40, 40, 40))
    volume = ellipsoid_volume(grid, ball, np.full(3, 3.0))
    rig = preset("room", "right", pixel_spacing=(1.0, 0.5), rows=80, columns=160)
    for view in (*rig.views, oblique_view()):
        image = line_integrals(volume, grid, view)
        rows, columns = np.indices(image.shape)
        seen = np.array([(rows * image).sum(), (columns * image).sum()]) / image.sum()
        np.testing.assert_allclose(seen, view.project(ball)[0], atol=0.1)
    ap, lateral = (line_integrals(volume, grid, view) for view in rig.views)
    assert ap[:, 80:].sum() > 0 and ap[:, :80].sum() == 0, "the patient's left is on the right of an AP radiograph"
    assert ap[:40].sum() > 0 and ap[40:].sum() == 0, "superior is up"
    assert lateral[:, :80].sum() > 0 and lateral[:, 80:].sum() == 0, "anterior is at the left of a lateral radiograph"


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("sense", [1.0, -1.0])
def test_rays_along_an_axis(axis: int, sense: float) -> None:
    """The central ray is parallel to two families of planes; it must run through one row of voxels exactly."""
    generator = np.random.default_rng(axis)
    grid = Grid((-2.0, -3.0, -4.0), (1.0, 1.5, 2.0), (5, 5, 5))
    volume = generator.random((5, 5, 5)).astype(np.float32)
    beam, across = np.zeros(3), np.zeros(3)
    beam[axis], across[(axis + 1) % 3] = sense, 1.0
    view = central_view("axis", beam, across, np.cross(beam, across), 100.0, 200.0, (1.0, 1.0), 1, 1)
    line = volume[2, 2, :] if axis == 0 else volume[2, :, 2] if axis == 1 else volume[:, 2, 2]
    expected = line.astype(np.float64).sum() * grid.spacing[axis]
    assert line_integrals(volume, grid, view)[0, 0] == pytest.approx(expected, rel=1e-6)


def test_ray_in_the_plane_between_two_voxels_counts_once() -> None:
    grid = Grid((-0.5, -0.5, -0.5), (1.0, 1.0, 1.0), (2, 2, 2))
    view = central_view(
        "x", np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), np.array([0, 0, -1.0]), 50, 100, (1, 1), 1, 1
    )
    assert line_integrals(np.full((2, 2, 2), 3.0, np.float32), grid, view)[0, 0] == pytest.approx(6.0)


def test_source_or_detector_inside_the_volume() -> None:
    """Only the part between source and pixel counts."""
    grid = Grid.cube((0.0, 0.0, 0.0), 40.0, 20)
    volume = np.full(grid.shape, 0.5, np.float32)
    for source_x, detector_x in ((-3.3, 90.0), (-90.0, 4.7), (-6.1, 5.2)):
        view = View("inside", (source_x, 0.3, 0.4), (detector_x, -3.0, 3.0), (0, 1, 0), (0, 0, -1), (1.0, 1.0), 7, 7)
        expected = 0.5 * box_chords(view, *grid.bounds)
        assert expected.min() > 0
        np.testing.assert_allclose(line_integrals(volume, grid, view), expected, rtol=1e-6)


def test_linear_empty_and_missed() -> None:
    grid = Grid.cube((0.0, 0.0, 0.0), 30.0, 15)
    first, second = np.random.default_rng(3).random((2, *grid.shape)).astype(np.float32)
    view = oblique_view(30, 40)
    together = line_integrals(2 * first - 3 * second, grid, view)
    apart = 2 * line_integrals(first, grid, view) - 3 * line_integrals(second, grid, view)
    np.testing.assert_allclose(together, apart, atol=1e-4)
    assert not line_integrals(np.zeros(grid.shape, np.float32), grid, view).any()
    far = Grid.cube((0.0, 0.0, 5000.0), 30.0, 15)
    assert not line_integrals(first, far, view).any()


def test_bad_volumes_are_refused() -> None:
    grid = Grid.cube((0.0, 0.0, 0.0), 10.0, 4)
    view = oblique_view(3, 3)
    for value in (np.nan, np.inf, -np.inf):
        volume = np.zeros(grid.shape, np.float32)
        volume[1, 2, 3] = value
        with pytest.raises(InputError, match="NaN or infinite"):
            line_integrals(volume, grid, view)
    with pytest.raises(InputError, match="shape"):
        line_integrals(np.zeros((4, 4, 5), np.float32), grid, view)


def test_progress_and_cancellation() -> None:
    grid = Grid.cube((0.0, 0.0, 0.0), 10.0, 4)
    fractions: list[float] = []
    line_integrals(np.ones(grid.shape), grid, oblique_view(150, 3), lambda fraction, words: fractions.append(fraction))
    assert fractions == sorted(fractions) and fractions[-1] == 1.0 and len(fractions) == 3
    with pytest.raises(Cancelled):
        line_integrals(np.ones(grid.shape), grid, oblique_view(150, 3), cancelled=lambda: True)


def plain_integral(volume: np.ndarray, grid: Grid, source: np.ndarray, target: np.ndarray) -> float:
    """Siddon as the paper writes it: all crossings sorted, the voxel of each piece from its middle."""
    edges = [
        low + step * np.arange(count + 1)
        for low, step, count in zip(grid.bounds[0], grid.spacing, grid.shape[::-1], strict=True)
    ]
    direction = target - source
    with np.errstate(over="ignore", invalid="ignore"):
        crossings = np.concatenate(
            [(edge - s) / d for edge, s, d in zip(edges, source, direction, strict=True) if d != 0]
        )
    crossings = np.unique(np.concatenate([[0.0, 1.0], crossings[(crossings > 0) & (crossings < 1)]]))
    middle = (crossings[1:] + crossings[:-1]) / 2
    index = np.floor((source + middle[:, None] * direction - grid.bounds[0]) / grid.spacing).astype(int)
    inside = ((index >= 0) & (index < np.array(grid.shape[::-1]))).all(axis=1)
    x, y, z = index[inside].T
    return float((volume[z, y, x] * np.diff(crossings)[inside]).sum() * np.linalg.norm(direction))


coordinate = st.floats(-30, 30, allow_nan=False)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 7)),
    source=st.tuples(coordinate, coordinate, coordinate),
    turn=st.tuples(st.integers(0, 3), st.floats(-1, 1), st.floats(-1, 1)),
    distance=st.floats(5, 60),
)
def test_any_small_volume_equals_the_plain_reference(
    seed: int,
    shape: tuple[int, int, int],
    source: tuple[float, float, float],
    turn: tuple[int, float, float],
    distance: float,
) -> None:
    generator = np.random.default_rng(seed)
    grid = Grid(tuple(generator.uniform(-5, 5, 3)), tuple(generator.uniform(0.3, 4.0, 3)), shape)
    volume = generator.normal(size=shape).astype(np.float32)
    beam = np.array([turn[1], turn[2], 0.0])
    beam[turn[0] % 3] += 1.5
    beam /= np.linalg.norm(beam)
    across = np.cross(beam, [0.3, 0.5, 0.8])
    across /= np.linalg.norm(across)
    first = np.array(source) + distance * beam
    view = View("any", source, tuple(first), tuple(across), tuple(np.cross(beam, across)), (3.1, 4.3), 3, 4)
    image = line_integrals(volume, grid, view)
    start, pixels = rays(view)
    expected = [[plain_integral(volume, grid, start, pixels[r, c]) for c in range(4)] for r in range(3)]
    # A ray that grazes an edge may give a hair's length to either voxel.
    np.testing.assert_allclose(image, expected, rtol=1e-5, atol=1e-4)


def test_agrees_with_rtk() -> None:
    """RTK's Joseph projector interpolates between voxels, so smooth objects agree to a fraction of a percent, not
    exactly."""
    itk = pytest.importorskip("itk", reason="itk-rtk is not installed: no independent projector to compare with")
    if not hasattr(itk, "RTK"):
        pytest.skip("itk-rtk is not installed: no independent projector to compare with")
    rtk = itk.RTK
    grid = Grid((-40.0, -30.0, -50.0), (1.0, 1.1, 0.9), (110, 60, 80))
    x, y, z = grid.axes
    x, y, z = x[None, None, :], y[None, :, None], z[:, None, None]
    volume = np.exp(-(((x - 8) / 14) ** 2) - ((y + 4) / 11) ** 2 - ((z - 10) / 20) ** 2)
    volume += 0.5 * np.exp(-(((x + 15) / 7) ** 2) - ((y - 6) / 7) ** 2 - ((z + 12) / 9) ** 2)
    volume = volume.astype(np.float32)
    view = oblique_view()
    point, vector, image_type = itk.Point[itk.D, 3], itk.Vector[itk.D, 3], itk.Image[itk.F, 3]

    def triple(kind: type, values: tuple[float, float, float]) -> object:
        item = kind()
        for index, value in enumerate(values):
            item.SetElement(index, value)
        return item

    geometry = rtk.ThreeDCircularProjectionGeometry.New()
    assert geometry.AddProjection(
        triple(point, view.source),
        triple(point, view.detector_origin),
        triple(vector, view.column_direction),
        triple(vector, view.row_direction),
    )
    empty = itk.image_from_array(np.zeros((1, view.rows, view.columns), np.float32))
    empty.SetSpacing([view.pixel_spacing[1], view.pixel_spacing[0], 1.0])
    body = itk.image_from_array(volume)
    body.SetOrigin(list(grid.origin))
    body.SetSpacing(list(grid.spacing))
    projector = rtk.JosephForwardProjectionImageFilter[image_type, image_type].New()
    projector.SetInput(0, empty)
    projector.SetInput(1, body)
    projector.SetGeometry(geometry)
    projector.Update()
    theirs = itk.array_from_image(projector.GetOutput())[0]
    ours = line_integrals(volume, grid, view)
    difference = float(np.abs(ours - theirs).sum() / theirs.sum())
    print(f"relative L1 difference to RTK: {difference:.5f}")
    assert difference < 0.004

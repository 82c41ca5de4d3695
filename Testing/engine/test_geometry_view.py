"""Views: projection, its inverse, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.presets import central_view, preset
from SSRKDCore.geometry.view import View


def _oblique_view(angles: tuple[float, float, float] = (20.0, -35.0, 50.0)) -> View:
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    return central_view("any", turn[2], turn[0], turn[1], 800.0, 1300.0, (0.3, 0.7), 400, 300, (10.0, -20.0, 30.0))


def test_hand_computed_projection() -> None:
    # Room preset: source 1000 mm in front, detector 150 mm behind; a point 23 mm to the patient's left and 46 mm up, in the plane of
    # the isocentre, lands 26.45 mm and 52.9 mm from the detector's centre; pixels of 0.4 mm, centre at 537.
    pixels, depth = preset("room").view("ap").project([23.0, 0.0, 46.0])
    assert pixels == pytest.approx([537 - 52.9 / 0.4, 537 + 26.45 / 0.4], abs=1e-9)
    assert depth == pytest.approx(1000.0)


def test_axes_of_an_ap_and_a_lateral_image() -> None:
    # Left of the patient is right on the AP image, superior is up, posterior is right on the lateral image - for both knees.
    for side in ("right", "left"):
        rig = preset("room", side)
        center, left, up, back = (rig.view("ap").project(p)[0] for p in ([0, 0, 0], [10, 0, 0], [0, 0, 10], [0, 10, 0]))
        assert left[1] > center[1] and up[0] < center[0] and back == pytest.approx(center)
        center, left, up, back = (
            rig.view("lateral").project(p)[0] for p in ([0, 0, 0], [10, 0, 0], [0, 0, 10], [0, 10, 0])
        )
        assert back[1] > center[1] and up[0] < center[0] and left == pytest.approx(center)
    # Mediolateral: the tube stands on the medial side, which is the patient's left of a right knee.
    assert preset("room", "right").view("lateral").source[0] > 0 > preset("room", "left").view("lateral").source[0]


def test_pixel_position_and_project_are_inverse() -> None:
    view = _oblique_view()
    rows, columns = np.array([0.0, 10.5, 399.0]), np.array([0.0, 299.0, 17.25])
    on_detector = view.pixel_position(rows, columns)
    source = np.array(view.source)
    for fraction in (0.2, 0.6, 1.0):
        pixels, depth = view.project(source + fraction * (on_detector - source))
        assert np.allclose(pixels, np.stack([rows, columns], axis=1), atol=1e-8)
        assert depth == pytest.approx(fraction * view.source_to_detector)


def test_projection_matrix_is_a_plain_pinhole() -> None:
    # The same camera, written the textbook way: K [R | -R C].
    view = _oblique_view()
    rotation = np.stack([view.row_direction, view.column_direction, view.normal])
    principal, _ = view.project(np.array(view.source) + 100 * view.normal)
    intrinsics = np.array(
        [
            [view.source_to_detector / view.pixel_spacing[0], 0, principal[0]],
            [0, view.source_to_detector / view.pixel_spacing[1], principal[1]],
            [0, 0, 1],
        ]
    )
    expected = intrinsics @ np.concatenate([rotation, -(rotation @ np.array(view.source))[:, None]], axis=1)
    assert np.allclose(view.projection_matrix, expected, atol=1e-7)


def test_published_frame_reproduces_the_published_projection() -> None:
    """The released code's arithmetic, written down from its description: rotate by -angle, scale by DSD / (DSO - x), divide by the
    half width of the detector; row coordinate from -z, column coordinate from y."""
    rig = preset("published")
    normalised = np.random.default_rng(0).uniform(-1.0, 1.0, (200, 3))
    for angle, view in zip(np.radians([0.0, 90.0]), rig.views, strict=True):
        millimetres = normalised * 128.0
        turned_x = np.cos(angle) * millimetres[:, 0] + np.sin(angle) * millimetres[:, 1]
        turned_y = -np.sin(angle) * millimetres[:, 0] + np.cos(angle) * millimetres[:, 1]
        scale = 2000.0 / (1000.0 - turned_x) / (512 * 0.575 / 2)
        expected = np.stack([-millimetres[:, 2] * scale, turned_y * scale], axis=1)
        pixels, _ = view.project(millimetres)
        assert np.allclose((pixels + 0.5) * 2 / 512 - 1, expected, atol=1e-12)


def test_points_behind_the_source_have_no_pixel() -> None:
    pixels, depth = preset("room").view("ap").project([[0.0, -1000.0, 0.0], [0.0, -1200.0, 0.0], [0.0, 0.0, 0.0]])
    assert np.isnan(pixels[:2]).all() and np.isfinite(pixels[2]).all()
    assert depth == pytest.approx([0.0, -200.0, 1000.0])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-180, 180), min_size=3, max_size=3), st.lists(st.floats(-500, 500), min_size=3, max_size=3))
def test_moving_rig_and_point_together_changes_no_pixel(angles: list[float], shift: list[float]) -> None:
    view = _oblique_view()
    move = np.eye(4)
    move[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    move[:3, 3] = shift
    points = np.array([[5.0, 6.0, 7.0], [-40.0, 30.0, 60.0]])
    moved = points @ move[:3, :3].T + move[:3, 3]
    assert np.allclose(view.transformed(move).project(moved)[0], view.project(points)[0], atol=1e-6)


def test_mirroring_keeps_pixels_and_swaps_sides() -> None:
    rig = preset("room", "right")
    mirrored = rig.transformed(np.diag([-1.0, 1.0, 1.0, 1.0]))
    point = np.array([12.0, -30.0, 25.0])
    for name in ("ap", "lateral"):
        assert np.allclose(mirrored.view(name).project(point * [-1, 1, 1])[0], rig.view(name).project(point)[0])
    assert mirrored.view("lateral").source == pytest.approx(preset("room", "left").view("lateral").source)


def test_cropping_and_resampling_keep_positions() -> None:
    view = _oblique_view()
    point = [15.0, -10.0, 40.0]
    row, column = view.project(point)[0]
    assert view.cropped(7, 11, 100, 90).project(point)[0] == pytest.approx([row - 7, column - 11])
    half = view.resampled(200, 150)
    assert half.project(point)[0] == pytest.approx([(row + 0.5) / 2 - 0.5, (column + 0.5) / 2 - 0.5])


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"source": [0.0, float("nan"), 0.0]}, "source"),
        ({"source": [0.0, 0.0]}, "source"),
        ({"pixel_spacing": [0.4, 0.0]}, "pixel_spacing"),
        ({"pixel_spacing": [0.4, -1.0]}, "pixel_spacing"),
        ({"rows": 0}, "rows"),
        ({"columns": 10**9}, "columns"),
        ({"rows": 3.5}, "rows"),
        ({"column_direction": [2.0, 0.0, 0.0]}, "unit"),
        ({"column_direction": [0.0, 0.0, 1.0]}, "perpendicular"),
        ({"source": [0.0, 150.0, 0.0]}, "source lies on the detector"),
        ({"name": ""}, "name"),
    ],
)
def test_refused_views(change: dict, word: str) -> None:
    values = preset("room").to_dict()["views"][0] | change
    with pytest.raises(InputError, match=word):
        View(**values)

"""A view from a calibration object: exact on exact points, as precise as the Cramer-Rao bound allows, and refusing what leaves it open."""

from __future__ import annotations

import calibration_scenes as scenes
import numpy as np
import pytest

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.calibration.direct_linear_transform import decomposed, projection_matrix
from SSRKDCore.geometry.calibration.marker_detection import detect_markers
from SSRKDCore.geometry.calibration.marker_matching import match_markers
from SSRKDCore.geometry.calibration.marker_object import MarkerObject
from SSRKDCore.geometry.calibration.object_rig import ObjectImage, calibrated_view
from SSRKDCore.geometry.calibration.view_refinement import MarkerCalibration, view_from_markers
from SSRKDCore.geometry.view import View

SPACING = (0.4, 0.4)


def cage() -> MarkerObject:
    return MarkerObject.from_dict(
        {"schema": "ssrkd-calibration-object/1", "unit": "mm", "markers": scenes.marker_cage(), "diameter": 5.0}
    )


def oblique_view() -> View:
    """Nothing about it is central, parallel to an axis, or square to the object."""
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    if np.linalg.det(turn) < 0:
        turn[0] *= -1
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, [3.0, -8.0, 5.0]
    return scenes.ap_view(540, 560).transformed(matrix)


def mirrored(view: View) -> View:
    """The same detector, its columns counted from the other side (an image seen from the detector instead of from the tube)."""
    far = view.pixel_position(0, view.columns - 1)
    back = tuple(-value for value in view.column_direction)
    return View("ap", view.source, tuple(far), back, view.row_direction, view.pixel_spacing, view.rows, view.columns)


@pytest.mark.parametrize(
    "view", [scenes.ap_view(), oblique_view(), mirrored(oblique_view())], ids=["ap", "oblique", "mirrored"]
)
def test_the_direct_linear_transform_is_exact_on_exact_points(view: View) -> None:
    points = cage().points
    pixels, _ = view.project(points)
    pinhole = decomposed(projection_matrix(points, pixels), points)
    np.testing.assert_allclose(pinhole.project(points), pixels, atol=1e-8)
    np.testing.assert_allclose(pinhole.source, view.source, atol=1e-6)
    assert abs(pinhole.skew) < 1e-6
    again = pinhole.view("ap", view.source_to_detector, view.rows, view.columns)
    np.testing.assert_allclose(again.pixel_spacing, view.pixel_spacing, rtol=1e-8)
    np.testing.assert_allclose(again.detector_origin, view.detector_origin, atol=1e-6)


@pytest.mark.parametrize("view", [oblique_view(), mirrored(oblique_view())], ids=["oblique", "mirrored"])
def test_a_view_comes_back_whole(view: View) -> None:
    points = cage().points
    found = view_from_markers("ap", points, view.project(points)[0], view.rows, view.columns, SPACING).view
    for name in ("source", "detector_origin", "column_direction", "row_direction", "pixel_spacing"):
        np.testing.assert_allclose(getattr(found, name), getattr(view, name), rtol=1e-7, atol=1e-5)
    assert found.source_to_detector == pytest.approx(view.source_to_detector, rel=1e-7)


def test_only_the_ratio_of_distance_and_pitch_is_seen() -> None:
    view, points = oblique_view(), cage().points
    pixels = view.project(points)[0]
    other = view_from_markers("ap", points, pixels, view.rows, view.columns, source_to_detector=2300.0).view
    assert other.pixel_spacing == pytest.approx((0.8, 0.8), rel=1e-6)
    np.testing.assert_allclose(other.project(points)[0], pixels, atol=1e-6)
    with pytest.raises(InputError, match="ratio"):
        view_from_markers("ap", points, pixels, view.rows, view.columns)


def test_noise_widens_the_parameters_as_the_cramer_rao_bound_says() -> None:
    view, points = oblique_view(), cage().points
    exact = view.project(points)[0]
    generator = np.random.default_rng(0)
    found, stated, noise = [], [], []
    for _ in range(50):
        result = view_from_markers(
            "ap", points, exact + generator.normal(0, 0.1, exact.shape), view.rows, view.columns, SPACING, 1150.0
        )
        axes = np.stack([view.row_direction, view.column_direction, view.normal])
        found.append(axes @ np.array(result.view.source))
        stated.append([result.parameters[f"source_along_{name}_mm"][1] for name in ("rows", "columns", "beam")])
        noise.append(result.noise_px)
        assert not result.outliers
    assert np.sqrt(np.mean(np.square(noise))) == pytest.approx(0.1, rel=0.1)
    # 50 draws give a standard deviation to about 10 %.
    np.testing.assert_allclose(np.std(found, axis=0, ddof=1), np.sqrt(np.mean(np.square(stated), axis=0)), rtol=0.3)


def test_a_wrong_marker_is_named_and_left_out() -> None:
    view, calibration_object = oblique_view(), cage()
    pixels = view.project(calibration_object.points)[0] + np.random.default_rng(1).normal(0, 0.1, (12, 2))
    pixels[4] += [6.0, -4.0]
    result = view_from_markers(
        "ap", calibration_object.points, pixels, view.rows, view.columns, SPACING, marker_names=calibration_object.names
    )
    assert result.outliers == ["m4"]
    assert np.linalg.norm(result.residual_px[4]) == pytest.approx(np.hypot(6, 4), abs=1.5)
    assert result.to_dict()["rms_px"] < 0.25
    assert result.residual_mm[4] == pytest.approx(np.hypot(6, 4) * 0.4 / 1.15, rel=0.3)


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([[x, y, 0.0] for x in range(0, 90, 30) for y in range(0, 90, 30)], "plane"),
        ([[x, 0.5 * x, 2.0 * x] for x in range(0, 90, 10)], "plane or line"),
        ([[0.0, 0, 0], [50, 0, 0], [0, 50, 0], [0, 0, 50], [50, 50, 50]], "5 usable markers"),
    ],
)
def test_objects_that_leave_a_view_open_are_refused(points: list[list[float]], words: str) -> None:
    markers = {str(i): point for i, point in enumerate(points)}
    with pytest.raises(InputError, match=words):
        MarkerObject.from_dict({"schema": "ssrkd-calibration-object/1", "unit": "mm", "markers": markers})
    with pytest.raises(InputError, match=words):
        projection_matrix(points, np.random.default_rng(0).normal(size=(len(points), 2)))


@pytest.mark.parametrize("view", [oblique_view(), mirrored(oblique_view())], ids=["oblique", "mirrored"])
def test_beads_are_found_matched_and_give_the_view(view: View) -> None:
    calibration_object = cage()
    image = np.random.default_rng(2).normal(1.0, 0.02, (view.rows, view.columns))
    for point in calibration_object.points[1:]:
        image += 0.3 * scenes.sphere_chords(view, point, 2.5)
    discs = detect_markers(image, (4.0, 11.0))
    places = np.array([[disc.row, disc.column] for disc in discs])
    exact = view.project(calibration_object.points)[0]
    found = np.linalg.norm(exact[1:, None] - places[None], axis=2).min(axis=1)
    assert np.sqrt(np.mean(found**2)) < 0.1
    matching = match_markers(calibration_object.points, places)
    # The first marker is hidden, and no disc may be taken for it.
    assert sorted(matching.markers) == list(range(1, 12))
    result = view_from_markers(
        "ap", calibration_object.points[matching.markers], places[matching.discs], view.rows, view.columns, SPACING
    )
    center = calibration_object.points.mean(axis=0)
    assert result.view.magnification(center) == pytest.approx(view.magnification(center), rel=5e-3)
    assert result.to_dict()["rms_px"] < 0.15


def test_dark_holes_are_found_as_dark_and_not_as_bright() -> None:
    view = scenes.ap_view(300, 300)
    image = 2.0 - 0.2 * scenes.sphere_chords(view, [10.0, 0.0, 20.0], 3.0)
    exact = view.project([10.0, 0.0, 20.0])[0]
    (disc,) = detect_markers(image, (6.0, 10.0), "dark")
    np.testing.assert_allclose([disc.row, disc.column], exact, atol=0.05)
    assert not detect_markers(image, (6.0, 10.0), "bright")


def test_a_symmetric_object_must_be_picked_by_name() -> None:
    view = scenes.ap_view()
    points = np.array([[x, y, z] for x in (-40.0, 40.0) for y in (-40.0, 40.0) for z in (-40.0, 40.0)])
    pixels = view.project(points)[0]
    with pytest.raises(InputError, match="symmetric"):
        match_markers(points, pixels)


def test_picked_markers_must_be_rows_and_columns_of_the_image() -> None:
    points, view = cage(), scenes.ap_view(540, 560)
    image = np.random.default_rng(0).normal(1.0, 0.02, (view.rows, view.columns))
    for point in points.points:
        image += 0.3 * scenes.sphere_chords(view, point, 2.5)
    pixels = view.project(points.points)[0]

    def picked(places: np.ndarray) -> MarkerCalibration:
        names = dict(zip(points.names, places.tolist(), strict=True))
        return calibrated_view(ObjectImage("ap", "ap.png", image, SPACING, None, names), points, "bright")

    np.testing.assert_allclose(picked(pixels + 1.0).view.project(points.points)[0], pixels, atol=0.6)
    # A view of exchanged axes would fit these without any residual.
    with pytest.raises(InputError, match="only with row and column exchanged"):
        picked(pixels[:, ::-1])
    for wrong in (-30.0, 545.0, float("nan")):
        with pytest.raises(InputError, match=r"'m2' is picked outside ap\.png with its 540 x 560 pixels"):
            picked(np.where(np.arange(len(pixels))[:, None] == 2, [wrong, 100.0], pixels))


def test_discs_of_something_else_are_refused() -> None:
    with pytest.raises(InputError, match=r"do not fit|more than one"):
        match_markers(cage().points, np.random.default_rng(8).uniform(0, 400, (11, 2)))

"""What a network sees: exact positions whatever the detector's orientation, and nothing mirrored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from SSRKDCore.geometry import FieldOfView, View, preset
from SSRKDCore.geometry.network_view import network_view, resample_to_view


def _reoriented(view: View, image: np.ndarray, kind: str) -> tuple[View, np.ndarray]:
    """The same physical radiograph, stored upside down, left to right, or on its side."""
    rows, columns = image.shape
    if kind == "rows":
        origin = view.pixel_position(rows - 1, 0)
        turned = replace(view, detector_origin=tuple(origin), row_direction=tuple(-np.array(view.row_direction)))
        return turned, image[::-1]
    if kind == "columns":
        origin = view.pixel_position(0, columns - 1)
        turned = replace(view, detector_origin=tuple(origin), column_direction=tuple(-np.array(view.column_direction)))
        return turned, image[:, ::-1]
    if kind == "side":
        turned = replace(
            view, column_direction=view.row_direction, row_direction=view.column_direction,
            pixel_spacing=view.pixel_spacing[::-1], rows=columns, columns=rows,
        )  # fmt: skip
        return turned, image.T
    return view, image


@pytest.mark.parametrize("kind", ["as it is", "rows", "columns", "side"])
@pytest.mark.parametrize("name", ["ap", "lateral"])
def test_a_landmark_lands_where_the_derived_view_says(kind: str, name: str) -> None:
    # A dense blob at the projection of one asymmetric point must appear at that point's place in the network's image.
    original = preset("room", "left", pixel_spacing=(0.5, 0.35), rows=860, columns=1229).view(name)
    cube = FieldOfView((5.0, -8.0, 12.0), 150.0)
    point = np.array([31.0, -22.0, 47.0])
    row, column = original.project(point)[0]
    rows, columns = np.mgrid[: original.rows, : original.columns]
    blob = np.exp(-(((rows - row) * 0.5) ** 2 + ((columns - column) * 0.35) ** 2) / (2 * 2.0**2))
    view, image = _reoriented(original, blob, kind)
    assert view.project(point)[0] == pytest.approx(np.unravel_index(image.argmax(), image.shape), abs=0.51)

    derived = network_view(view, cube, 256)
    resampled, coverage = resample_to_view(image, view, derived)
    weight = resampled / resampled.sum()
    found = [(weight * axis).sum() for axis in np.mgrid[:256, :256]]
    assert found == pytest.approx(derived.project(point)[0], abs=0.02)
    assert coverage.min() == pytest.approx(1.0)
    # Upright: superior is up, and left (AP) or posterior (lateral) is on the right.
    up, across = derived.row_direction, derived.column_direction
    assert up[2] < -0.99 and across[0 if name == "ap" else 1] > 0.99


def test_all_corners_of_the_cube_are_inside_and_touch_the_rim() -> None:
    for name in ("paper", "room", "c_arm"):
        rig = preset(name)
        for view in rig.views:
            derived = network_view(view, rig.field_of_view, 256)
            pixels = derived.project(rig.field_of_view.corners)[0]
            assert pixels.min() == pytest.approx(-0.5, abs=1e-6) or pixels.max() == pytest.approx(255.5, abs=1e-6)
            assert pixels.min() >= -0.5 - 1e-6 and pixels.max() <= 255.5 + 1e-6
            assert derived.project(rig.field_of_view.center)[0] == pytest.approx([127.5, 127.5])


def test_shrinking_averages_and_keeps_constants() -> None:
    rig = preset("room", pixel_spacing=(0.1, 0.1), rows=3000, columns=3000)
    view = rig.view("ap")
    noise = np.random.default_rng(0).normal(3.0, 1.0, (3000, 3000)).astype(np.float32)
    resampled, _ = resample_to_view(noise, view, network_view(view, rig.field_of_view, 128))
    # 1.56 mm per network pixel, so a triangle filter over about 31 x 31 pixels: its weights' norm is 2/3 of a pixel of that size.
    assert resampled.mean() == pytest.approx(3.0, abs=0.02)
    assert resampled.std() < 0.06


def test_outside_the_detector_there_is_no_signal() -> None:
    rig = preset("paper", field_of_view_size=300.0)
    view = rig.view("ap")
    resampled, coverage = resample_to_view(
        np.ones((view.rows, view.columns)), view, network_view(view, rig.field_of_view, 256)
    )
    assert coverage[0, 0] == 0 and coverage[128, 128] == pytest.approx(1.0)
    assert np.allclose(resampled, coverage, atol=1e-6)


def test_images_that_do_not_fit_are_refused() -> None:
    rig = preset("room")
    view = rig.view("ap")
    with pytest.raises(ValueError, match="the image is"):
        resample_to_view(np.ones((10, 10)), view, network_view(view, rig.field_of_view, 64))
    with pytest.raises(ValueError, match="plane"):
        resample_to_view(
            np.ones((view.rows, view.columns)), view, network_view(rig.view("lateral"), rig.field_of_view, 64)
        )


def test_every_sample_is_the_mean_of_the_pixels_under_its_triangle() -> None:
    rig = preset("room", "right", rows=300, columns=310, pixel_spacing=(1.0, 1.1))
    view = rig.view("lateral")
    target = network_view(view, rig.field_of_view, 40)
    image = np.random.default_rng(0).random((300, 310))
    found, coverage = resample_to_view(image, view, target)
    row, column = 17, 22
    place, _ = view.project(target.pixel_position(row, column)[None])
    step = np.array(target.pixel_spacing) / np.array(view.pixel_spacing)
    weights = [
        np.clip(1 - np.abs(np.arange(size) - place[0, axis]) / step[axis], 0, None)
        for axis, size in enumerate(image.shape)
    ]
    expected = weights[0] @ image @ weights[1] / (weights[0].sum() * weights[1].sum())
    assert coverage[row, column] == pytest.approx(1.0, abs=1e-6)
    assert found[row, column] == pytest.approx(expected, rel=1e-6)

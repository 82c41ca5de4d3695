"""Two views of one body: their scales and heights must agree, and a misstated one is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from trust_scenes import balls, room, shadow

from SSRKDCore.geometry.epipolar_rows import HEIGHTS_MM, epipolar_rows
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.radiographs.presentation_curve import PresentationCurve
from SSRKDCore.radiographs.radiograph import DicomGeometry, Radiograph
from SSRKDCore.surface_files import read_bone_surfaces
from SSRKDCore.trust.stand_ins import exchanged, stand_in, with_magnification
from SSRKDCore.trust.stated_geometry import largest_contradiction
from SSRKDCore.trust.view_scales import ScaleDisagreement, scale_disagreement


def _knee(repository: Path, side: str) -> tuple[list[NDArray[np.float32]], Rig]:
    """The sample's bones in soft tissue, the left knee that they are or its mirror image, in a radiography room; its images and rig."""
    matrix = np.diag([1.0 if side == "left" else -1.0, 1.0, 1.0, 1.0])
    bones = {
        name: bone.transformed(matrix) for name, bone in read_bone_surfaces(repository / "Resources/SampleCase").items()
    }
    images, rig, found = stand_in("knee", bones, 3)
    assert found == side
    return [image.pixels for image in images], rig


@pytest.fixture(scope="module", params=["right", "left"])
def knee(request: pytest.FixtureRequest, repository: Path) -> tuple[list[NDArray[np.float32]], Rig]:
    return _knee(repository, request.param)


def _found(images: Sequence[NDArray[np.float32]], stated: Rig) -> ScaleDisagreement:
    found = scale_disagreement(images, stated.views, stated.field_of_view)
    assert found is not None
    return found


def test_true_views_agree(knee: tuple[list[NDArray[np.float32]], Rig]) -> None:
    found = _found(*knee)
    assert abs(found.percent) < found.known_to_percent <= 3.0
    assert abs(found.shift_mm) < found.known_to_mm <= 3.0


@pytest.mark.parametrize("percent", [-6.0, -3.0, 3.0, 6.0])
def test_a_misstated_magnification_of_one_view_is_measured(
    knee: tuple[list[NDArray[np.float32]], Rig], percent: float
) -> None:
    images, rig = knee
    # Pixels that are said to be larger make the view seem to magnify more than the rig's source and detector do.
    for name, sign in (("lateral", 1.0), ("ap", -1.0)):
        found = _found(images, with_magnification(rig, (name,), percent))
        assert found.percent == pytest.approx(sign * percent, abs=found.known_to_percent)


def test_the_same_views_in_the_other_order_disagree_the_other_way(knee: tuple[list[NDArray[np.float32]], Rig]) -> None:
    images, rig = knee
    stated = with_magnification(rig, ("lateral",), 5.0)
    found = scale_disagreement(images[::-1], stated.views[::-1], stated.field_of_view)
    assert found is not None
    assert found.percent == pytest.approx(-5.0, abs=found.known_to_percent) and found.known_to_percent < 3.0


def test_a_common_scale_of_both_views_cannot_be_seen(knee: tuple[list[NDArray[np.float32]], Rig]) -> None:
    images, rig = knee
    found = _found(images, with_magnification(rig, ("ap", "lateral"), 8.0))
    assert abs(found.percent) < found.known_to_percent


def test_a_height_that_differs_is_measured(knee: tuple[list[NDArray[np.float32]], Rig]) -> None:
    images, rig = knee
    matrix = np.eye(4)
    matrix[2, 3] = 3.0
    stated = Rig((rig.views[0], rig.view("lateral").transformed(matrix)), rig.field_of_view)
    found = _found(images, stated)
    assert found.shift_mm == pytest.approx(3.0, abs=found.known_to_mm) and found.known_to_mm < 3.0


def test_a_screen_tells_the_scale_too(repository: Path) -> None:
    """Display curves with local contrast, another for each view."""
    images, rig = _knee(repository, "left")
    curves = [PresentationCurve(2.2, 3.4, 0.6), PresentationCurve(1.8, 4.0, 0.3)]
    shown = [curve.applied(image) for curve, image in zip(curves, images, strict=True)]
    for percent in (0.0, 5.0):
        found = _found(shown, with_magnification(rig, ("lateral",), percent))
        assert found.percent == pytest.approx(percent, abs=min(found.known_to_percent, 3.0))


def test_brightness_does_not_matter(knee: tuple[list[NDArray[np.float32]], Rig]) -> None:
    images, rig = knee
    found, other = _found(images, rig), _found([5.0 * images[0] + 3.0, images[1]], rig)
    assert other.percent == pytest.approx(found.percent, abs=0.05)


def test_what_shows_no_knee_does_not_tell_its_scale(repository: Path) -> None:
    images, rig = _knee(repository, "left")
    generator = np.random.default_rng(4)
    noise = [generator.normal(1.0, 0.2, image.shape).astype(np.float32) for image in images]
    assert _found(noise, rig).known_to_percent > 3.0


@pytest.mark.parametrize("side", ["right", "left"])
def test_rows_of_both_views_show_the_same_slices(side: str) -> None:
    rig = room(side)
    center = np.array(rig.field_of_view.center)
    for solid in balls(side):
        edges = []
        for view, other in zip(rig.views, reversed(rig.views), strict=True):
            rows = epipolar_rows(shadow(view, [solid]), view, other, center)
            seen = HEIGHTS_MM[np.nan_to_num(rows).max(axis=1) > 0.05]
            edges.append((seen[0], seen[-1]))
        # Planes through both sources touch the ball at the same heights; a pixel is about a millimetre.
        np.testing.assert_allclose(edges[0], edges[1], atol=1.1)
        middle = (edges[0][0] + edges[0][1]) / 2 + center[2]
        assert middle == pytest.approx(solid[0][2], abs=2.5)


def test_fine_pixels_are_averaged_and_the_far_side_is_not_shown() -> None:
    rig = room("right")
    view, other, center = rig.views[0], rig.views[1], np.array(rig.field_of_view.center)
    coarse = epipolar_rows(shadow(view, balls("right")), view, other, center)
    fine_view = view.resampled(4 * view.rows, 4 * view.columns)
    fine = epipolar_rows(shadow(fine_view, balls("right")), fine_view, other, center)
    both = np.isfinite(coarse) & np.isfinite(fine)
    assert both.mean() > 0.5 and np.abs(coarse - fine)[both].mean() < 0.01 * np.nanmax(coarse)
    narrow = epipolar_rows(shadow(view, balls("right"))[:, :100], view, other, center)
    assert np.isnan(narrow).mean() > np.isnan(coarse).mean()


def test_a_view_along_the_leg_shows_no_rows() -> None:
    rig = room("right")
    center, image = np.array(rig.field_of_view.center), np.ones((300, 300), np.float32)
    turn = np.eye(4)
    turn[:3, :3] = [[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]
    turn[:3, 3] = center - turn[:3, :3] @ center
    axial = rig.view("ap").transformed(turn)
    assert np.isnan(epipolar_rows(image, axial, rig.view("lateral"), center)).all()
    assert scale_disagreement([image, image], [axial, rig.view("lateral")], rig.field_of_view) is None


def test_blank_images_say_nothing() -> None:
    rig = room("right")
    assert scale_disagreement([np.ones((300, 300))] * 2, rig.views, rig.field_of_view) is None


def test_spoiling_is_what_it_says() -> None:
    rig = room("right")
    point = np.array(rig.field_of_view.center) + np.array([[0.0, 0.0, 40.0]])
    middle = np.array([(299) / 2, (299) / 2])
    before = rig.view("ap").project(point)[0] - middle
    after = with_magnification(rig, ("ap",), 10.0).view("ap").project(point)[0] - middle
    np.testing.assert_allclose(after * 1.1, before)
    pair = [
        Radiograph(pixels=np.zeros((2, 2), np.float32), view="ap"),
        Radiograph(pixels=np.ones((2, 2), np.float32), view="lateral"),
    ]
    assert [(image.view, float(image.pixels.max())) for image in exchanged(pair)] == [("ap", 1.0), ("lateral", 0.0)]


def test_a_rig_that_contradicts_its_files_is_told() -> None:
    rig = room("right")

    def images(**stated: float) -> list[Radiograph]:
        return [
            Radiograph(
                pixels=np.zeros((300, 300), np.float32),
                pixel_spacing=view.pixel_spacing,
                view=view.name,
                geometry=DicomGeometry("DX", imager_pixel_spacing=view.pixel_spacing, **stated),
            )
            for view in rig.views
        ]

    agreeing = largest_contradiction(images(source_to_detector=1150.0, estimated_magnification=1.15), rig)
    assert agreeing is not None and abs(agreeing.percent) < 1e-6
    wrong = largest_contradiction(images(source_to_detector=1150.0), with_magnification(rig, ("ap", "lateral"), 5.0))
    assert wrong is not None and wrong.percent == pytest.approx(5.0) and "pixel spacing" in wrong.what
    distance = largest_contradiction(images(source_to_detector=1000.0), rig)
    assert distance is not None and distance.percent == pytest.approx(15.0)
    # A calibrated rig has measured its distances, and is believed.
    calibrated = Rig(rig.views, rig.field_of_view, {"calibrations": [{"kind": "object"}]})
    assert largest_contradiction(images(source_to_detector=1000.0), calibrated).percent == pytest.approx(0.0)  # type: ignore[union-attr]
    plain = [Radiograph(pixels=np.zeros((300, 300), np.float32), view=view.name) for view in rig.views]
    assert largest_contradiction(plain, rig) is None


def test_pixels_that_the_user_gave_are_held_against_the_file() -> None:
    """`--pixel-spacing` stands in the place of what the file says, and the rig is made of it: both agree, and both may be wrong."""
    rig = room("right")
    for rows, columns, percent in ((0.94, 0.94, -6.0), (1.04, 1.04, 4.0), (1.05, 1 / 1.05, 5.0), (1.0, 1.0, 0.0)):
        given = [
            replace(view, pixel_spacing=(rows * view.pixel_spacing[0], columns * view.pixel_spacing[1]))
            for view in rig.views
        ]
        images = [
            Radiograph(
                pixels=np.zeros((300, 300), np.float32),
                pixel_spacing=own.pixel_spacing,
                view=view.name,
                geometry=DicomGeometry("DX", imager_pixel_spacing=view.pixel_spacing),
            )
            for view, own in zip(rig.views, given, strict=True)
        ]
        found = largest_contradiction(images, replace(rig, views=tuple(given)))
        assert found is not None and found.percent == pytest.approx(percent) and "pixel spacing" in found.what

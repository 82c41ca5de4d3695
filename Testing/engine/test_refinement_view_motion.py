"""A second view that stands elsewhere than its rig says: turned apart, rolled, raised, magnified; of right and left knees."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from baseline_knee import baseline_model, baseline_rig, bone_radiographs, unlike_the_mean
from scipy.spatial.transform import Rotation

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.geometry.view import View
from SSRKDCore.grid import Grid
from SSRKDCore.radiographs.radiograph import Radiograph
from SSRKDCore.reconstruction.refined_bones import refined_bones
from SSRKDCore.refinement.view_motion import ViewMotion, turned_second_view
from SSRKDCore.surface import Surface

_MODEL = baseline_model()
_GRID = Grid.cube((0.0, 0.0, 0.0), 160.0, 48)


def _knee(side: str) -> dict[str, Surface]:
    return unlike_the_mean(_MODEL, side)


_IMAGES = {side: bone_radiographs(_knee(side), baseline_rig(side)) for side in ("right", "left")}


def _found(side: str, stated: Rig) -> ViewMotion | None:
    """What is said of a rig beside the images that `baseline_rig` made; the network saw the bones as they are."""
    radiographs = [
        Radiograph(pixels=image, pixel_spacing=view.pixel_spacing, view=view.name, side=side, source_path=view.name)
        for image, view in zip(_IMAGES[side], stated.views, strict=True)
    ]
    return refined_bones(_knee(side), radiographs, stated, side, _MODEL, _GRID).motion


def _with_second(rig: Rig, view: View) -> Rig:
    return replace(rig, views=(rig.views[0], view))


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(("angle", "roll"), [(0.0, 0.0), (8.0, 0.0), (-8.0, 0.0), (0.0, 5.0), (0.0, -5.0), (6.0, -3.0)])
def test_a_turn_that_the_rig_does_not_know_is_told(side: str, angle: float, roll: float) -> None:
    rig = baseline_rig(side)
    found = _found(side, turned_second_view(rig, angle, roll))
    assert found is not None
    assert 0.2 < found.angle_spread_degrees < 3.0
    assert 0.2 < found.roll_spread_degrees < 2.0
    assert found.angle_degrees == pytest.approx(-angle, abs=2.0 * found.angle_spread_degrees)
    assert found.roll_degrees == pytest.approx(-roll, abs=2.0 * found.roll_spread_degrees)


@pytest.mark.parametrize("wrong", ["height", "scale"])
def test_another_error_of_the_second_view_is_not_taken_for_a_turn(wrong: str) -> None:
    rig = baseline_rig("right")
    second = rig.views[1]
    if wrong == "height":
        up = np.eye(4)
        up[:3, 3] = 3.0 * np.array(second.row_direction)
        second = second.transformed(up)
    else:
        second = second.with_larger_pixels(1.04)
    found = _found("right", _with_second(rig, second))
    assert found is not None
    assert abs(found.angle_degrees) < 2.5
    assert abs(found.roll_degrees) < 2.0


@pytest.mark.parametrize("wrong", ["ap", "lateral", "oblique"])
def test_of_three_views_every_two_tell_of_the_one_that_is_turned(wrong: str) -> None:
    def turned(view: View, degrees: float) -> View:
        matrix = np.eye(4)
        matrix[:3, :3] = Rotation.from_rotvec([0.0, 0.0, np.radians(degrees)]).as_matrix()
        return view.transformed(matrix)

    rig, knee = baseline_rig("right"), _knee("right")
    rig = replace(rig, views=(*rig.views, replace(turned(rig.views[0], 45.0), name="oblique")))
    images = bone_radiographs(knee, rig)
    stated = replace(rig, views=tuple(turned(view, 10.0 * (view.name == wrong)) for view in rig.views))
    radiographs = [
        Radiograph(pixels=image, pixel_spacing=view.pixel_spacing, view=view.name, side="right", source_path=view.name)
        for image, view in zip(images, stated.views, strict=True)
    ]
    found = refined_bones(knee, radiographs, stated, "right", _MODEL, _GRID)
    assert found.motion is None
    names = [view.name for view in rig.views]
    assert set(found.pair_motions) == set(permutations(names, 2))
    for (first, second), motion in found.pair_motions.items():
        pair = names.index(first), names.index(second)
        missing = rig.separation_degrees(*pair) - stated.separation_degrees(*pair)
        assert motion.angle_degrees == pytest.approx(missing, abs=2.5 * motion.angle_spread_degrees), (first, second)
        assert (abs(motion.angle_degrees) > 5.0) == (wrong in (first, second))


def test_outlines_that_lie_on_no_edges_tell_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both images show a rod across and nothing else."""
    bars = [np.zeros_like(image) for image in _IMAGES["right"]]
    for bar in bars:
        bar[bar.shape[0] // 2 - 4 : bar.shape[0] // 2 + 4] = 1.0
    assert _found("right", baseline_rig("right")) is not None
    monkeypatch.setitem(_IMAGES, "right", bars)
    assert _found("right", baseline_rig("right")) is None


def test_beams_that_are_nearly_parallel_have_no_angle_to_tell() -> None:
    rig = baseline_rig("right")
    near = turned_second_view(rig, 8.0 - rig.separation_degrees(), 0.0)
    assert near.separation_degrees() == pytest.approx(8.0)
    assert _found("right", near) is None
    with pytest.raises(InputError, match="two views that are not parallel"):
        turned_second_view(near, 5.0, 0.0)
    with pytest.raises(InputError, match="two views"):
        turned_second_view(replace(rig, views=rig.views[:1]), 5.0, 0.0)


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_second_view_is_turned_as_it_says(side: str) -> None:
    """Further apart is further apart for either side; and columns turn towards rows, so that a point to the right of the middle is seen
    higher in the image."""
    rig = baseline_rig(side)
    assert turned_second_view(rig, 7.0, 0.0).separation_degrees() == pytest.approx(rig.separation_degrees() + 7.0)
    view = rig.views[1]
    rolled = turned_second_view(rig, 0.0, 10.0).views[1]
    center = np.array(rig.field_of_view.center)
    beside = center + 30.0 * np.array(view.column_direction)
    (before, middle), _ = view.project(np.stack([beside, center]))
    (after, still), _ = rolled.project(np.stack([beside, center]))
    np.testing.assert_allclose(middle, still, atol=1e-6)
    moved = after - before
    arm = before - middle
    assert moved[0] == pytest.approx(-np.sin(np.radians(10.0)) * arm[1], rel=0.02)


def test_larger_pixels_magnify_about_the_image_s_middle() -> None:
    view = baseline_rig("right").views[1]
    larger = view.with_larger_pixels(1.1)
    assert larger.pixel_spacing == pytest.approx(tuple(1.1 * value for value in view.pixel_spacing))
    middle = (view.rows - 1) / 2, (view.columns - 1) / 2
    np.testing.assert_allclose(larger.pixel_position(*middle), view.pixel_position(*middle), atol=1e-9)
    np.testing.assert_allclose(larger.source, view.source)
    assert larger.normal == pytest.approx(view.normal)

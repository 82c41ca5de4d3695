"""The second view's pose from the bones: what the images tell is recovered, what they do not tell is said."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from SSRKDCore.errors import InputError
from SSRKDCore.geometry import Rig, preset
from SSRKDCore.geometry.calibration import pose_estimate as pose_module
from SSRKDCore.geometry.calibration.image_consistency import Consistency, consistency, contradiction
from SSRKDCore.geometry.calibration.pose_parameters import POSE_NAMES, PoseProblem, pose_axes, pose_between, pose_matrix
from SSRKDCore.geometry.calibration.relative_pose import relative_pose
from SSRKDCore.geometry.view import View
from SSRKDCore.radiographs import read_radiograph
from SSRKDCore.radiographs.presentation_curve import PresentationCurve
from SSRKDCore.surface_files import read_bone_surfaces

WRONG = np.array([2.0, -1.5, 1.5, 3.0, -3.0, 6.0])


def axes_of(view: View) -> np.ndarray:
    return np.stack([view.normal, view.column_direction, view.row_direction])


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_pose_and_the_motion_it_stands_for_agree(side: str) -> None:
    view, center = preset("room", side).view("lateral"), np.array([3.0, -4.0, 5.0])
    moved = view.transformed(pose_matrix(WRONG, axes_of(view), center))
    np.testing.assert_allclose(pose_between(view, moved, axes_of(view), center), WRONG, atol=1e-9)


def test_derivatives_are_those_of_the_projected_contour(repository: Path) -> None:
    bones = {"patella": read_bone_surfaces(repository / "Resources" / "SampleCase")["patella"]}
    rig = preset("room", "left")
    problem = PoseProblem(rig.views[0], rig.views[1], np.zeros(3), bones, 3.0, 8.0)
    points = bones["patella"].vertices[::400]
    away = points - np.array(rig.views[1].source)
    normals = np.cross(away, np.random.default_rng(0).normal(size=points.shape))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    rows = problem.rows(0, points, normals, second_view=True)
    step = 1e-5
    for index in range(problem.count):
        parameters = np.zeros(problem.count)
        parameters[index] = step
        moved = problem.moved_surfaces(parameters)["patella"].vertices[::400]
        # A view that moves is the world moving the other way.
        back = np.linalg.inv(pose_matrix(parameters[:6], problem.axes, problem.center))
        seen = moved @ back[:3, :3].T + back[:3, 3]
        np.testing.assert_allclose(((seen - points) * normals).sum(axis=1) / step, rows[:, index], rtol=2e-3, atol=2e-3)


@pytest.fixture(scope="module")
def knee(repository: Path) -> tuple[Rig, Rig, dict[str, np.ndarray], dict]:
    folder = repository / "Resources" / "SampleCase"
    rig = Rig.load(folder / "rig.json")
    lateral = rig.view("lateral")
    center = np.array(rig.field_of_view.center)
    wrong = Rig((rig.view("ap"), lateral.transformed(pose_matrix(WRONG, axes_of(lateral), center))), rig.field_of_view)
    images = {name: read_radiograph(folder / f"{name}.dcm").pixels for name in ("ap", "lateral")}
    return rig, wrong, images, read_bone_surfaces(folder)


def test_known_bones_bring_the_second_view_back(knee: tuple[Rig, Rig, dict[str, np.ndarray], dict]) -> None:
    rig, wrong, images, bones = knee
    found = relative_pose(bones, images, wrong, starts=1, seed=3)
    center, axes = np.array(rig.field_of_view.center), axes_of(wrong.views[1])
    left = pose_between(found.rig.views[1], rig.view("lateral"), axes, center)
    # Height and the two turns that show in the lateral image.
    assert abs(left[5]) < 1.0
    assert abs(left[0]) < 1.5
    assert abs(left[1]) < 1.5
    assert (np.abs(left) < 3 * found.standard_uncertainty).all()
    # Both shifts change only a magnification, by 0.1 % a mm.
    assert {"shift_along_beam_mm", "shift_along_columns_mm"} <= set(found.unknown)
    assert "shift_along_rows_mm" not in found.unknown
    assert found.quality.outline_mm[1][1] < 0.5 * found.quality.outline_mm[0][1]
    assert found.quality.tangency_mm[1] < 0.5 * found.quality.tangency_mm[0]
    assert set(found.to_dict()["pose"]) == set(POSE_NAMES)


def test_a_pose_that_the_images_contradict_is_refused_whatever_the_bones_say(
    knee: tuple[Rig, Rig, dict[str, np.ndarray], dict],
) -> None:
    rig, _, images, _ = knee
    lateral, center = rig.view("lateral"), np.array(rig.field_of_view.center)
    assert contradiction(consistency(images, rig)) is None
    for pose in ([5.0, 6.0, 0.0, 0.0, 0.0, 0.0], [5.0, -6.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 4.5]):
        moved = lateral.transformed(pose_matrix(np.array(pose), axes_of(lateral), center))
        found = consistency(images, Rig((rig.view("ap"), moved), rig.field_of_view))
        assert "contradict" in str(contradiction(found))
    assert found.profiles is not None and found.profiles.shift_mm == pytest.approx(-4.5, abs=0.2)
    assert found.rows is not None and found.rows.shift_mm == pytest.approx(-4.5, abs=found.rows.known_to_mm)
    # Images for a screen weaken slices differently in the two views; the network sees them all the same.
    screens = {"ap": PresentationCurve(2.2, 3.4, 0.6), "lateral": PresentationCurve(1.7, 3.0, 0.9)}
    shown = {name: curve.applied(images[name]) for name, curve in screens.items()}
    blind = replace(consistency(shown, Rig((rig.view("ap"), moved), rig.field_of_view)), profiles=None)
    assert "contradict" in str(contradiction(blind))
    assert contradiction(replace(consistency(shown, rig), profiles=None)) is None
    # What only magnifies a little is no contradiction.
    moved = lateral.transformed(pose_matrix(np.array([0.0, 0.0, 3.0, 5.0, 5.0, 0.0]), axes_of(lateral), center))
    assert contradiction(consistency(images, Rig((rig.view("ap"), moved), rig.field_of_view))) is None


@pytest.mark.parametrize(("correlation", "known_to_mm"), [(0.5, None), (None, None), (None, 3.5)])
def test_a_pose_that_the_images_cannot_confirm_needs_known_bones(
    knee: tuple[Rig, Rig, dict[str, np.ndarray], dict],
    monkeypatch: pytest.MonkeyPatch,
    correlation: float | None,
    known_to_mm: float | None,
) -> None:
    rig, _, images, bones = knee
    seen = consistency(images, rig)
    assert seen.profiles is not None and seen.profiles.correlation > 0.9
    assert seen.rows is not None and seen.rows.known_to_mm < 3.0
    estimate = partial(relative_pose, bones, images, rig, turn_sd=0.3, shift_sd=0.5, starts=0)
    estimate(bones_known=False)
    hardly = Consistency(
        None if correlation is None else replace(seen.profiles, correlation=correlation),
        None if known_to_mm is None else replace(seen.rows, known_to_mm=known_to_mm),
    )
    monkeypatch.setattr(pose_module, "consistency", lambda *given: hardly)
    estimate()
    estimate(bones_known=False, last=False)
    with pytest.raises(InputError, match="too little alike to confirm"):
        estimate(bones_known=False)


def test_images_without_the_knee_are_refused(knee: tuple[Rig, Rig, dict[str, np.ndarray], dict]) -> None:
    _, wrong, images, bones = knee
    noise = np.random.default_rng(0).normal(1.0, 0.01, images["ap"].shape)
    with pytest.raises(InputError, match="do not lie on edges"):
        relative_pose(bones, {"ap": noise, "lateral": noise.T.copy()}, wrong, starts=0)
    with pytest.raises(InputError, match="height open"):
        relative_pose(bones, images, wrong, starts=0, height_limit_mm=0.05)
    with pytest.raises(InputError, match="no bones"):
        relative_pose({}, images, wrong)
    with pytest.raises(InputError, match="outside the field of view"):
        up = np.eye(4)
        up[2, 3] = 400.0
        relative_pose({name: bone.transformed(up) for name, bone in bones.items()}, images, wrong, starts=1)
    with pytest.raises(InputError, match="15 degrees"):
        relative_pose(bones, images, wrong, turn_sd=40.0)


@pytest.mark.parametrize("quarter_turns", [0, 1, 2, 3])
def test_height_is_down_the_leg_however_the_image_lies(quarter_turns: int) -> None:
    """Some detectors deliver images on their side: what is called height must not be the knee's depth then."""
    view = preset("room", "left").view("lateral")
    upright = axes_of(view)
    turned = view
    for _ in range(quarter_turns):
        # np.rot90: the last column becomes the first row.
        last = np.array(turned.detector_origin) + (turned.columns - 1) * turned.pixel_spacing[1] * np.array(
            turned.column_direction
        )
        turned = replace(
            turned,
            detector_origin=tuple(last),
            column_direction=turned.row_direction,
            row_direction=tuple(-np.array(turned.column_direction)),
            pixel_spacing=turned.pixel_spacing[::-1],
            rows=turned.columns,
            columns=turned.rows,
        )
    np.testing.assert_allclose(pose_axes(turned), upright, atol=1e-12)
    assert upright[2][2] < -0.9

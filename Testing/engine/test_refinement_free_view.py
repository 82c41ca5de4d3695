"""What a motion of a view does to what it sees, and what a fit with a free view says of itself."""

from __future__ import annotations

import numpy as np
import pytest
from baseline_knee import baseline_rig

from SSRKDCore.geometry.calibration.pose_parameters import pose_axes, pose_matrix
from SSRKDCore.refinement.free_view import ViewFreedom
from SSRKDCore.shape_fit.contour_fit import cauchy_costs, cauchy_weights


def _freedom(side: str) -> ViewFreedom:
    rig = baseline_rig(side)
    axes = pose_axes(rig.views[1])
    return ViewFreedom(np.array(rig.field_of_view.center), axes, axes, True, np.ones(7), np.full(7, 10.0))


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_contour_moves_in_the_image_as_its_derivatives_say(side: str) -> None:
    freedom, view = _freedom(side), baseline_rig(side).views[1]
    generator = np.random.default_rng(0)
    points = generator.uniform(-50.0, 50.0, (40, 3))
    rays = points - np.array(view.source)
    normals = np.cross(rays, generator.normal(size=points.shape))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    rows = freedom.rows(points, normals)
    before, _ = view.project(points)
    along = view.project(points + 1e-3 * normals)[0] - before
    pixels_a_mm = np.linalg.norm(along, axis=1) / 1e-3
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    step = 1e-3
    for index in range(7):
        motion = np.zeros(7)
        motion[index] = step
        after, _ = freedom.moved(view, motion).project(points)
        moved_mm = ((after - before) * along).sum(axis=1) / pixels_a_mm / step
        # Scale is taken about the centre, not about the centre's ray: a point 50 mm behind it is off by 0.01 of 50 mm times that ray's
        # angle with its own, 0.05.
        # Of the others, an image plane that the rays do not meet at right angles leaves some 0.3 % here.
        tolerance = 0.025 if index == 6 else 5e-3 * np.abs(rows[:, index]).max()
        np.testing.assert_allclose(moved_mm, rows[:, index], atol=tolerance)
        assert np.abs(rows[:, index]).max() > 0.05


def test_a_motion_is_that_of_a_pose() -> None:
    freedom, view = _freedom("left"), baseline_rig("left").views[1]
    pose = np.array([3.0, -2.0, 4.0, 5.0, -6.0, 7.0])
    moved = freedom.moved(view, np.append(pose, 0.0))
    expected = view.transformed(pose_matrix(pose, pose_axes(view), freedom.center))
    np.testing.assert_allclose(moved.source, expected.source, atol=1e-9)
    np.testing.assert_allclose(moved.detector_origin, expected.detector_origin, atol=1e-9)
    larger = freedom.moved(view, np.append(np.zeros(6), 5.0))
    assert larger.pixel_spacing == pytest.approx(tuple(1.05 * value for value in view.pixel_spacing))


def test_weights_are_the_slope_of_costs() -> None:
    """A step that weighted least squares takes goes down the cost that judges it."""
    distances = np.linspace(-4.0, 4.0, 33)
    step = 1e-6
    slope = (cauchy_costs(distances + step, 0.8, 5.0) - cauchy_costs(distances - step, 0.8, 5.0)) / (2 * step)
    np.testing.assert_allclose(slope, 2.0 * distances * cauchy_weights(distances, 0.8, 5.0), atol=1e-6)

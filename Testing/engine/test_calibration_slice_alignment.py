"""Slices through both sources bring back height and turns, leave what they do not tell, and keep silent where they are not alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from SSRKDCore.geometry.calibration.pair_trials import TrialKnee, case_knee, told_wrongly
from SSRKDCore.geometry.calibration.slice_alignment import LEAST_CORRELATION, aligned_pose
from SSRKDCore.geometry.calibration.slice_profiles import profile_slopes
from SSRKDCore.radiographs.presentation_curve import PresentationCurve

# What outlines leave open, about: degrees and mm.
COVARIANCE = np.diag(np.square([1.5, 1.5, 2.0, 7.0, 6.0, 1.0]))
OFF = np.array([1.5, -1.8, 2.0, 4.0, -4.0, 0.9])


@pytest.fixture(scope="module")
def knee(repository: Path) -> TrialKnee:
    return case_knee(repository / "Resources" / "SampleCase")


def _pixels(knee: TrialKnee) -> list[np.ndarray]:
    return [radiograph.pixels for radiograph in knee.radiographs]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_height_and_the_turns_that_mix_slices_are_brought_back(knee: TrialKnee, sign: float) -> None:
    told = told_wrongly(knee.rig, sign * OFF)
    pose, information = aligned_pose(_pixels(knee), told, np.zeros(6), COVARIANCE)
    left = sign * OFF - pose
    assert abs(left[0]) < 0.7 and abs(left[1]) < 0.3 and abs(left[5]) < 0.25
    known = np.sqrt(np.diag(np.linalg.inv(np.linalg.inv(COVARIANCE) + information)))
    assert (known[[0, 1, 5]] < 0.7 * np.sqrt(np.diag(COVARIANCE))[[0, 1, 5]]).all()
    assert (np.abs(left[[0, 1, 5]]) < 2.0 * known[[0, 1, 5]]).all()
    # Of the angle between the beams slices tell nothing.
    assert abs(pose[2]) < 0.3 and known[2] > 0.9 * 2.0


def test_an_estimate_that_is_sure_stays(knee: TrialKnee) -> None:
    told = told_wrongly(knee.rig, OFF)
    pose, _ = aligned_pose(_pixels(knee), told, np.zeros(6), 1e-6 * COVARIANCE)
    np.testing.assert_allclose(pose, 0.0, atol=0.01)


def test_images_whose_slices_are_not_alike_change_nothing(knee: TrialKnee) -> None:
    told, before = told_wrongly(knee.rig, OFF), np.full(6, 0.1)
    generator = np.random.default_rng(0)
    first, second = _pixels(knee)
    noise = generator.normal(0.0, 1.0, (second.shape[0], 1)).astype(np.float32)
    striped = second + noise
    flat = np.full_like(second, 1.0)
    for other in (striped, flat):
        pose, information = aligned_pose([first, other], told, before, COVARIANCE)
        np.testing.assert_array_equal(pose, before)
        assert not information.any()
    assert 0.8 < LEAST_CORRELATION < 1.0


def test_a_display_curve_of_one_image_does_not_lead_astray(knee: TrialKnee) -> None:
    """Either slices are not believed, or what they say holds."""
    told = told_wrongly(knee.rig, OFF)
    first, second = _pixels(knee)
    for curve in (PresentationCurve(2.2, 3.4, 0.6), PresentationCurve(1.7, 3.0, 1.5)):
        pose, information = aligned_pose([first, curve.applied(second)], told, np.zeros(6), COVARIANCE)
        known = np.sqrt(np.diag(np.linalg.inv(np.linalg.inv(COVARIANCE) + information)))
        assert (np.abs(OFF - pose) < 2.5 * known).all()


def test_slopes_are_at_the_same_heights_whatever_the_rig_and_of_unit_length(knee: TrialKnee) -> None:
    here = profile_slopes(_pixels(knee), knee.rig.views, knee.rig.field_of_view, 0.8)
    there = profile_slopes(_pixels(knee), told_wrongly(knee.rig, OFF).views, knee.rig.field_of_view, 0.8)
    assert here is not None and there is not None
    for slopes in (*here, *there):
        assert slopes.shape == here[0].shape and np.linalg.norm(slopes) == pytest.approx(1.0)
    assert float(here[0] @ here[1]) > 0.98 > 0.9 > float(there[0] @ there[1])
    flat = np.ones_like(_pixels(knee)[0])
    assert profile_slopes([_pixels(knee)[0], flat], knee.rig.views, knee.rig.field_of_view, 0.8) is None

"""Progress of a pose's estimate: told often and only forwards, and an estimate ends wherever it is told once somebody has cancelled."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from baseline_knee import baseline_model

from SSRKDCore.cases import load_case
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.geometry.calibration import shape_pose as shape_module
from SSRKDCore.geometry.calibration.pair_trials import case_knee
from SSRKDCore.geometry.calibration.pose_estimate import RelativePose
from SSRKDCore.geometry.calibration.pose_rounds import pose_by_reconstruction
from SSRKDCore.geometry.calibration.relative_pose import relative_pose
from SSRKDCore.networks.model_folder import load_model

Told = list[tuple[float, str]]
Estimate = Callable[..., RelativePose]


@pytest.fixture(scope="module")
def sample(repository: Path) -> Path:
    return repository / "Resources" / "SampleCase"


@pytest.fixture(scope="module")
def by_reconstruction(sample: Path) -> Estimate:
    knee, model, side = case_knee(sample), load_model("compact"), load_case(sample).side
    return lambda **given: pose_by_reconstruction(
        knee.radiographs, knee.rig, model, 2, 64, "cpu", starts=1, height_limit_mm=np.inf, side=side, **given
    )


@pytest.fixture(scope="module")
def of_known_bones(sample: Path) -> Estimate:
    knee = case_knee(sample)
    images = {view.name: radiograph.pixels for view, radiograph in zip(knee.rig.views, knee.radiographs, strict=True)}
    return lambda **given: relative_pose(knee.bones, images, knee.rig, starts=1, height_limit_mm=np.inf, **given)


def _told_of(estimate: Estimate) -> tuple[Told, RelativePose]:
    told: Told = []
    found = estimate(progress=lambda fraction, words: told.append((fraction, words)), cancelled=lambda: False)
    return told, found


def _moves_on(told: Told) -> None:
    fractions = [fraction for fraction, _ in told]
    assert fractions[0] == 0.0 and fractions[-1] <= 1.0
    assert all(first <= second for first, second in pairwise(fractions))
    # Somebody who looks at a bar does not take it for one that stands still.
    assert max(second - first for first, second in pairwise([*fractions, 1.0])) < 0.12
    assert len(told) > 50


def _ends(estimate: Estimate, after: int) -> None:
    told: Told = []
    with pytest.raises(Cancelled):
        estimate(progress=lambda fraction, words: told.append((fraction, words)), cancelled=lambda: len(told) >= after)
    assert len(told) == after


def test_rounds_are_told_as_they_go_on_and_end_when_cancelled(by_reconstruction: Estimate) -> None:
    told, found = _told_of(by_reconstruction)
    _moves_on(told)
    words = [said for _, said in told]
    for said in ("reading the radiographs", "extracting surfaces", "matching the shape model's outlines in both views"):
        assert said in words, said
    first = words.index("matching the shape model's outlines in both views")
    # In the network's work, in the joint fit, in a search with a free view, and between slices.
    for after in (3, first + 2, first + 12, first + 40):
        _ends(by_reconstruction, after)
    alone = by_reconstruction()
    assert (alone.pose == found.pose).all() and (alone.covariance == found.covariance).all()


def test_a_round_whose_knee_the_shape_model_does_not_know_only_moves_on(
    by_reconstruction: Estimate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shape_module, "shape_pose", lambda *given: None)
    told, found = _told_of(by_reconstruction)
    fractions = [fraction for fraction, _ in told]
    assert all(first <= second for first, second in pairwise(fractions)) and fractions[-1] <= 1.0
    assert found.bones == "reconstructed"
    assert {"refining the bones", "matching outlines in both views"} <= {said for _, said in told}


def test_an_estimate_from_known_bones_is_told_and_ends_when_cancelled(of_known_bones: Estimate) -> None:
    told, found = _told_of(of_known_bones)
    _moves_on(told)
    for after in (0, 5, len(told) - 3):
        _ends(of_known_bones, after)
    assert (of_known_bones().pose == found.pose).all()


def test_restarts_below_none_are_refused(sample: Path) -> None:
    knee = case_knee(sample)
    with pytest.raises(InputError, match="-1 restarts were asked for"):
        relative_pose(knee.bones, {}, knee.rig, starts=-1)
    with pytest.raises(InputError, match="-1 restarts were asked for"):
        shape_module.shape_pose(
            knee.bones, knee.radiographs, knee.rig, "left", baseline_model(), 3.0, 8.0, np.zeros(6), -1
        )
    with pytest.raises(InputError, match="-1 restarts were asked for"):
        pose_by_reconstruction(knee.radiographs, knee.rig, load_model("compact"), starts=-1)

"""The second view's pose from the shape model and the edges, whatever the network makes of a wrong one; of right and left knees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from baseline_knee import baseline_model, baseline_rig, bone_radiographs, unlike_the_mean

from SSRKDCore.cases import load_case
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.geometry.calibration import shape_pose as shape_module
from SSRKDCore.geometry.calibration.pair_trials import away, case_knee, told_wrongly
from SSRKDCore.geometry.calibration.pose_estimate import RelativePose, best_of_restarts
from SSRKDCore.geometry.calibration.pose_rounds import pose_by_reconstruction
from SSRKDCore.geometry.calibration.shape_pose import shape_pose
from SSRKDCore.networks.model_folder import load_model
from SSRKDCore.radiographs.radiograph import Radiograph
from SSRKDCore.surface import Surface

_MODEL = baseline_model()
_WRONG = np.array([4.0, -3.0, 2.0, 3.0, -3.0, 7.0])
_NONE = np.zeros(6)


def _knee(side: str) -> dict[str, Surface]:
    return unlike_the_mean(_MODEL, side)


def _radiographs(side: str, images: list[np.ndarray] | None = None) -> list[Radiograph]:
    rig = baseline_rig(side)
    return [
        Radiograph(pixels=image, pixel_spacing=view.pixel_spacing, view=view.name, side=side, source_path=view.name)
        for image, view in zip(images or bone_radiographs(_knee(side), rig), rig.views, strict=True)
    ]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_second_view_is_brought_back(side: str, sign: float) -> None:
    true = baseline_rig(side)
    told = told_wrongly(true, sign * _WRONG)
    found = shape_pose(_knee(side), _radiographs(side), told, side, _MODEL, 3.0, 8.0, _NONE)
    assert found is not None and found.bones == "shape_model"
    left = away(found.rig, true, told)
    assert found.rig.views[0] == told.views[0]
    # Turns about beam and columns, and height; the others the images tell little of.
    assert abs(left[0]) < 1.0 and abs(left[1]) < 1.5 and abs(left[5]) < 0.7
    assert (np.abs(left) < 2.0 * found.standard_uncertainty).all()
    assert "shift_along_beam_mm" in found.unknown
    assert not {"turn_about_beam_degrees", "shift_along_rows_mm"} & set(found.unknown)
    assert found.quality.outline_mm[1][1] < 0.7 * found.quality.outline_mm[0][1]
    assert found.quality.better_than_chance > 0.2
    # The bones are on their own side, where they were seen.
    for name, bone in _knee(side).items():
        assert np.linalg.norm(found.surfaces[name].vertices.mean(axis=0) - bone.vertices.mean(axis=0)) < 6.0


def test_a_round_goes_on_from_the_pose_before_and_keeps_the_belief() -> None:
    """The belief stays about what the rig said: a start elsewhere, and restarts, end at the same pose."""
    true = baseline_rig("left")
    told = told_wrongly(true, _WRONG)
    given = _knee("left"), _radiographs("left"), told, "left", _MODEL, 3.0, 8.0
    first = shape_pose(*given, _NONE)
    assert first is not None
    again = shape_pose(*given, first.pose)
    assert again is not None
    np.testing.assert_allclose(again.pose, first.pose, atol=0.6)
    np.testing.assert_allclose(again.standard_uncertainty, first.standard_uncertainty, rtol=0.2)
    restarted = shape_pose(*given, first.pose, 2, 7)
    assert restarted is not None
    np.testing.assert_allclose(restarted.pose, first.pose, atol=0.6)
    sure = shape_pose(_knee("left"), _radiographs("left"), told, "left", _MODEL, 0.2, 0.3, _NONE)
    assert sure is not None
    assert (np.abs(sure.pose) < 0.25 * np.abs(_WRONG).max()).all() and (np.abs(sure.pose[:3]) < 0.2).all()


def test_outlines_on_no_edges_tell_nothing() -> None:
    rig = baseline_rig("right")
    bars = [np.zeros((view.rows, view.columns), np.float32) for view in rig.views]
    for bar in bars:
        bar[bar.shape[0] // 2 - 4 : bar.shape[0] // 2 + 4] = 1.0
    assert shape_pose(_knee("right"), _radiographs("right", bars), rig, "right", _MODEL, 3.0, 8.0, _NONE) is None
    flat = [np.ones((view.rows, view.columns), np.float32) for view in rig.views]
    assert shape_pose(_knee("right"), _radiographs("right", flat), rig, "right", _MODEL, 3.0, 8.0, _NONE) is None
    assert shape_pose({}, _radiographs("right"), rig, "right", _MODEL, 3.0, 8.0, _NONE) is None


def test_what_cannot_be_searched_for_is_refused() -> None:
    rig, images = baseline_rig("right"), _radiographs("right")
    with pytest.raises(InputError, match="15 degrees"):
        shape_pose(_knee("right"), images, rig, "right", _MODEL, 40.0, 8.0, _NONE)
    with pytest.raises(Cancelled):
        shape_pose(_knee("right"), images, rig, "right", _MODEL, 3.0, 8.0, _NONE, cancelled=lambda: True)


def test_restarts_that_end_elsewhere_and_are_as_good_widen_what_is_known() -> None:
    poses = [np.full(6, 1.0), np.full(6, 3.0), np.full(6, 50.0)]
    best, spread = best_of_restarts(poses, [100.5, 100.0, 180.0])
    assert best == 1
    np.testing.assert_allclose(spread, 1.0)
    best, spread = best_of_restarts(poses, [120.0, 100.0, 180.0])
    assert best == 1 and (spread == 0.0).all()


@pytest.fixture(scope="module")
def sample(repository: Path) -> Path:
    return repository / "Resources" / "SampleCase"


def test_the_bundled_model_brings_its_shape_model_along(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample is a deformed knee, which passes for a turn about the rows: height and the turn about the beam are found all the same."""
    knee, model = case_knee(sample), load_model("compact")
    told = told_wrongly(knee.rig, np.array([6.0, -3.0, 0.0, 0.0, 0.0, 8.0]))
    words: list[str] = []

    def estimated(**options: bool) -> RelativePose:
        return pose_by_reconstruction(
            knee.radiographs, told, model, 1, 64, "cpu", starts=0, height_limit_mm=np.inf,
            progress=lambda fraction, said: words.append(said), side=load_case(sample).side, **options,
        )  # fmt: skip

    found = estimated()
    left = away(found.rig, knee.rig, told)
    assert found.bones == "shape_model"
    assert abs(left[0]) < 3.0 and abs(left[5]) < 2.0
    assert (np.abs(left) < 2.0 * found.standard_uncertainty).all()
    assert any("shape model" in said for said in words)
    # Where the shape model does not fit, the network's own bones decide, as they do without it.
    near = told_wrongly(knee.rig, np.array([0.5, 0.5, 0.5, 0.0, 0.0, 1.0]))
    told = near
    without = estimated(use_shape_model=False)
    monkeypatch.setattr(shape_module, "shape_pose", lambda *given: None)
    fallen_back = estimated()
    assert without.bones == fallen_back.bones == "reconstructed"
    np.testing.assert_allclose(fallen_back.pose, without.pose, atol=1e-6)

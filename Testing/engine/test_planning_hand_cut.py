"""A cut that was set by hand: the plan's cut lies in it, on both sides and for both wedges."""

from __future__ import annotations

import numpy as np
import pytest
from box_leg import box_tibia, leg_landmarks

from SSRKDCore.errors import InputError
from SSRKDCore.planning.correction_target import ANGLE, CorrectionTarget
from SSRKDCore.planning.hand_cut import parameters_of_cut
from SSRKDCore.planning.osteotomy import KINDS, MEDIAL_OPENING, OsteotomyParameters
from SSRKDCore.planning.osteotomy_plan import plan_osteotomy
from SSRKDCore.planning.plane import Plane

pytest.importorskip("manifold3d")


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("turn", [0.0, 10.0])
def test_the_plan_s_cut_is_the_plane(side: str, kind: str, turn: float) -> None:
    tibia, landmarks = box_tibia(), leg_landmarks(side)
    usual = OsteotomyParameters.usual(kind, biplanar=False, hinge_rotation_degrees=turn)
    target = CorrectionTarget(ANGLE, 8.0)
    before = plan_osteotomy(tibia, landmarks, usual, target)
    # Tilted backwards by 4 degrees and sideways by 3, and lowered by 2 mm; which way the normal points does not matter.
    normal = before.cut_plane.normal + np.tan(np.radians([3.0, 4.0])) @ np.eye(3)[:2]
    wanted = Plane(before.cut_plane.point - [0.0, 0.0, 2.0], -normal)
    plan = plan_osteotomy(tibia, landmarks, parameters_of_cut(tibia, landmarks, wanted, usual), target)
    assert abs(plan.cut_plane.normal @ wanted.normal) == pytest.approx(1.0, abs=1e-9)
    points = np.array([plan.cut_plane.point, plan.entry, plan.hinge.point])
    assert np.abs(wanted.distances(points)).max() < 0.01
    assert abs(plan.hinge.direction @ wanted.normal) < 1e-6
    assert plan.parameters.hinge_to_cortex_mm == usual.hinge_to_cortex_mm
    assert plan.parameters.hinge_rotation_degrees == turn


def test_the_plan_s_own_plane_gives_its_own_dimensions() -> None:
    tibia, landmarks = box_tibia(), leg_landmarks("left", slope=6.0)
    usual = OsteotomyParameters.usual(MEDIAL_OPENING, biplanar=False)
    plan = plan_osteotomy(tibia, landmarks, usual, CorrectionTarget(ANGLE, 8.0))
    found = parameters_of_cut(tibia, landmarks, plan.cut_plane, usual)
    assert found.hinge_below_plateau_mm == pytest.approx(usual.hinge_below_plateau_mm, abs=0.01)
    assert found.entry_below_plateau_mm == pytest.approx(usual.entry_below_plateau_mm, abs=0.01)
    assert found.hinge_tilt_degrees == pytest.approx(6.0, abs=1e-3)


@pytest.mark.parametrize(
    ("point", "normal", "words"),
    [
        ((0.0, 0.0, -30.0), (1.0, 0.0, 0.1), "runs along the tibia"),
        ((0.0, 0.0, 200.0), (0.0, 0.0, 1.0), "no bone at the height"),
        ((0.0, 0.0, -2.5), (0.0, 0.0, 1.0), "must lie between"),
    ],
)
def test_impossible_planes_are_refused(point: tuple[float, ...], normal: tuple[float, ...], words: str) -> None:
    parameters = OsteotomyParameters.usual(MEDIAL_OPENING, biplanar=False)
    with pytest.raises(InputError, match=words):
        parameters_of_cut(box_tibia(), leg_landmarks("right"), Plane(np.array(point), np.array(normal)), parameters)

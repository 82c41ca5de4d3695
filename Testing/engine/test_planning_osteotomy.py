"""High tibial osteotomy on shapes with known answers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from box_leg import HALF_DEPTH, box_tibia, leg_landmarks, round_tibia

from SSRKDCore.errors import InputError
from SSRKDCore.planning.corrected_tibia import correct_tibia
from SSRKDCore.planning.correction_target import (
    ANGLE,
    FUJISAWA,
    HKA,
    CorrectionTarget,
)
from SSRKDCore.planning.landmark_set import LandmarkSet, SeenShaft
from SSRKDCore.planning.osteotomy import KINDS, LATERAL_CLOSING, MEDIAL_OPENING, OsteotomyParameters
from SSRKDCore.planning.osteotomy_plan import OsteotomyPlan, plan_osteotomy
from SSRKDCore.planning.plan_files import read_plan, write_plan
from SSRKDCore.planning.short_shaft_table import short_shaft_error
from SSRKDCore.reconstruction.mesh_check import check_mesh
from SSRKDCore.surface import Surface

pytest.importorskip("manifold3d")
SIDES = ("right", "left")


def planned(
    side: str = "right",
    kind: str = MEDIAL_OPENING,
    target: CorrectionTarget | None = None,
    slope: float = 0.0,
    **changed: object,
) -> OsteotomyPlan:
    parameters = OsteotomyParameters.usual(kind, **{"biplanar": False, **changed})
    return plan_osteotomy(box_tibia(), leg_landmarks(side, slope=slope), parameters, target or CorrectionTarget())


def codes(plan: OsteotomyPlan) -> set[str]:
    return {warning.code for warning in plan.warnings}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_mechanical_axis_passes_through_the_target(side: str, kind: str) -> None:
    for slope in (0.0, 8.0):
        plan = planned(side, kind, CorrectionTarget(FUJISAWA, 62.0), slope=slope)
        assert plan.changes["fujisawa_percent"].after == pytest.approx(62.0, abs=1e-8)
        assert plan.landmarks_after["ankle_centre"][0] * (-1 if side == "right" else 1) > 0  # laterally: valgus


def test_an_axis_across_the_frontal_plane_gives_miniacis_angle() -> None:
    plan = planned()
    assert plan.miniaci_degrees == pytest.approx(plan.wedge_degrees, abs=1e-9)
    assert plan.changes["medial_slope_degrees"].change == pytest.approx(0.0, abs=1e-9)


def test_a_hinge_at_the_knee_centre_corrects_the_varus_by_the_wedge() -> None:
    # The hinge 0.5 mm below the knee's centre: what the leg is bent by is what the wedge opens by.
    plan = planned(
        target=CorrectionTarget(HKA, 180.0),
        hinge_to_cortex_mm=40.0,
        hinge_below_plateau_mm=1.0,
        entry_below_plateau_mm=35.0,
    )
    varus = np.degrees(np.arctan2(60.0, 450.0))
    assert plan.changes["hka_degrees"].before == pytest.approx(180.0 - varus, abs=1e-9)
    assert plan.wedge_degrees == pytest.approx(varus, rel=0.01)
    assert plan.changes["hka_degrees"].after == pytest.approx(180.0, abs=1e-8)


def test_opening_height_and_gap_of_a_box() -> None:
    plan = planned(target=CorrectionTarget(ANGLE, 10.0))
    parts = correct_tibia(box_tibia(), plan)
    width = np.linalg.norm(plan.entry - plan.hinge.point)
    assert plan.height_mm == pytest.approx(2 * width * np.sin(np.radians(5.0)))
    prism = 0.5 * width**2 * np.sin(np.radians(10.0)) * 2 * HALF_DEPTH
    assert parts.wedge.volume == pytest.approx(prism, rel=1e-6)
    assert parts.proximal.volume + parts.distal.volume == pytest.approx(box_tibia().volume, rel=1e-9)


def test_closing_wedge_removes_what_it_says() -> None:
    plan = planned(kind=LATERAL_CLOSING, target=CorrectionTarget(ANGLE, 8.0))
    parts = correct_tibia(box_tibia(), plan)
    whole = box_tibia().volume
    assert parts.proximal.volume + parts.distal.volume + parts.wedge.volume == pytest.approx(whole, rel=1e-9)
    # The closed faces meet: what is left is one closed surface of the two fragments.
    assert parts.corrected.volume == pytest.approx(whole - parts.wedge.volume, rel=1e-4)
    assert plan.changes["tibial_length_mm"].change < 0 < planned().changes["tibial_length_mm"].change


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("biplanar", (False, True))
def test_fragments_are_closed_and_the_distal_one_is_only_turned(kind: str, biplanar: bool) -> None:
    if biplanar and kind == LATERAL_CLOSING:
        with pytest.raises(InputError, match="medial opening"):
            OsteotomyParameters.usual(kind, biplanar=True)
        return
    tibia = round_tibia("right")
    parameters = OsteotomyParameters.usual(kind, biplanar=biplanar)
    plan = plan_osteotomy(tibia, leg_landmarks("right", slope=6.0), parameters, CorrectionTarget(ANGLE, 9.0))
    parts = correct_tibia(tibia, plan)
    for surface in (parts.proximal, parts.distal, parts.distal_moved, parts.wedge, parts.corrected):
        found = check_mesh(surface)
        assert found.closed and found.manifold and found.outward
    motion = plan.motion
    expected = parts.distal.vertices @ motion[:3, :3].T + motion[:3, 3]
    assert np.allclose(np.sort(expected, axis=0), np.sort(parts.distal_moved.vertices, axis=0), atol=1e-9)
    # Points of the axis stay, and the turn is the wedge.
    on_axis = plan.hinge.point + 20.0 * plan.hinge.direction
    assert np.allclose(motion[:3, :3] @ on_axis + motion[:3, 3], on_axis, atol=1e-9)
    assert np.degrees(np.arccos((np.trace(motion[:3, :3]) - 1) / 2)) == pytest.approx(9.0, abs=1e-6)
    if biplanar:
        tubercle = plan.landmarks["tibial_tubercle"]
        assert not np.allclose(plan.landmarks_after["tibial_tubercle"], tubercle)
        assert plan.ascending_plane is not None
        angle = np.degrees(np.arccos(plan.ascending_plane.normal @ plan.cut_plane.normal))
        assert angle == pytest.approx(parameters.ascending_angle_degrees, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_left_is_right_mirrored(kind: str) -> None:
    parameters = OsteotomyParameters.usual(kind)
    plans = [
        plan_osteotomy(round_tibia(side), leg_landmarks(side, slope=7.0), parameters, CorrectionTarget(ANGLE, 7.0))
        for side in SIDES
    ]
    mirror = np.array([-1.0, 1.0, 1.0])
    assert np.allclose(plans[0].hinge.point * mirror, plans[1].hinge.point)
    assert np.allclose(plans[0].cut_plane.normal * mirror, plans[1].cut_plane.normal)
    for name, change in plans[0].changes.items():
        assert change.after == pytest.approx(plans[1].changes[name].after, abs=1e-9)


def test_a_turned_hinge_changes_the_slope() -> None:
    plan = planned(target=CorrectionTarget(ANGLE, 12.0), hinge_rotation_degrees=25.0)
    assert abs(plan.changes["medial_slope_degrees"].change) > 2.0
    assert "medial-slope-changes" in codes(plan)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"hinge_to_cortex_mm": 3.0}, "hinge-thin"),
        ({"hinge_to_cortex_mm": 30.0}, "hinge-stiff"),
        ({"hinge_below_plateau_mm": 5.0}, "hinge-near-joint"),
        ({"entry_below_plateau_mm": 60.0, "hinge_below_plateau_mm": 40.0}, "cut-at-tubercle"),
    ],
)
def test_bad_cuts_are_warned_about(changed: dict[str, float], code: str) -> None:
    target = CorrectionTarget(ANGLE, 6.0)
    assert code not in codes(planned(target=target))
    assert code in codes(planned(target=target, **changed))


def test_a_large_opening_and_a_lower_patella_are_warned_about() -> None:
    assert {"opening-large", "patella-height-changes"} <= codes(planned(target=CorrectionTarget(ANGLE, 20.0)))


def _short_shaft_warnings(landmarks: LandmarkSet) -> list[str]:
    plan = plan_osteotomy(box_tibia(), landmarks, OsteotomyParameters(biplanar=False), CorrectionTarget(ANGLE, 8.0))
    return [warning.message for warning in plan.warnings if warning.code == "short-shaft"]


@pytest.mark.parametrize("side", SIDES)
def test_an_axis_from_a_short_shaft_is_warned_about_with_its_error(side: str) -> None:
    width = 76.0
    knee = leg_landmarks(side, whole=False)
    for share, known in ((0.95, True), (0.86, False)):
        shafts = {"tibia": SeenShaft(share * width, width)}
        (message,) = _short_shaft_warnings(replace(knee, shafts=shafts))
        slopes = [short_shaft_error(f"slope_{compartment}", shafts) or 0.0 for compartment in ("medial", "lateral")]
        # Shorter than the table was measured on: at least what its shortest shaft costs.
        more = "" if known else " or more"
        assert f"by {short_shaft_error('aMPTA', shafts):.1f} degrees{more} in the frontal" in message
        assert f"{max(slopes):.1f} degrees{more} in the sagittal" in message
        assert f"{share * width:.0f} mm from the joint" in message
    assert _short_shaft_warnings(replace(knee, shafts={"tibia": SeenShaft(1.45 * width, width)})) == []
    # With the ankle's centre the axis does not rest on the shaft.
    whole = replace(leg_landmarks(side), shafts={"tibia": SeenShaft(0.9 * width, width)})
    assert _short_shaft_warnings(whole) == []


def test_a_shaft_set_by_hand_counts_as_far_as_it_reaches() -> None:
    assert _short_shaft_warnings(leg_landmarks("left", whole=False)) == []
    ends = {"tibial_shaft_proximal": (0.0, 0.0, -50.0), "tibial_shaft_distal": (0.0, 0.0, -70.0)}
    (message,) = _short_shaft_warnings(leg_landmarks("left", whole=False, **ends))
    assert "70 mm from the joint" in message and "set by hand" in message


def test_without_hip_or_ankle_only_an_angle_is_planned() -> None:
    knee = leg_landmarks("right", whole=False)
    parameters = OsteotomyParameters(biplanar=False)
    with pytest.raises(InputError, match="hip centre is unknown"):
        plan_osteotomy(box_tibia(), knee, parameters, CorrectionTarget())
    plan = plan_osteotomy(box_tibia(), knee, parameters, CorrectionTarget(ANGLE, 8.0))
    assert plan.miniaci_degrees is None and "hka_degrees" not in plan.changes
    # Without an ankle there is no mechanical axis: only the angle against the shaft is measured.
    assert "mpta_degrees" not in plan.changes
    assert plan.changes["anatomical_mpta_degrees"].change == pytest.approx(8.0, abs=1e-9)


def test_bad_input_is_refused() -> None:
    tibia, landmarks, parameters = box_tibia(), leg_landmarks("right"), OsteotomyParameters(biplanar=False)
    with pytest.raises(InputError, match="open"):
        plan_osteotomy(Surface(tibia.vertices, tibia.faces[1:]), landmarks, parameters, CorrectionTarget())
    with pytest.raises(InputError, match="no surface"):
        plan_osteotomy(Surface.empty(), landmarks, parameters, CorrectionTarget())
    with pytest.raises(InputError, match="already"):
        plan_osteotomy(tibia, landmarks, parameters, CorrectionTarget(FUJISAWA, 5.0))
    wrong_side = leg_landmarks("left")
    # In RAS the side may be right: the whole leg is then half a turn off.
    with pytest.raises(InputError, match="correct the side, or convert the bones to LPS"):
        plan_osteotomy(tibia, type(landmarks)(wrong_side.landmarks, {}, "right"), parameters, CorrectionTarget())
    with pytest.raises(InputError, match="between"):
        OsteotomyParameters(hinge_to_cortex_mm=-1.0)
    with pytest.raises(InputError, match="known"):
        OsteotomyParameters(kind="dome")


@pytest.mark.parametrize("side", SIDES)
def test_a_malleolus_and_a_shaft_set_by_hand_below_a_cut_tibia_are_planned_with(side: str) -> None:
    """The tibia ends 160 mm below the joint, and a long film shows the rest."""
    parameters, target = OsteotomyParameters(), CorrectionTarget(ANGLE, 8.0)
    below = {"medial_malleolus": (-22.0, 3.0, -312.0), "tibial_shaft_distal": (0.0, 0.0, -230.0)}
    for whole in (True, False):
        bare = plan_osteotomy(round_tibia(side), leg_landmarks(side, whole), parameters, target)
        plan = plan_osteotomy(round_tibia(side), leg_landmarks(side, whole, **below), parameters, target)
        assert np.allclose(plan.motion, bare.motion)
        for name in below:
            place, after = plan.landmarks[name], plan.landmarks_after[name]
            assert np.allclose(after, plan.motion[:3, :3] @ place + plan.motion[:3, 3])
    for wrong in ((-22.0, 3.0, 312.0), (300.0, 3.0, -80.0), (-22.0, 3.0, 60.0)):
        with pytest.raises(InputError, match="medial_malleolus lies far off the tibia"):
            plan_osteotomy(round_tibia(side), leg_landmarks(side, medial_malleolus=wrong), parameters, target)
    with pytest.raises(InputError, match="tibial_tubercle lies far off the tibia"):
        plan_osteotomy(round_tibia(side), leg_landmarks(side, tibial_tubercle=(5.0, -25.0, -245.0)), parameters, target)


def test_a_plan_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    plan = planned()
    tibia = box_tibia()
    write_plan(tmp_path, plan, tibia, correct_tibia(tibia, plan))
    again, surface = read_plan(tmp_path)
    assert again.parameters == plan.parameters and again.target == plan.target and again.warnings == plan.warnings
    assert np.allclose(again.motion, plan.motion) and surface.volume == pytest.approx(tibia.volume)
    content = json.loads((tmp_path / "plan.json").read_text())
    for damage, words in (
        ({"schema": "other/1"}, "schema"),
        ({"files": {"tibia": "../tibia.stl"}}, "own folder"),
        ({"hinge": {}}, "complete"),
        ({"entry": [10**400, 0, 0]}, "complete"),
        ({"side": "left"}, "axes are not those of a left tibia"),
        ({"axes": content["axes"] | {"lateral": [0, 0, 0]}}, "axes"),
        ({"hinge": content["hinge"] | {"direction": [0, 0, 0]}}, "length one"),
        ({"wedge_degrees": float("nan")}, "nan degrees"),
        ({"height_mm": -5.0}, "-5 mm"),
        ({"lower_plane": content["cut_plane"]}, "closing wedge"),
        ({"landmarks": {}}, "lacks the landmark"),
    ):
        (tmp_path / "plan.json").write_text(json.dumps(content | damage))
        with pytest.raises(InputError, match=words):
            read_plan(tmp_path)

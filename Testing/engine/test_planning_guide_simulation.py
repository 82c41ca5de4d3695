"""A guide seated on shapes whose seat, freedom and errors are known by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.planning.contact_step import contact_step
from SSRKDCore.planning.guide_contacts import Pose, guide_contacts
from SSRKDCore.planning.guide_errors import CutSection, correction_error, moved_plane
from SSRKDCore.planning.guide_gaps import BoneNearGuide
from SSRKDCore.planning.guide_model import Guide
from SSRKDCore.planning.guide_motion import moved_guide
from SSRKDCore.planning.guide_scores import score
from SSRKDCore.planning.guide_simulation import SimulationParameters, simulate_guide, with_control
from SSRKDCore.planning.guide_stability import StabilityParameters, guide_stability
from SSRKDCore.planning.guide_tolerances import ToleranceParameters
from SSRKDCore.planning.plane import Plane
from SSRKDCore.planning.seating import PENETRATION_TOLERANCE_MM, seat_from
from SSRKDCore.planning.seating_search import SeatingParameters, search_seat
from SSRKDCore.population.rigid_transforms import rotation_about
from SSRKDCore.surface import Surface

MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])
CORNER_PUSH = np.array([-1.0, 1.0, -1.0]) / np.sqrt(3)
QUICK = SimulationParameters(seating=SeatingParameters(starts=4), tolerances=ToleranceParameters(samples=2))


def box(grown: float = 0.0) -> Surface:
    trimesh = pytest.importorskip("trimesh")
    mesh = trimesh.creation.box((60 + 2 * grown, 40 + 2 * grown, 50 + 2 * grown))
    for _ in range(3):
        mesh = mesh.subdivide()
    return Surface(np.array(mesh.vertices), np.array(mesh.faces))


def patch(bone: Surface, kept: np.ndarray) -> Surface:
    used, index = np.unique(bone.faces[kept], return_inverse=True)
    return Surface(bone.vertices[used], index.reshape(-1, 3)[:, ::-1])


def guide(contact: Surface, push: np.ndarray, clearance: float = 0.0) -> Guide:
    plane = Plane([0.0, 0.0, 5.0], [0.0, 0.0, 1.0])
    hinge = (np.array([-22.0, 0.0, 5.0]), np.array([0.0, 1.0, 0.0]))
    return Guide(Surface.empty(), contact, clearance, plane, 1.2, (), push, hinge)


def corner_guide(clearance: float = 0.0) -> Guide:
    bone = box()
    x, y, z = bone.triangles.mean(axis=1).T
    on_corner = (x > 5) & (y < 0) & (z > 5)
    return guide(patch(bone, on_corner), CORNER_PUSH, clearance)


def seat(one: Guide, bone: Surface, starts: int = 4):
    contacts = guide_contacts(one)
    near = BoneNearGuide(bone, contacts)
    return near, contacts, search_seat(near, contacts, SeatingParameters(starts=starts), np.random.default_rng(3))


def test_a_guide_on_its_own_bone_seats_at_zero() -> None:
    found = simulate_guide(corner_guide(), box(), QUICK, seed=1)
    assert found.seating_error["translation_mm"] < 0.05
    assert found.seating_error["rotation_degrees"] < 0.1
    assert found.contact.contact_percent[0.25] == pytest.approx(100.0)
    assert found.seating.to_dict()["distinct_seats"] == 1
    assert found.cut.largest_mm < 0.1
    assert found.scores.accuracy == 6


def test_a_guide_on_a_corner_grown_by_half_a_mm_stands_off_by_half_a_mm_from_each_face() -> None:
    _, _, found = seat(corner_guide(), box(grown=0.5))
    assert found.seat.pose.shift == pytest.approx([0.5, -0.5, 0.5], abs=0.02)
    assert found.seat.mean_gap_mm == pytest.approx(0.0, abs=0.02)
    assert found.seat.penetration_mm <= PENETRATION_TOLERANCE_MM


def test_a_flat_guide_on_a_flat_bone_grown_by_half_a_mm_stands_off_by_that() -> None:
    bone = box()
    x, y, z = bone.triangles.mean(axis=1).T
    flat = guide(patch(bone, (z > 24.9) & (abs(x) < 15) & (abs(y) < 12)), np.array([0.0, 0.0, -1.0]))
    near, contacts, found = seat(flat, box(grown=0.5))
    # Nothing drives it sideways, and nothing does so by accident.
    assert found.seat.pose.shift == pytest.approx([0.0, 0.0, 0.5], abs=0.02)
    slippery = guide_stability(near, contacts, found.seat.pose, 0.0, StabilityParameters(friction=0.0))
    rough = guide_stability(near, contacts, found.seat.pose, 0.0, StabilityParameters(friction=0.4))
    assert slippery.freedoms == 3
    assert slippery.weakest_force_ratio < 0.01
    # Coulomb: the eight-edged pyramid inside the cone holds between cos(pi/8) and all of the coefficient.
    assert 0.4 * np.cos(np.pi / 8) - 0.01 < rough.weakest_force_ratio < 0.41
    assert rough.resisted_percent > slippery.resisted_percent


def test_a_step_of_long_trust_solves_the_linear_programme() -> None:
    from scipy.optimize import linprog

    generator = np.random.default_rng(4)
    for _ in range(20):
        rows = generator.normal(size=(300, 6))
        gaps = generator.uniform(0, 0.3, 300)
        # A slope that the contacts can carry: the programme has an end.
        slope = generator.uniform(0, 1, 300) @ rows
        step, possible = contact_step(-1000.0 * slope, rows, -gaps)
        best = linprog(slope, A_ub=-rows, b_ub=gaps, bounds=(None, None), method="highs")
        assert possible and best.success
        assert slope @ step == pytest.approx(best.fun, rel=1e-6)
        assert (rows @ step >= -gaps - 1e-6).all()


def test_a_designed_clearance_is_taken_up_and_the_control_takes_it_out_of_the_error() -> None:
    bone = box(grown=-0.3)
    control = simulate_guide(corner_guide(clearance=0.3), bone, QUICK, seed=1)
    assert control.seating_error["translation_lps_mm"] == pytest.approx([-0.3, 0.3, -0.3], abs=0.02)
    assert control.contact.contact_percent[0.25] == pytest.approx(100.0)
    misplaced = rotation_about(np.array([0.0, 1.0, 0.0]), 1.5, np.array([20.0, -10.0, 15.0]))
    found = simulate_guide(moved_guide(corner_guide(clearance=0.3), misplaced), bone, QUICK, seed=1)
    beyond = with_control(found, control, bone).beyond_control
    assert beyond is not None
    assert beyond["rotation_degrees"] == pytest.approx(1.5, abs=0.1)
    same = with_control(control, control, bone).beyond_control
    assert same is not None and same["translation_mm"] == pytest.approx(0.0, abs=1e-9)


def test_along_a_prism_the_guide_stays_where_it_was_put_and_is_said_to_be_free() -> None:
    bone = box()
    x, y, z = bone.triangles.mean(axis=1).T
    on_edge = (x > 8) & (z > 8) & (abs(y) < 12) & ((x > 29.9) | (z > 24.9))
    saddle = guide(patch(bone, on_edge), np.array([-1.0, 0.0, -1.0]) / np.sqrt(2))
    near, contacts, found = seat(saddle, bone, starts=6)
    assert np.linalg.norm(found.seat.pose.shift) < 0.05
    assert found.lost == 0
    assert found.to_dict()["spread_translation_mm"] > 0.5
    assert guide_stability(near, contacts, found.seat.pose, 0.0, StabilityParameters(friction=0.0)).freedoms == 1
    along = seat_from(near, contacts, Pose(shift=np.array([0.0, 2.0, 0.0])))
    assert along.pose.shift == pytest.approx([0.0, 2.0, 0.0], abs=0.1)


def hooked(room: float) -> tuple[Guide, Surface]:
    """A guide on the front of a plate, and a hook of it behind the plate with some room in between."""
    trimesh = pytest.importorskip("trimesh")
    plate = box().transformed(np.diag([0.1, 1.0, 1.0, 1.0]))
    x, y, z = plate.triangles.mean(axis=1).T
    hook = trimesh.creation.box((4, 10, 10))
    hook.apply_translation((-3 - 2 - room, 0, 0))
    flat = guide(patch(plate, (x > 2.99) & (abs(y) < 12) & (abs(z) < 12)), np.array([-1.0, 0.0, 0.0]))
    return replace(flat, surface=Surface(np.array(hook.vertices), np.array(hook.faces))), plate


def test_an_undercut_counts() -> None:
    loose, plate = hooked(0.3)
    _, _, found = seat(loose, plate, starts=1)
    assert np.linalg.norm(found.seat.pose.shift) < 0.05
    tight, plate = hooked(-0.8)
    _, _, found = seat(tight, plate, starts=1)
    # It cannot get behind the plate: it stands off in front of it.
    assert found.seat.mean_gap_mm > 2.0
    assert found.seat.penetration_mm <= PENETRATION_TOLERANCE_MM


def test_a_corner_is_locked_without_friction_and_a_sphere_turns_freely() -> None:
    near, contacts, found = seat(corner_guide(), box())
    locked = guide_stability(near, contacts, found.seat.pose, 0.0, StabilityParameters(friction=0.0))
    assert locked.freedoms == 0
    assert locked.weakest_force_ratio > 0.3
    trimesh = pytest.importorskip("trimesh")
    ball = trimesh.creation.icosphere(4, 30.0)
    bone = Surface(np.array(ball.vertices), np.array(ball.faces))
    cap = guide(patch(bone, bone.triangles.mean(axis=1)[:, 2] > 22), np.array([0.0, 0.0, -1.0]))
    near, contacts, found = seat(cap, bone, starts=1)
    free = guide_stability(near, contacts, found.seat.pose, 0.0, StabilityParameters(friction=0.0))
    assert free.freedoms == 3


def test_a_turned_bone_gives_the_same_turn_of_the_cut() -> None:
    turn = rotation_about(np.array([0.0, 1.0, 0.0]), 2.0, np.array([20.0, -10.0, 15.0]))
    found = simulate_guide(corner_guide(), box().transformed(turn), QUICK, seed=1)
    assert found.seating_error["rotation_degrees"] == pytest.approx(2.0, abs=0.1)
    assert found.cut.angle_degrees == pytest.approx(2.0, abs=0.1)
    # A right-handed turn about +y lowers the +x side.
    assert found.cut.frontal_degrees == pytest.approx(-2.0, abs=0.1)
    assert found.cut.sagittal_degrees == pytest.approx(0.0, abs=0.1)


def test_left_and_right_mirror_each_other() -> None:
    turn = rotation_about(np.array([0.0, 1.0, 0.0]), 2.0, np.array([20.0, -10.0, 15.0]))
    mirrored = replace(
        moved_guide(corner_guide(), np.eye(4)),
        contact=corner_guide().contact.transformed(MIRROR),
        seating_direction=MIRROR[:3, :3] @ CORNER_PUSH,
    )
    found = simulate_guide(mirrored, box().transformed(turn).transformed(MIRROR), QUICK, seed=1)
    assert found.cut.frontal_degrees == pytest.approx(2.0, abs=0.1)


def test_distances_of_a_shifted_and_a_tilted_plane_are_those_of_the_box() -> None:
    section = CutSection(box(), Plane([0, 0, 5], [0, 0, 1]))
    shifted = section.error_of(Plane([0, 0, 5.6], [0, 0, 1]))
    assert shifted.largest_mm == pytest.approx(0.6)
    assert shifted.within_1_mm_percent == 100.0
    tilt = rotation_about(np.array([0.0, 1.0, 0.0]), 3.0, np.array([0.0, 0.0, 5.0]))
    tilted = section.error_of(moved_plane(section.plane, tilt))
    assert tilted.largest_mm == pytest.approx(30 * np.tan(np.deg2rad(3.0)), abs=0.01)
    assert tilted.within_1_mm_percent == pytest.approx(100 / (30 * np.tan(np.deg2rad(3.0))), abs=3.0)


def test_a_hinge_that_moves_away_opens_by_less() -> None:
    bone = box()
    section = CutSection(bone, Plane([0, 0, 5], [0, 0, 1]))
    hinge = (np.array([-20.0, 0.0, 5.0]), np.array([0.0, 1.0, 0.0]))
    outwards = np.eye(4)
    outwards[0, 3] = -2.0
    found = correction_error(hinge, section, outwards, 10.0)
    expected = np.rad2deg(2 * np.arcsin(50 * np.sin(np.deg2rad(5.0)) / 52))
    assert found.opening_reached_degrees == pytest.approx(expected, abs=1e-6)
    assert found.frontal_degrees == pytest.approx(expected - 10.0, abs=1e-6)
    still = correction_error(hinge, section, np.eye(4), 10.0, (np.array([0, 0, 40.0]), np.array([0, 0, -300.0])))
    assert still.frontal_degrees == pytest.approx(0.0) and still.mechanical_axis_degrees == pytest.approx(0.0)


def test_a_closing_wedge_keeps_its_angle_between_two_guided_cuts() -> None:
    section = CutSection(box(), Plane([0, 0, 5], [0, 0, 1]))
    hinge = (np.array([-20.0, 0.0, 5.0]), np.array([0.0, 1.0, 0.0]))
    outwards = np.eye(4)
    outwards[0, 3] = -2.0
    assert correction_error(hinge, section, outwards, 10.0, closing=True).opening_reached_degrees == 10.0


def test_the_wedge_is_the_guides_own_unless_another_is_given() -> None:
    planned = replace(corner_guide(), parameters={"wedge_degrees": 7.5})
    own = simulate_guide(planned, box(), QUICK).correction
    given = simulate_guide(planned, box(), replace(QUICK, opening_degrees=9.0)).correction
    assert own is not None and own.opening_degrees == 7.5
    assert given is not None and given.opening_degrees == 9.0


def test_the_first_picture_already_shows_the_gaps_and_both_cuts() -> None:
    from SSRKDCore.pictures.render import RenderingUnavailable
    from SSRKDCore.planning.simulation_pictures import cut_picture, gap_picture

    bone = box()
    turn = rotation_about(np.array([0.0, 1.0, 0.0]), 4.0, np.array([20.0, -10.0, 15.0]))
    found = simulate_guide(corner_guide(), bone.transformed(turn), QUICK)
    try:
        gap, cut = (draw(found, bone).astype(float) for draw in (gap_picture, cut_picture))
    except RenderingUnavailable as error:
        pytest.skip(str(error))
    red, green, blue = np.moveaxis(gap[:, :700], 2, 0)
    assert (blue > red + 60).mean() > 0.02
    red, green, blue = np.moveaxis(cut, 2, 0)
    assert (green > red + 25).sum() > 300
    assert (red > green + 60).sum() > 300


def test_a_guide_seats_on_the_real_tibia_that_it_was_made_on(shared_data: Path) -> None:
    pytest.importorskip("manifold3d")
    from SSRKDCore.planning.correction_target import CorrectionTarget
    from SSRKDCore.planning.guide import make_guide
    from SSRKDCore.planning.guide_parameters import GuideParameters
    from SSRKDCore.planning.landmarks import find_landmarks
    from SSRKDCore.planning.osteotomy import OsteotomyParameters
    from SSRKDCore.planning.osteotomy_plan import plan_osteotomy
    from SSRKDCore.surface_files import read_bone_surfaces

    bones = read_bone_surfaces(shared_data / "legs" / "TLEM2_CT_L")
    landmarks = find_landmarks(bones, "left")
    plan = plan_osteotomy(bones["tibia"], landmarks, OsteotomyParameters(), CorrectionTarget("angle", 8.0))
    made = make_guide(bones["tibia"], plan, GuideParameters(voxel_mm=0.8))
    found = simulate_guide(made, bones["tibia"], QUICK)
    assert found.contact.contact_percent[0.25] >= 95.0
    assert found.seating_error["translation_mm"] < 0.3
    assert found.seating_error["along_push_mm"] == pytest.approx(made.clearance_mm, abs=0.05)
    assert found.seating_error["rotation_degrees"] < 0.5
    assert found.seating.seat.penetration_mm <= PENETRATION_TOLERANCE_MM
    assert found.correction is not None and found.correction.opening_degrees == 8.0


def test_the_same_seed_gives_the_same_result_and_another_seed_another() -> None:
    first, again, other = (simulate_guide(corner_guide(), box(), QUICK, seed=seed).to_dict() for seed in (5, 5, 6))
    assert first == again
    assert first["monte_carlo"] != other["monte_carlo"]


def test_printing_errors_move_the_seat_by_about_their_size() -> None:
    tolerances = simulate_guide(corner_guide(), box(), QUICK, seed=2).tolerances
    assert tolerances["samples_lost"] == 0
    assert 0.02 < tolerances["translation_mm"]["mean"] < 2.0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda one: moved_guide(one, np.array([[1, 0, 0, 90.0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])), "from the bone"),
        (lambda one: replace(one, contact=one.contact.transformed(MIRROR), seating_direction=MIRROR[:3, :3] @ -CORNER_PUSH,), "away"),
        (lambda one: replace(one, contact=Surface.empty()), "no contact patch"),
    ],
)  # fmt: skip
def test_guides_that_do_not_belong_are_refused_with_the_reason(change, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        simulate_guide(change(corner_guide()), box(), QUICK)


def test_an_open_bone_is_refused_and_a_cancelled_run_ends() -> None:
    bone = box()
    with pytest.raises(InputError, match="open"):
        simulate_guide(corner_guide(), Surface(bone.vertices, bone.faces[1:]), QUICK)
    with pytest.raises(Cancelled):
        simulate_guide(corner_guide(), bone, QUICK, cancelled=lambda: True)


def test_scores_follow_equal_bands() -> None:
    assert [score(percent) for percent in (0, 16, 17, 49, 50, 83, 84, 100)] == [1, 1, 2, 3, 4, 5, 6, 6]

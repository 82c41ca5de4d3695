"""Posed knees: the shin goes backwards, the patella stays in its groove, and no bone enters another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh
from synthetic_knee import LATERAL_CONDYLE, MEDIAL_CONDYLE, TUBEROSITY, synthetic_knee

from SSRKDCore.errors import InputError
from SSRKDCore.population.anatomies import read_legs
from SSRKDCore.population.joint_frames import knee_frame
from SSRKDCore.population.knee_motion import ImpossiblePose, JointSpaces, KneeMotion, posed
from SSRKDCore.population.patella_tracking import PatellaOffset
from SSRKDCore.population.penetration import closest_pair, smallest_gap, surface_points
from SSRKDCore.population.rigid_transforms import rotation_about, translation
from SSRKDCore.surface import Surface


@pytest.fixture(scope="module")
def bones() -> dict[str, Surface]:
    return synthetic_knee()


@pytest.fixture(scope="module")
def motion(bones: dict[str, Surface]) -> KneeMotion:
    return KneeMotion(bones)


def _ball(center: tuple[float, float, float], radius: float) -> Surface:
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=radius)
    return Surface(np.asarray(mesh.vertices) + center, np.asarray(mesh.faces))


def _degrees(transform: np.ndarray) -> float:
    return float(np.rad2deg(np.arccos(np.clip((np.trace(transform[:3, :3]) - 1.0) / 2.0, -1.0, 1.0))))


def test_frame_finds_the_condyles_and_landmarks(motion: KneeMotion) -> None:
    frame = motion.frame
    # The bones are sampled at 2 mm; balls of known place and size come back to a quarter of that.
    for centre, radius, truth in (
        (frame.medial_centre, frame.medial_radius, MEDIAL_CONDYLE),
        (frame.lateral_centre, frame.lateral_radius, LATERAL_CONDYLE),
    ):
        assert np.linalg.norm(centre - truth[0]) < 0.5
        assert radius == pytest.approx(truth[1], abs=0.5)
    assert np.linalg.norm(frame.tuberosity - TUBEROSITY) < 1.0
    assert frame.femoral_width == pytest.approx(46.0 + 44.5, abs=1.0)
    # The shafts of the solids lean by known angles: femur (-8, -4, 145), tibia (3, -6, 160) upwards.
    assert frame.flexion_deg == pytest.approx(np.rad2deg(np.arctan(6 / 160) - np.arctan(4 / 145)), abs=0.6)
    assert frame.valgus_deg == pytest.approx(np.rad2deg(np.arctan(3 / 160) + np.arctan(8 / 145)), abs=0.6)


def test_knees_of_the_wrong_side_or_way_round_are_refused(bones: dict[str, Surface]) -> None:
    mirrored = {name: bone.transformed(np.diag([-1.0, 1.0, 1.0, 1.0])) for name, bone in bones.items()}
    with pytest.raises(InputError, match="fibula lies medial"):
        knee_frame(mirrored)
    turned = {
        name: bone.transformed(rotation_about(np.array([0, 0, 1.0]), 180.0, np.zeros(3)))
        for name, bone in bones.items()
    }
    with pytest.raises(InputError):
        knee_frame(turned)
    with pytest.raises(InputError, match="no fibula"):
        KneeMotion({name: bone for name, bone in bones.items() if name != "fibula"})


@pytest.mark.parametrize("gap", [3.0, 0.5, -1.5])
def test_gap_between_balls(gap: float) -> None:
    first, second = _ball((0, 0, 0), 20.0), _ball((28.0 + gap, 0, 0), 8.0)
    # Icospheres of 642 vertices lie up to 0.1 mm within their ball of 20 mm.
    assert smallest_gap(first, second) == pytest.approx(gap, abs=0.15)
    assert smallest_gap(second, first) == smallest_gap(first, second)


def test_gap_sees_a_thin_bone_between_the_vertices_of_a_coarse_one() -> None:
    box = trimesh.creation.box((100.0, 100.0, 10.0))
    plate = Surface(np.asarray(box.vertices), np.asarray(box.faces))
    # A pin whose tip enters the plate by 2 mm, far from all of the plate's 8 vertices.
    pin = _ball((13.0, -7.0, 6.0), 3.0)
    assert smallest_gap(plate, pin) == pytest.approx(-2.0, abs=0.05)
    assert smallest_gap(plate, _ball((13.0, -7.0, 30.0), 3.0), reach=4.0) == 4.0


def test_points_of_a_surface_leave_no_hole() -> None:
    box = trimesh.creation.box((30.0, 20.0, 10.0))
    points = surface_points(Surface(np.asarray(box.vertices), np.asarray(box.faces)), 1.5)
    assert np.abs(points / [15.0, 10.0, 5.0]).max(axis=1) == pytest.approx(np.ones(len(points)), abs=1e-9)
    on_top = points[points[:, 2] > 4.99]
    grid = np.stack(np.meshgrid(np.linspace(-15, 15, 31), np.linspace(-10, 10, 21), [5.0]), axis=-1).reshape(-1, 3)
    assert np.linalg.norm(grid[:, None] - on_top[None], axis=2).min(axis=1).max() < 1.5


@pytest.mark.parametrize("flexion", [-5.0, 20.0, 40.0])
def test_flexion_takes_the_shin_backwards_by_that_angle(
    motion: KneeMotion, bones: dict[str, Surface], flexion: float
) -> None:
    knee = motion.posed(flexion - motion.frame.flexion_deg)
    assert knee.frame.flexion_deg == pytest.approx(flexion, abs=0.2)
    low = bones["tibia"].vertices[:, 2] < -140.0
    back = (knee.bones["tibia"].vertices - bones["tibia"].vertices)[low, 1].mean()
    assert np.sign(back) == np.sign(flexion)
    # The end of the shin, about 165 mm below the axis, travels along an arc.
    assert abs(back) == pytest.approx(165.0 * np.sin(np.deg2rad(abs(flexion))), rel=0.15)
    assert np.array_equal(knee.bones["femur"].vertices, bones["femur"].vertices)
    for name, bone in knee.bones.items():
        moved = bones[name].transformed(knee.transforms[name])
        assert np.array_equal(moved.vertices, bone.vertices) and np.array_equal(bone.faces, bones[name].faces)
        assert knee.transforms[name][:3, :3] @ knee.transforms[name][:3, :3].T == pytest.approx(np.eye(3), abs=1e-9)


def test_no_motion_leaves_the_bones_where_they_are(motion: KneeMotion, bones: dict[str, Surface]) -> None:
    knee = motion.posed(0.0)
    for name in ("femur", "tibia", "fibula"):
        assert np.abs(knee.bones[name].vertices - bones[name].vertices).max() < 0.2
    # The patella may slip sideways by a millimetre to where it sits deeper.
    assert np.abs(knee.bones["patella"].vertices - bones["patella"].vertices).max() < 1.5


def test_tibia_turns_inwards_and_varus_brings_the_foot_to_the_middle(motion: KneeMotion) -> None:
    straight = motion.posed(0.0)
    inwards = motion.posed(0.0, rotation_deg=10.0)
    assert inwards.frame.tuberosity[0] > straight.frame.tuberosity[0] + 4.0
    assert _degrees(inwards.transforms["tibia"] @ np.linalg.inv(straight.transforms["tibia"])) == pytest.approx(
        10.0, abs=1.0
    )
    varus = motion.posed(0.0, varus_deg=2.0)
    assert varus.frame.valgus_deg == pytest.approx(straight.frame.valgus_deg - 2.0, abs=0.3)
    foot = {knee: knee_bones["tibia"].vertices[:, 2].argmin() for knee, knee_bones in (("tibia", motion.bones),)}[
        "tibia"
    ]
    assert varus.bones["tibia"].vertices[foot, 0] > straight.bones["tibia"].vertices[foot, 0] + 3.0


def test_the_knee_unlocks_about_its_medial_side(motion: KneeMotion) -> None:
    knee = motion.posed(40.0 - motion.frame.flexion_deg, lift_off=5.0)
    frame, shin = motion.frame, knee.transforms["tibia"]
    # Where the points of the shin that began at the two facet centres are now, along the shin's own front: the lateral one has
    # come forward, which is the femur rolling back on it, by 10.5 degrees at 52 mm from the pivot.
    forward = np.cross(frame.flexion_axis, knee.frame.tibial_axis)
    medial, lateral = (
        (shin[:3, :3] @ c + shin[:3, 3] - c) @ forward for c in (frame.medial_centre, frame.lateral_centre)
    )
    assert lateral - medial == pytest.approx(52.0 * np.sin(np.deg2rad(10.5)), abs=1.0)
    assert abs(medial) < 1.0


@pytest.mark.parametrize("flexion", [0.0, 25.0, 40.0])
def test_joint_spaces_are_reached_and_bones_stay_apart(motion: KneeMotion, flexion: float) -> None:
    wanted = JointSpaces(medial=3.0, lateral=4.0, patellofemoral=2.0, tibiofibular=2.5)
    knee = motion.posed(flexion, spaces=wanted, lift_off=1.0)
    # One compartment is in contact, the other open by no more than was allowed.
    spare = (knee.spaces.medial - wanted.medial, knee.spaces.lateral - wanted.lateral)
    assert min(spare) == pytest.approx(0.0, abs=0.1) and max(spare) < 1.15
    assert smallest_gap(knee.bones["femur"], knee.bones["tibia"]) == pytest.approx(
        min(knee.spaces.medial, knee.spaces.lateral), abs=0.15
    )
    assert smallest_gap(knee.bones["patella"], knee.bones["femur"]) == pytest.approx(2.0, abs=0.15)
    assert smallest_gap(knee.bones["fibula"], knee.bones["tibia"]) == pytest.approx(2.5, abs=0.15)


@pytest.mark.parametrize("flexion", [20.0, 40.0])
def test_patella_follows_its_groove_at_the_end_of_its_tendon(motion: KneeMotion, flexion: float) -> None:
    knee = motion.posed(flexion)
    assert knee.frame.tendon_length == pytest.approx(motion.frame.tendon_length, abs=0.3)
    before, after = motion.bones["patella"].centroid, knee.bones["patella"].centroid
    # Down by less than the arc of the whole angle at its 55 mm from the axis, and more than half of it; still in front.
    arc = 55.0 * np.deg2rad(flexion)
    assert 0.5 * arc < before[2] - after[2] < arc
    assert after[1] < knee.bones["femur"].vertices[:, 1].min()
    turn = knee.transforms["patella"][:3, :3]
    assert _degrees(knee.transforms["patella"]) == pytest.approx(0.65 * flexion, abs=0.1)
    assert (turn @ np.array([0.0, 0.0, 1.0]))[1] < 0.0  # Its upper pole comes forward as the femur's front turns down.
    assert smallest_gap(knee.bones["patella"], knee.bones["tibia"]) > 1.0


def test_a_patella_beside_the_groove_is_caught_by_it(bones: dict[str, Surface]) -> None:
    beside = {**bones, "patella": bones["patella"].transformed(translation(np.array([-5.0, -1.0, 0.0])))}
    middle = KneeMotion(bones).posed(40.0).bones["patella"].centroid[0]
    motion = KneeMotion(beside)
    start = beside["patella"].centroid[0]
    assert start < middle - 4.0
    assert motion.posed(0.0).bones["patella"].centroid[0] < start + 1.5
    assert motion.posed(40.0).bones["patella"].centroid[0] > start + 3.0
    assert motion.posed(40.0, patella=PatellaOffset(shift_mm=2.0)).bones["patella"].centroid[0] == pytest.approx(
        motion.posed(40.0).bones["patella"].centroid[0] + 2.0, abs=0.1
    )


def test_fibula_goes_with_the_tibia_and_is_moved_out_of_it(motion: KneeMotion, bones: dict[str, Surface]) -> None:
    knee = motion.posed(30.0)
    assert np.array_equal(knee.transforms["fibula"], knee.transforms["tibia"])
    inside = {**bones, "fibula": bones["fibula"].transformed(translation(np.array([4.0, 0.0, 0.0])))}
    assert smallest_gap(inside["fibula"], inside["tibia"]) < -0.3
    moved = KneeMotion(inside).posed(10.0)
    assert smallest_gap(moved.bones["fibula"], moved.bones["tibia"]) == pytest.approx(0.4, abs=0.1)
    relative = np.linalg.inv(moved.transforms["tibia"]) @ moved.transforms["fibula"]
    assert relative[:3, :3] == pytest.approx(np.eye(3), abs=1e-9) and relative[0, 3] < -1.0


def test_impossible_poses_are_refused(bones: dict[str, Surface]) -> None:
    swallowed = {**bones, "fibula": bones["fibula"].transformed(translation(np.array([20.0, -10.0, 0.0])))}
    with pytest.raises(ImpossiblePose, match="fibula"):
        posed(swallowed, 0.0)


@pytest.mark.parametrize("flexion", [0.0, 40.0])
def test_real_legs_bend_without_intersection(shared_data: Path, flexion: float) -> None:
    # Legs from a CT and from an MRI. MC22_R shows two millimetres and a half of fibula within tibia as it is.
    for leg in read_legs(shared_data, excluded_subjects=["TLEM2_CT", "ICL_MRI"]):
        if leg.name not in ("pymskt_DESS_R", "MC22_L"):
            continue
        motion = KneeMotion(leg.bones)
        assert 14.0 < motion.frame.lateral_radius < 26.0 and 14.0 < motion.frame.medial_radius < 26.0
        knee = motion.posed(flexion - motion.frame.flexion_deg)
        assert knee.frame.flexion_deg == pytest.approx(flexion, abs=0.2)
        gap, pair = closest_pair(knee.bones)
        assert gap > 0.3, pair
        # The patella is in front of the joint, near the middle of the femur's width.
        patella = knee.bones["patella"].centroid
        assert patella[1] < knee.frame.centre[1] - 30.0
        assert abs((patella - knee.frame.centre) @ knee.frame.flexion_axis) < 12.0


def test_what_the_code_says_of_real_legs(shared_data: Path) -> None:
    # The figures in the docstrings of joint_frames, patella_tracking and random_knee, and who is not looked at.
    motions = [KneeMotion(leg.bones) for leg in read_legs(shared_data, excluded_subjects=["TLEM2_CT", "ICL_MRI"])]
    assert len(motions) == 6
    for motion in motions:
        frame = motion.frame
        assert -7.0 < frame.flexion_deg < 0.5
        assert 1.1 < frame.tendon_length / frame.patella_length < 1.7
        assert 2.65 < motion.spaces.medial < 4.15


def test_patella_offsets_turn_as_they_say(motion: KneeMotion) -> None:
    straight = motion.posed(0.0).transforms["patella"][:3, :3]
    tilted = motion.posed(0.0, patella=PatellaOffset(tilt_deg=5.0)).transforms["patella"][:3, :3] @ straight.T
    assert (tilted @ np.array([1.0, 0.0, 0.0]))[1] == pytest.approx(np.sin(np.deg2rad(5.0)), abs=1e-3)
    spun = motion.posed(0.0, patella=PatellaOffset(spin_deg=5.0)).transforms["patella"][:3, :3] @ straight.T
    assert (spun @ np.array([0.0, 0.0, -1.0]))[0] == pytest.approx(np.sin(np.deg2rad(5.0)), abs=1e-3)

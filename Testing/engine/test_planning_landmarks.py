"""Landmarks and frames of legs whose places are known, in any pose, of both sides, and what is refused."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from leg_shapes import ANKLE, HIP, MIRROR, labelled, moved, rotation, simple_leg

from SSRKDCore.errors import InputError
from SSRKDCore.grid import Grid
from SSRKDCore.planning.anatomical_frames import anatomical_frames, femoral_frame, tibial_frame
from SSRKDCore.planning.bone_samples import BoneSamples
from SSRKDCore.planning.landmark_files import read_landmarks, write_landmarks
from SSRKDCore.planning.landmark_set import GIVEN, LANDMARK_BONES, LandmarkSet
from SSRKDCore.planning.landmarks import find_landmarks
from SSRKDCore.planning.leg_bones import read_leg
from SSRKDCore.planning.shaft_axis import first_direction
from SSRKDCore.segmentation_files import write_segmentation
from SSRKDCore.surface import Surface


def leg(side: str = "right", knee_only: bool = True) -> dict[str, Surface]:
    return simple_leg(side, slope=8.0, varus=3.0, valgus=2.0, knee_only=knee_only)


@cache
def landmarks(side: str = "right", knee_only: bool = True) -> LandmarkSet:
    return find_landmarks(leg(side, knee_only), side)


def test_landmarks_of_a_whole_leg_lie_where_its_solids_end() -> None:
    found = landmarks(knee_only=False)
    assert set(found) == set(LANDMARK_BONES) and not found.missing
    for name, place, tolerance in (
        ("hip_centre", HIP, 0.2),
        ("ankle_centre", ANKLE, 3.0),
        ("medial_condyle_distal", (25 - 22 * np.sin(np.deg2rad(2)), 5, 0), 1.5),
        ("lateral_condyle_distal", (-25 - 22 * np.sin(np.deg2rad(2)), 5, 0.9), 1.5),
        ("medial_condyle_posterior", (25, 30, 21), 1.5),
        ("medial_epicondyle", (47, 5, 21), 1.5),
        ("lateral_epicondyle", (-47, 5, 23), 1.5),
        ("tibial_eminence", (0, 0, 3), 1.5),
        # The ball's outermost point in front of a chord that leans 8 degrees.
        ("tibial_tubercle", (0, -23.9, -39.4), 1.5),
        ("fibula_at_plafond", (-30, 12, ANKLE[2]), 1.5),
        ("fibular_head", (-34, 18, -12), 1.5),
        ("patella_inferior_pole", (0, -43, 14), 2.0),
    ):
        assert np.linalg.norm(found[name] - place) < tolerance, name
    assert abs(found["femoral_shaft_distal"][:2]).max() < 0.3


def test_a_knee_has_neither_hip_nor_ankle_and_says_why() -> None:
    found = landmarks()
    assert "hip_centre" not in found and "field of view" in found.missing["hip_centre"]
    assert "ankle_centre" not in found and "field of view" in found.missing["ankle_centre"]
    for name in set(landmarks(knee_only=False)) - set(found.missing):
        # Marching cubes on another grid, and a shaft cut short: nothing else differs.
        if "shaft" not in name:
            assert np.linalg.norm(found[name] - landmarks(knee_only=False)[name]) < 2.5, name


def test_a_left_leg_is_the_mirror_image() -> None:
    right, left = landmarks("right"), landmarks("left")
    for name, place in right.items():
        np.testing.assert_allclose(left[name], place * [-1, 1, 1], atol=0.7, err_msg=name)
    for make in (femoral_frame, tibial_frame):
        frame, mirrored = make(right), make(left)
        np.testing.assert_allclose(mirrored.axes, frame.axes * np.array([[-1.0], [1.0], [1.0]]), atol=0.02)
        assert np.linalg.det(frame.axes) == pytest.approx(1.0) and np.linalg.det(mirrored.axes) == pytest.approx(-1.0)
        # Lateral is the patient's right for a right leg; the front is -y.
        assert frame.lateral[0] < -0.98 and mirrored.lateral[0] > 0.98
        assert frame.anterior[1] < -0.98 and frame.proximal[2] > 0.98
    frames = anatomical_frames(right)
    assert frames.patella is not None and not frames.missing
    assert tibial_frame(right).local(right["tibial_tubercle"])[1] > 20


def lopsided(bones: dict[str, Surface]) -> dict[str, Surface]:
    """Bent, twisted and rough: nothing of it is its own mirror image, nor lies on a grid of its own."""
    turn, generator = moved(rotation((0.3, 1, 0.5), 11.0), (23.0, -7.0, 410.0)), np.random.default_rng(4)
    bent = {}
    for name, bone in bones.items():
        x, y, z = bone.vertices.T
        wave = np.stack(
            [3.0 * np.sin(z / 37.0 + y / 50.0), 2.0 * np.sin(x / 23.0 + 1.0), 1.5 * np.sin(x / 31.0 + y / 17.0)]
        )
        noise = generator.uniform(-0.15, 0.15, bone.vertices.shape)
        bent[name] = Surface(bone.vertices + wave.T + noise, bone.faces).transformed(turn)
    return bent


@pytest.mark.parametrize("knee_only", [True, False])
def test_a_lopsided_leg_and_its_mirror_image_have_the_same_landmarks(knee_only: bool) -> None:
    right = lopsided(leg(knee_only=knee_only))
    left = {name: bone.transformed(MIRROR) for name, bone in right.items()}
    given = np.array([4.0, 2.0, 1.0]) + find_landmarks(right, "right")["lateral_plateau_centre"]
    mirror = np.array([-1.0, 1.0, 1.0])
    for set_by_hand in ({}, {"lateral_plateau_centre": given}):
        found = find_landmarks(right, "right", set_by_hand)
        mirrored = find_landmarks(left, "left", {name: place * mirror for name, place in set_by_hand.items()})
        assert set(found) == set(mirrored) and found.reach == mirrored.reach and mirrored.side == "left"
        for name, place in found.items():
            np.testing.assert_array_equal(mirrored[name], place * mirror, err_msg=name)


def test_a_mirrored_segmentation_gives_mirrored_bones(tmp_path: Path) -> None:
    labels, grid = labelled(lopsided(leg()))
    (x, y, z), across = grid.origin, (labels.shape[2] - 1) * grid.spacing[0]
    turned = Grid((-x - across, y, z), grid.spacing, grid.shape)
    write_segmentation(tmp_path / "right.seg.nrrd", labels, grid, "right")
    write_segmentation(tmp_path / "left.seg.nrrd", labels[:, :, ::-1], turned, "left")
    right, left = (read_leg(tmp_path / f"{side}.seg.nrrd", side) for side in ("right", "left"))
    places = [find_landmarks(bones, side) for bones, side in ((right, "right"), (left, "left"))]
    assert set(places[0]) == set(places[1])
    for name, place in places[0].items():
        np.testing.assert_allclose(places[1][name], place * [-1, 1, 1], atol=1e-6, err_msg=name)


@pytest.mark.parametrize("bend", [0.0, 40.0])
def test_pose_does_not_matter(bend: float) -> None:
    """The knee bent about the condyles, the leg turned by 30 degrees about an oblique axis."""
    straight, bones = landmarks(), leg()
    flexion = moved(np.eye(3), (0, 5, 22)) @ moved(rotation((1, 0, 0), bend)) @ moved(np.eye(3), (0, -5, -22))
    turn = moved(rotation((1, -0.5, 0.7), 30.0), (80, -30, 900))
    matrices = {name: turn if name == "femur" else turn @ flexion for name in bones}
    found = find_landmarks({name: bone.transformed(matrices[name]) for name, bone in bones.items()}, "right")
    for name, place in straight.items():
        if LANDMARK_BONES[name] in ("femur", "tibia"):
            matrix = matrices[str(LANDMARK_BONES[name])]
            expected = matrix[:3, :3] @ place + matrix[:3, 3]
            assert np.linalg.norm(found[name] - expected) < 0.7, name


def test_a_given_landmark_replaces_the_computed_one_and_others_follow(tmp_path: Path) -> None:
    automatic = landmarks()
    centre = automatic["lateral_plateau_centre"] + [0.0, 6.0, 0.0]
    found = find_landmarks(leg(), "right", {"lateral_plateau_centre": centre, "hip_centre": HIP})
    np.testing.assert_array_equal(found["lateral_plateau_centre"], centre)
    assert found.landmarks["hip_centre"].source == GIVEN
    assert np.linalg.norm(found["lateral_plateau_anterior"] - automatic["lateral_plateau_anterior"]) > 0.3
    assert tibial_frame(found).lateral[1] > tibial_frame(automatic).lateral[1] + 0.05
    assert femoral_frame(found).proximal_axis == "mechanical"
    # What a person set comes back from the file; what was computed is computed again.
    write_landmarks(tmp_path / "landmarks.json", found)
    again = read_landmarks(tmp_path / "landmarks.json", "right")
    assert set(again) == {"lateral_plateau_centre", "hip_centre"}
    np.testing.assert_allclose(again["hip_centre"], HIP)
    with pytest.raises(InputError, match="left"):
        read_landmarks(tmp_path / "landmarks.json", "left")


def test_a_picture_shows_hip_and_ankle_that_were_given_and_the_axis_that_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from SSRKDCore.pictures import landmark_picture
    from SSRKDCore.planning.landmark_views import draw_landmarks

    drawn: list[tuple] = []
    monkeypatch.setattr(landmark_picture, "write_landmark_picture", lambda *parts: drawn.append(parts))
    found = find_landmarks(leg(), "right", {"hip_centre": HIP, "ankle_centre": ANKLE})
    draw_landmarks(tmp_path / "landmarks.png", leg(), found)
    *_, lines, views = drawn[0]
    for words in ("whole leg, from the front", "whole leg, from the lateral side"):
        low, high = views[words][2]
        assert ((low <= HIP) & (high >= HIP) & (low <= ANKLE) & (high >= ANKLE)).all()
    start, end = lines["tibial mechanical axis"]
    np.testing.assert_allclose((start - end) / np.linalg.norm(start - end), tibial_frame(found).proximal, atol=1e-12)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("medial_condyle_posterior", "lateral_condyle_posterior"),
        ("medial_condyle_distal", "lateral_condyle_distal"),
        ("medial_plateau_edge", "lateral_plateau_edge"),
        ("medial_plateau_centre", "lateral_plateau_centre"),
        ("femoral_shaft_distal", "femoral_shaft_proximal"),
    ],
)
def test_given_landmarks_that_are_exchanged_are_refused(first: str, second: str, side: str) -> None:
    """With the posterior condyles exchanged, 176 degrees of HKA would be read as 184; also without a fibula, which tells sides apart."""
    bones = {name: bone for name, bone in leg(side).items() if name != "fibula"}
    here, there = landmarks(side)[first], landmarks(side)[second]
    turn = moved(rotation((1, 2, 3), 70.0), (5.0, -200.0, 30.0))
    for motion in (np.eye(4), turn):
        placed = {name: bone.transformed(motion) for name, bone in bones.items()}
        given = {name: motion[:3, :3] @ place + motion[:3, 3] for name, place in ((first, here), (second, there))}
        find_landmarks(placed, side, given)
        for wrong in ({first: given[second], second: given[first]}, dict.fromkeys((first, second), given[first])):
            with pytest.raises(InputError, match=f"{first} and {second} are exchanged or lie at one place"):
                find_landmarks(placed, side, wrong)


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_landmark_that_cannot_be_meant_is_refused(side: str) -> None:
    """On a knee whose bones end 130 mm from the joint, and turned, so that no axis of the frame tells anything."""
    turn = moved(rotation((1, 2, 3), 50.0), (300.0, -200.0, 900.0))
    mirror = np.array([1.0 if side == "right" else -1.0, 1.0, 1.0])
    bones = {name: bone.transformed(turn) for name, bone in leg(side).items()}

    def placed(position: object) -> np.ndarray:
        return np.asarray(turn[:3, :3] @ (np.asarray(position, float) * mirror) + turn[:3, 3])

    def refusal(name: str, position: object) -> str:
        with pytest.raises(InputError) as refused:
            find_landmarks(bones, side, {name: placed(position)})
        return str(refused.value)

    usual = {name: place * mirror for name, place in landmarks(side).items()}
    for name, place in usual.items():
        assert f"The landmark {name} lies" in refusal(name, place + np.array([0.0, 1000.0, 0.0])), name
    for name in (
        "medial_plateau_edge",
        "patella_superior_pole",
        "medial_epicondyle",
        "tibial_tubercle",
        "fibular_head",
    ):
        # Still on the right side of its partner, and 80 mm in front of the bone.
        assert "can be meant: give it in LPS millimetres" in refusal(name, usual[name] - [0.0, 80.0, 0.0])
    # Hip and ankle lie beyond the cut ends of the shafts, where a long film shows them, also of a tall person.
    for name, place in (("hip_centre", HIP), ("ankle_centre", ANKLE), ("hip_centre", 1.4 * HIP)):
        np.testing.assert_allclose(find_landmarks(bones, side, {name: placed(place)})[name], placed(place))
    ends = {"medial_malleolus": ANKLE + np.array([20, 0, -10]), "lateral_malleolus": ANKLE + np.array([-30, 12, -20]),
            "fibula_at_plafond": ANKLE + np.array([-30, 12, 0]), "tibial_shaft_distal": (0, 0, -300),
            "femoral_shaft_proximal": (0, 0, 350)}  # fmt: skip
    assert set(find_landmarks(bones, side, {name: placed(place) for name, place in ends.items()})) >= set(ends)
    assert "hip_centre lies 8" in refusal("hip_centre", 2.5 * HIP)
    # In centimetres; beside the leg; of another frame.
    assert "mm from the knee, nearer than any" in refusal("hip_centre", 0.1 * HIP)
    assert "ankle centre lies above the knee" in refusal("ankle_centre", -0.1 * ANKLE)
    assert "hip centre lies beside the leg" in refusal("hip_centre", (350.0, 0.0, 100.0))
    assert "ankle centre lies beside the leg" in refusal("ankle_centre", (0.0, 300.0, -60.0))
    assert "lie across the leg" in refusal("femoral_shaft_proximal", usual["femoral_shaft_distal"] + [400.0, 0.0, 60.0])


@pytest.mark.parametrize("side", ["right", "left"])
def test_an_ankle_set_by_hand_is_held_against_the_leg_and_in_itself(side: str) -> None:
    mirror = np.array([1.0 if side == "right" else -1.0, 1.0, 1.0])
    medial, lateral = ANKLE + np.array([21.0, -2.0, -13.0]), ANKLE + np.array([-30.0, 12.0, -20.0])

    def refusal(**given: object) -> str:
        with pytest.raises(InputError) as refused:
            find_landmarks(leg(side), side, {name: np.asarray(place, float) * mirror for name, place in given.items()})
        return str(refused.value)

    places = {
        "ankle_centre": ANKLE * mirror,
        "medial_malleolus": medial * mirror,
        "lateral_malleolus": lateral * mirror,
    }
    found = find_landmarks(leg(side), side, places)
    assert all(np.array_equal(found[name], place) for name, place in places.items())
    assert "medial malleolus lies above the knee" in refusal(medial_malleolus=-medial)
    assert "medial malleolus lies 3" in refusal(medial_malleolus=0.1 * medial)
    assert "lateral malleolus lies beside the leg" in refusal(lateral_malleolus=(-300.0, 0.0, -80.0))
    assert "no ankle is so large" in refusal(ankle_centre=ANKLE, medial_malleolus=medial + np.array([0.0, 0.0, 120.0]))
    assert "are exchanged" in refusal(medial_malleolus=lateral, lateral_malleolus=medial)


def test_nothing_is_set_beyond_a_tibia_that_is_there_from_end_to_end() -> None:
    tibia = {"tibia": leg(knee_only=False)["tibia"]}
    tip = landmarks(knee_only=False)["medial_malleolus"]
    assert "medial_malleolus" in find_landmarks(tibia, "right", {"medial_malleolus": tip + np.array([0.0, 0.0, -10.0])})
    for name, place in (
        ("medial_malleolus", tip + np.array([0.0, 0.0, -40.0])),
        ("tibial_shaft_distal", (0.0, 0.0, -420.0)),
    ):
        with pytest.raises(InputError, match=rf"{name} lies \d+ mm from the tibia, which is there from end to end"):
            find_landmarks(tibia, "right", {name: place})


def test_a_landmark_of_an_absent_bone_is_held_against_the_others() -> None:
    tibia = {"tibia": leg()["tibia"]}
    notch = landmarks()["intercondylar_notch"]
    assert "intercondylar_notch" in find_landmarks(tibia, "right", {"intercondylar_notch": notch, "hip_centre": HIP})
    with pytest.raises(InputError, match=r"intercondylar_notch lies \d+ mm from the tibia"):
        find_landmarks(tibia, "right", {"intercondylar_notch": notch + np.array([0.0, 0.0, 300.0])})
    with pytest.raises(InputError, match=r"hip_centre lies \d+ mm from the tibia"):
        find_landmarks(tibia, "right", {"hip_centre": HIP + np.array([0.0, 0.0, 700.0])})
    with pytest.raises(InputError, match="nearer than any"):
        find_landmarks(tibia, "right", {"hip_centre": 0.1 * HIP})


def test_what_is_no_leg_of_that_side_is_refused() -> None:
    bones = leg()
    mirrored = {name: bone.transformed(MIRROR) for name, bone in bones.items()}
    with pytest.raises(InputError, match="fibula lies medial"):
        find_landmarks(mirrored, "right")
    with pytest.raises(InputError, match="fibula lies medial"):
        find_landmarks(bones, "left")
    tibia = bones["tibia"]
    with pytest.raises(InputError, match="tibia is open"):
        find_landmarks({**bones, "tibia": Surface(tibia.vertices, tibia.faces[:-3])}, "right")
    with pytest.raises(InputError, match="inside out"):
        find_landmarks({**bones, "tibia": Surface(tibia.vertices, tibia.faces[:, ::-1])}, "right")
    with pytest.raises(InputError, match="no triangles"):
        find_landmarks({**bones, "femur": Surface.empty()}, "right")
    with pytest.raises(InputError, match="neither a femur nor a tibia"):
        find_landmarks({"patella": bones["patella"]}, "right")
    with pytest.raises(InputError, match="no landmark"):
        find_landmarks(bones, "right", {"nose": (0, 0, 0)})
    with pytest.raises(InputError, match="below the knee"):
        find_landmarks(bones, "right", {"hip_centre": (0, 0, -400)})
    with pytest.raises(InputError, match="millimetres"):
        find_landmarks({name: bone.transformed(np.diag([0.1, 0.1, 0.1, 1])) for name, bone in bones.items()}, "right")


@pytest.mark.parametrize("absent", ["femur", "tibia", "fibula", "patella"])
def test_a_missing_bone_costs_its_own_landmarks_only(absent: str) -> None:
    found = find_landmarks({name: bone for name, bone in leg().items() if name != absent}, "right")
    for name, owner in LANDMARK_BONES.items():
        if owner == absent and name not in ("medial_malleolus", "lateral_malleolus", "fibula_at_plafond"):
            assert found.missing[name] == f"there is no {absent}"
        elif owner is not None and owner != absent and name in landmarks():
            assert np.linalg.norm(found[name] - landmarks()[name]) < 1.5, name


def _rod(tilt: float, length: float) -> Surface:
    """A rod that leans by `tilt` degrees to +x, closed by a level face below, as a field of view cuts a shaft off."""
    trimesh = pytest.importorskip("trimesh")
    rod = trimesh.creation.cylinder(15.0, length, sections=64)
    rod = trimesh.Trimesh(*trimesh.remesh.subdivide_to_size(rod.vertices, rod.faces, 3.0))
    lean = np.array(rod.vertices)
    lean[:, 0] += np.tan(np.radians(tilt)) * lean[:, 2]
    return Surface(lean, np.asarray(rod.faces))


def test_a_short_bone_is_looked_at_along_its_cut_face_first() -> None:
    """A first guess 25 degrees off sees the oblique cut early; the face's normal shows more of the shaft."""
    wrong = np.array([np.sin(np.radians(-25.0)), 0.0, -np.cos(np.radians(25.0))])
    bone = BoneSamples.of(_rod(5.0, 80.0))
    np.testing.assert_allclose(first_direction(bone, wrong, 70.0), [0.0, 0.0, -1.0], atol=1e-6)
    # A shaft that is long enough is left as it was found, and so is one that ends round.
    assert first_direction(BoneSamples.of(_rod(5.0, 300.0)), wrong, 70.0) is wrong
    trimesh = pytest.importorskip("trimesh")
    ball = trimesh.creation.icosphere(4, 30.0)
    round_end = BoneSamples.of(Surface(np.asarray(ball.vertices), np.asarray(ball.faces)))
    assert first_direction(round_end, wrong, 70.0) is wrong


def test_a_cut_face_is_found_beside_a_broad_flare() -> None:
    """Seen from so far off, more of the flare's surface faces one way than the cut has: it is tried first, and is not flat."""
    trimesh = pytest.importorskip("trimesh")
    outline = np.array([[0.0, -80.0], [15.0, -80.0], [15.0, -60.0], [45.0, 0.0], [0.0, 0.0]])
    flared = trimesh.creation.revolve(outline, sections=64)
    bone = BoneSamples.of(Surface(np.asarray(flared.vertices), np.asarray(flared.faces)))
    for degrees in (35.0, 40.0):
        wrong = np.array([np.sin(np.radians(degrees)), 0.0, -np.cos(np.radians(degrees))])
        np.testing.assert_allclose(first_direction(bone, wrong, 90.0), [0.0, 0.0, -1.0], atol=1e-6)


def test_the_samples_short_tibia_has_its_plateau(repository: Path) -> None:
    """Its middle lies 27 degrees beside the shaft as seen from the joint: what is found must not hang on that guess."""
    bones = read_leg(repository / "Resources" / "SampleCase")
    found = find_landmarks(bones, "left")
    across = found["lateral_plateau_edge"] - found["medial_plateau_edge"]
    # A left knee: lateral is +x, the plateau level to some degrees and as wide as the bone.
    assert across[0] > 0.9 * np.linalg.norm(across)
    top = bones["tibia"].vertices[bones["tibia"].vertices[:, 2] > bones["tibia"].vertices[:, 2].max() - 20.0]
    assert np.linalg.norm(across) > 0.93 * np.ptp(top[:, 0])

"""Measurements of legs whose angles are known, and of real ones."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from leg_shapes import ANKLE, HIP, cut_between, moved, rotation, simple_leg

import SSRKDCore
from SSRKDCore.errors import InputError
from SSRKDCore.planning.landmark_set import Landmark, LandmarkSet, SeenShaft
from SSRKDCore.planning.landmarks import find_landmarks
from SSRKDCore.planning.measurement_errors import CaseErrors, measured_errors, summarised
from SSRKDCore.planning.measurements import measure
from SSRKDCore.planning.plane import Plane
from SSRKDCore.planning.short_shaft_errors import REACHES, Spread, shortened_differences, whole_landmarks
from SSRKDCore.planning.short_shaft_table import short_shaft_error
from SSRKDCore.planning.surface_rays import section_centre
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import read_bone_surfaces


def values(bones: dict[str, Surface], side: str) -> dict[str, float | None]:
    return {name: item.value for name, item in measure(find_landmarks(bones, side)).items()}


def knee(side: str, slope: float, varus: float, valgus: float) -> dict[str, Surface]:
    return simple_leg(side, slope, varus, valgus, knee_only=True)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(("slope", "varus", "valgus"), [(8.0, 3.0, 2.0), (0.0, -4.0, 0.0)])
def test_a_knee_of_known_angles_in_any_turn(side: str, slope: float, varus: float, valgus: float) -> None:
    """The box of the plateau falls backwards by `slope` and medially by `varus`; the condyles rise laterally by `valgus`."""
    turn = moved(rotation((0.3, 1, -0.6), 25.0), (10, 20, -400))
    bones = {name: bone.transformed(turn) for name, bone in knee(side, slope, varus, valgus).items()}
    found = values(bones, side)
    assert found["slope_medial"] == pytest.approx(slope, abs=0.7)
    assert found["slope_lateral"] == pytest.approx(slope, abs=0.7)
    assert found["aMPTA"] == pytest.approx(90 - varus, abs=0.4)
    assert found["aLDFA"] == pytest.approx(90 - valgus, abs=0.4)
    assert found["JLCA"] == pytest.approx(valgus - varus, abs=0.5)
    assert found["aFTA"] == pytest.approx(180.0, abs=0.4)
    for name in ("HKA", "MAD", "Fujisawa", "mLDFA", "MPTA", "tibial_torsion"):
        assert found[name] is None


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_whole_leg_of_known_alignment(side: str) -> None:
    found = values(simple_leg(side, 5.0, 3.0, 2.0), side)
    femur = np.rad2deg(np.arctan2(HIP[0], HIP[2] - 15.0))
    tibia = np.rad2deg(np.arctan2(-ANKLE[0], -3.0 - ANKLE[2]))
    assert found["HKA"] == pytest.approx(180.0 + femur - tibia, abs=0.7)
    assert found["mLDFA"] == pytest.approx(90.0 - 2.0 + femur, abs=0.6)
    assert found["MPTA"] == pytest.approx(90.0 - 3.0 + tibia, abs=0.6)
    line = np.interp(0.0, [ANKLE[2], HIP[2]], [ANKLE[0], HIP[0]])
    assert found["MAD"] == pytest.approx(line, abs=1.5)
    assert found["Fujisawa"] == pytest.approx(50.0 - 100.0 * line / 74.0, abs=2.0)


def leg_of_points(side: str = "right", **changed: tuple[float, float, float]) -> LandmarkSet:
    """A right leg's points (x medial, -y to the front), or their mirror image."""
    places: dict[str, tuple[float, float, float]] = {
        "hip_centre": (0, 0, 420), "intercondylar_notch": (0, 0, 8), "ankle_centre": (0, 0, -350),
        "medial_condyle_posterior": (25, 30, 20), "lateral_condyle_posterior": (-25, 30, 20),
        "medial_condyle_distal": (25, 0, 0), "lateral_condyle_distal": (-25, 0, 0),
        "medial_plateau_centre": (22, 0, -5), "lateral_plateau_centre": (-22, 0, -5),
        "medial_plateau_edge": (38, 0, -8), "lateral_plateau_edge": (-38, 0, -8),
        "fibula_at_plafond": (-25, 0, -350),
    }  # fmt: skip
    places |= changed
    sign = 1.0 if side == "right" else -1.0
    found = {name: Landmark(name, np.array(place) * [sign, 1, 1]) for name, place in places.items()}
    return LandmarkSet(found, {}, side)


@pytest.mark.parametrize("side", ["right", "left"])
def test_signs(side: str) -> None:
    neutral = measure(leg_of_points(side))
    assert neutral["HKA"].value == pytest.approx(180.0) and neutral["Fujisawa"].value == pytest.approx(50.0)
    # The ankle medially: a bow leg; the line from hip to ankle passes medially of the knee.
    varus = measure(leg_of_points(side, ankle_centre=(30, 0, -350)))
    tilt = np.rad2deg(np.arctan2(30, 345))
    assert varus["HKA"].value == pytest.approx(180.0 - tilt, abs=1e-6)
    assert varus["MAD"].value is not None and varus["MAD"].value > 10
    assert varus["Fujisawa"].value is not None and varus["Fujisawa"].value < 40
    assert varus["MPTA"].value == pytest.approx(90.0 - tilt, abs=1e-6)
    # The fibula behind the plafond: outward torsion.
    turned = measure(leg_of_points(side, fibula_at_plafond=(-25, 15, -350)))
    assert turned["tibial_torsion"].value == pytest.approx(np.rad2deg(np.arctan2(15, 25)), abs=1e-6)


def test_flexion_does_not_change_the_hip_knee_ankle_angle() -> None:
    bend = rotation((1, 0, 0), 30.0)
    names = [name for name in leg_of_points() if name.endswith(("ankle_centre", "plateau_centre", "plateau_edge"))]
    lower = leg_of_points(ankle_centre=(20, 0, -350))
    bent = leg_of_points(**{name: tuple(bend @ lower[name]) for name in names})
    straight, flexed = (measure(landmarks)["HKA"].value for landmarks in (lower, bent))
    assert straight is not None and flexed == pytest.approx(straight, abs=1e-6)


@pytest.mark.parametrize("side", ["right", "left"])
def test_flexion_does_not_change_how_far_the_joint_opens(side: str) -> None:
    """Though one condyle is lowest further in front than the other; and the angles between shafts and joint add up (Paley 2002)."""
    bend = rotation((1, 0, 0), 25.0)
    lower = {
        "tibial_shaft_proximal": np.array([0.0, 0.0, -80.0]),
        "tibial_shaft_distal": np.array([2.0, 0.0, -120.0]),
        "medial_plateau_centre": np.array([22.0, 0.0, -7.0]),
        "lateral_plateau_centre": np.array([-22.0, 0.0, -5.0]),
    }
    femur = {
        "femoral_shaft_distal": (-2, 0, 80), "femoral_shaft_proximal": (-4, 0, 120),
        "medial_condyle_distal": (25, -6, 0), "lateral_condyle_distal": (-25, 5, 1),
    }  # fmt: skip
    straight = measure(leg_of_points(side, **femur, **{name: tuple(place) for name, place in lower.items()}))
    bent = measure(leg_of_points(side, **femur, **{name: tuple(bend @ place) for name, place in lower.items()}))
    opening = np.rad2deg(np.arctan2(1, 50) - np.arctan2(2, 44))
    assert straight["flexion"].value == pytest.approx(0.0, abs=0.5)
    assert bent["flexion"].value == pytest.approx(25.0, abs=0.5)
    for found in (straight, bent):
        assert found["JLCA"].value == pytest.approx(opening, abs=0.3)
        parts = [found[name].value for name in ("aFTA", "aLDFA", "aMPTA", "JLCA")]
        assert parts[0] == pytest.approx(180.0 - (parts[1] - parts[2] + parts[3]), abs=0.4)


def test_each_measurement_says_what_it_used_and_what_was_missing() -> None:
    found = measure(find_landmarks(knee("right", 8.0, 3.0, 2.0), "right", {"hip_centre": HIP, "ankle_centre": ANKLE}))
    assert found["HKA"].value is not None and set(found["HKA"].given) == {"hip_centre", "ankle_centre"}
    assert found["HKA"].condition is not None and "load" in found["HKA"].condition
    assert found["MPTA"].condition is None
    assert found["tibial_torsion"].value is None and "fibula_at_plafond" in found["tibial_torsion"].missing
    assert all(item.source and item.definition and item.used for item in found.values())


def test_errors_are_reconstruction_minus_reference_and_failures_count() -> None:
    reference, tilted = knee("right", 8.0, 3.0, 2.0), knee("right", 0.0, -4.0, 0.0)
    errors, reach = measured_errors({**reference, "tibia": tilted["tibia"]}, reference, "right")
    assert set(reach) == {"femur", "tibia"} and all(0.85 < share < 1.46 for share in reach.values())
    flawed, _ = measured_errors({**reference, "tibia": tilted["tibia"]}, reference, "right", {"femur": 45.0})
    assert flawed["aLDFA"] is None and flawed["aFTA"] is None and flawed["aMPTA"] == errors["aMPTA"]
    assert errors["aMPTA"] == pytest.approx(7.0, abs=0.7)
    assert errors["slope_medial"] == pytest.approx(-8.0, abs=1.2)
    assert errors["aLDFA"] == pytest.approx(0.0, abs=1e-9) and errors["HKA"] is None
    summary = summarised([CaseErrors("a", {"JLCA": 1.0}), CaseErrors("b", {"JLCA": -3.0}), CaseErrors("c", {}, "open")])
    record = summary["JLCA"]
    assert (record.measured, record.missing, record.worst, record.worst_case) == (2, 1, -3.0, "b")
    assert record.mean == pytest.approx(-1.0) and record.mean_absolute == pytest.approx(2.0)
    assert record.sd == pytest.approx(np.sqrt(8.0))
    assert summary["HKA"].measured == 0 and summary["HKA"].mean is None


@cache
def real_leg(folder: Path, side: str) -> tuple[dict[str, Surface], LandmarkSet]:
    bones = read_bone_surfaces(folder)
    return bones, find_landmarks(bones, side)


@pytest.mark.parametrize("person", ["TLEM2_CT", "MC22"])
def test_both_legs_of_a_person_are_plausible_and_alike(person: str, shared_data: Path) -> None:
    both = []
    for letter, side in (("R", "right"), ("L", "left")):
        measured = measure(real_leg(shared_data / "legs" / f"{person}_{letter}", side)[1])
        both.append({name: item.value for name, item in measured.items()})
        assert all(item.short_shaft_error is None for item in measured.values())
    # Ranges of adults; the two sides of a person, of which one may be segmented worse than the other.
    for name, low, high, alike in (
        ("HKA", 170, 190, 3), ("MPTA", 80, 95, 5), ("mLDFA", 80, 95, 4), ("JLCA", -4, 4, 6), ("slope_medial", 0, 16, 4),
        ("tibial_torsion", 5, 50, 12), ("Insall_Salvati", 0.7, 1.7, 0.3),
    ):  # fmt: skip
        right, left = both[0][name], both[1][name]
        assert right is not None and left is not None
        assert low < right < high and low < left < high, (name, right, left)
        assert abs(right - left) < alike, (name, right, left)


def test_a_leg_cut_to_a_knee_keeps_its_landmarks_and_measures_the_same(shared_data: Path) -> None:
    """And the head of the femur and the plafond are not made up for it."""
    bones, whole = real_leg(shared_data / "legs" / "TLEM2_CT_R", "right")
    knee = find_landmarks({name: cut_between(bone, -130.0, 130.0) for name, bone in bones.items()}, "right")
    assert {"hip_centre", "ankle_centre"} <= set(whole) and not {"hip_centre", "ankle_centre"} & set(knee)
    for name, place in knee.items():
        assert np.linalg.norm(whole[name] - place) < 1.5, name
    values, part = measure(whole), measure(knee)
    for name in ("aMPTA", "aLDFA", "aFTA", "JLCA", "slope_medial", "slope_lateral", "flexion"):
        assert part[name].value == pytest.approx(values[name].value, abs=0.5), name
        assert part[name].short_shaft_error is None
    assert part["Insall_Salvati"].value == pytest.approx(values["Insall_Salvati"].value, abs=0.05)
    assert part["HKA"].value is None and part["MPTA"].value is None


def test_a_small_field_of_view_measures_with_the_error_that_its_short_shafts_bring(shared_data: Path) -> None:
    """A cut bone measures like a whole one whose shaft is looked at no further; both say what that costs."""
    bones, whole = real_leg(shared_data / "legs" / "TLEM2_CT_R", "right")
    knee = find_landmarks({name: cut_between(bone, -80.0, 80.0) for name, bone in bones.items()}, "right")
    assert 0.9 < knee.shafts["tibia"].reach_in_widths < 1.2
    like = find_landmarks(bones, "right", reach=knee.reach)
    truth, cut, seen = measure(whole), measure(knee), measure(like)
    for name in ("aMPTA", "slope_medial", "slope_lateral", "aLDFA"):
        value, error, reference = cut[name].value, cut[name].short_shaft_error, truth[name].value
        assert value is not None and error is not None and reference is not None
        assert seen[name].value == pytest.approx(value, abs=0.5), name
        assert seen[name].short_shaft_error == pytest.approx(error, abs=0.2)
        assert 0.3 < error < 5.0 and abs(value - reference) < 3 * error, name


def test_a_rough_side_does_not_pull_a_shafts_axis() -> None:
    """The middle of a section is its area's: an outline that is long because it is rough weighs no more."""
    angle = np.deg2rad(np.arange(0.0, 360.0, 2.0))
    height = np.arange(0.0, 11.0, 5.0)
    # Half of the tube's wall is ridged along it, by as much outwards as inwards.
    radius = 15.0 + np.where(np.sin(angle) > 0, 0.8 * np.cos(90 * angle), 0.0)
    ring = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    walls = np.array([[x, y, z] for z in height for x, y in ring])
    count, around = len(angle), np.arange(len(angle))
    faces = []
    for level in range(len(height) - 1):
        low, high = level * count + around, (level + 1) * count + around
        faces += [np.stack([low, np.roll(low, -1), np.roll(high, -1)], 1), np.stack([low, np.roll(high, -1), high], 1)]
    tube = Surface(walls, np.concatenate(faces))
    for normal in (np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.0, -1.0])):
        centre = section_centre(tube, Plane(np.array([0.0, 0.0, 4.0]), normal))
        assert centre is not None and np.abs(centre[:2]).max() < 0.1
    assert section_centre(tube, Plane(np.array([0.0, 0.0, 40.0]), np.array([0.0, 0.0, 1.0]))) is None


def test_less_than_a_shaft_is_refused() -> None:
    bones = {name: cut_between(bone, -58.0, 58.0) for name, bone in knee("right", 8.0, 3.0, 2.0).items()}
    found = measure(find_landmarks(bones, "right"))
    assert found["aMPTA"].value is None and "too little" in found["aMPTA"].missing["tibial_shaft_distal"]
    assert found["aLDFA"].value is None and found["aLDFA"].short_shaft_error is None


def test_the_error_of_a_short_shaft_falls_with_the_shaft_that_is_seen() -> None:
    def error(name: str, **reaches: float) -> float | None:
        return short_shaft_error(name, {bone: SeenShaft(80.0 * reach, 80.0) for bone, reach in reaches.items()})

    errors = [error("aMPTA", tibia=reach) for reach in (0.86, 0.95, 1.05, 1.2, 1.4)]
    assert all(before is not None and after is not None and before > after > 0 for before, after in pairwise(errors))
    assert error("aMPTA", tibia=1.45) is None and error("aMPTA", femur=0.9) is None
    alone = [error("aFTA", tibia=1.0), error("aFTA", femur=1.0)]
    assert alone[0] is not None and alone[1] is not None
    assert error("aFTA", tibia=1.0, femur=1.0) == pytest.approx(np.hypot(*alone))


def test_the_table_of_short_shafts_is_that_of_the_differences() -> None:
    bones = {"tibia": simple_leg("right", 5.0, 3.0, 2.0)["tibia"]}
    whole = whole_landmarks(bones, "right")
    differences = shortened_differences(bones, "right", whole)
    assert set(differences) == {"tibia"} and set(differences["tibia"]) == set(REACHES)
    # The shaft of this tibia is straight from 70 mm on, and its tubercle lies above.
    assert abs(differences["tibia"][1.2]["aMPTA"]) < 0.2
    assert Spread.of([1.0, -3.0]) == Spread(2, -1.0, pytest.approx(np.sqrt(8.0)), pytest.approx(np.sqrt(5.0)), 3.0)
    with pytest.raises(InputError, match="too short a shaft"):
        whole_landmarks({"tibia": cut_between(bones["tibia"], -85.0, 50.0)}, "right")


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("measurement_errors", ["--model", "compact", "--cases", "none", "--out", "out"]),
        ("short_shaft_errors", ["--right", "none", "--out", "out.json"]),
    ],
)
def test_a_program_ends_bad_input_in_one_sentence(program: str, words: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", f"SSRKDCore.planning.{program}", *words]
    environment = {**os.environ, "PYTHONPATH": str(Path(SSRKDCore.__file__).parents[1])}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"{program}: none ") and ended.stderr.strip().count("\n") == 0
    assert not list(tmp_path.iterdir())

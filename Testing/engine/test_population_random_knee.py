"""Random knees: seeded, of either side, within their ranges, and never one bone in another."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest
import trimesh
from synthetic_knee import SyntheticKneeModel

from SSRKDCore.anatomy import BONE_NAMES, lateral_direction
from SSRKDCore.errors import InputError
from SSRKDCore.population.joint_frames import knee_frame
from SSRKDCore.population.random_knee import RandomKnee, RandomKneeRanges, random_knee
from SSRKDCore.surface import Surface

_STILL = {"orientation": (0.0, 0.0, 0.0), "placement": (0.0, 0.0, 0.0), "extended_share": 0.0}


@pytest.fixture(scope="module")
def model() -> SyntheticKneeModel:
    return SyntheticKneeModel()


@pytest.fixture(scope="module")
def knees(model: SyntheticKneeModel) -> list[RandomKnee]:
    return [random_knee(model, np.random.default_rng(seed)) for seed in range(8)]


def test_the_same_seed_gives_the_same_knee(model: SyntheticKneeModel, knees: list[RandomKnee]) -> None:
    again = random_knee(model, np.random.default_rng(3))
    assert again.parameters == knees[3].parameters and again.side == knees[3].side
    for name in BONE_NAMES:
        assert np.array_equal(again.bones[name].vertices, knees[3].bones[name].vertices)
    assert knees[3].parameters != knees[4].parameters


def test_no_bone_intersects_another(knees: list[RandomKnee]) -> None:
    # Judged by boolean operations of another library instead of by distances.
    for knee in knees:
        meshes = {name: trimesh.Trimesh(bone.vertices, bone.faces, process=False) for name, bone in knee.bones.items()}
        for first, second in combinations(BONE_NAMES, 2):
            common = trimesh.boolean.intersection([meshes[first], meshes[second]], engine="manifold")
            assert common.is_empty, (first, second)


def test_bones_are_closed_and_outside_stays_outside_on_both_sides(knees: list[RandomKnee]) -> None:
    assert {knee.side for knee in knees} == {"right", "left"}
    for knee in knees:
        assert tuple(knee.bones) == BONE_NAMES
        for bone in knee.bones.values():
            assert bone.is_closed() and bone.volume > 0.0


def test_sides_are_sides(knees: list[RandomKnee]) -> None:
    for knee in knees:
        lateral = lateral_direction(knee.side)
        shift = knee.bones["fibula"].centroid - knee.bones["tibia"].centroid
        assert shift[0] * lateral > 15.0
        assert knee.bones["patella"].centroid[1] < knee.bones["femur"].centroid[1] - 15.0
        assert knee.bones["femur"].centroid[2] > knee.bones["tibia"].centroid[2] + 50.0


def test_left_is_the_mirror_image_of_right(model: SyntheticKneeModel) -> None:
    right = random_knee(model, np.random.default_rng(5), RandomKneeRanges(left_share=0.0, **_STILL))
    left = random_knee(model, np.random.default_rng(5), RandomKneeRanges(left_share=1.0, **_STILL))
    assert (right.side, left.side) == ("right", "left")
    assert right.parameters == left.parameters
    for name in BONE_NAMES:
        assert left.bones[name].vertices == pytest.approx(right.bones[name].vertices * [-1.0, 1.0, 1.0], abs=1e-9)


def test_parameters_are_json_and_within_the_ranges(knees: list[RandomKnee]) -> None:
    ranges = RandomKneeRanges()
    for knee in knees:
        drawn = json.loads(json.dumps(knee.parameters))
        assert drawn == knee.parameters
        assert ranges.flexion[0] - 0.2 <= drawn["flexion_deg"] <= ranges.flexion[1] + 0.2
        assert ranges.width[0] - 0.5 <= drawn["femoral_width_mm"] <= ranges.width[1] + 0.5
        assert ranges.size[0] - 1e-9 <= drawn["size"] <= ranges.size[1] + 1e-9
        assert np.prod(drawn["aspect"]) == pytest.approx(1.0)
        assert min(drawn["joint_spaces_mm"].values()) > 0.3
        assert max(np.abs(drawn["placement_mm"])) <= 2.5 * max(ranges.placement)
    assert len({knee.parameters["size"] for knee in knees}) == len(knees)


def test_flexion_is_that_of_the_bones_and_is_shared_by_thigh_and_shin(model: SyntheticKneeModel) -> None:
    bent = random_knee(
        model, np.random.default_rng(2), RandomKneeRanges(flexion=(24.0, 24.0), left_share=0.0, **_STILL)
    )
    assert bent.parameters["flexion_deg"] == pytest.approx(24.0, abs=0.2)
    # Measured anew on the turned bones, whose shafts now lean; the landmarks are found a little differently there.
    assert knee_frame(bent.bones).flexion_deg == pytest.approx(24.0, abs=1.5)
    # Without flexion the shafts of the synthetic knee lean forwards by 1.6 and 2.1 degrees.
    frame = knee_frame(bent.bones)
    thigh, shin = (np.rad2deg(np.arctan2(axis[1], axis[2])) for axis in (frame.femoral_axis, frame.tibial_axis))
    assert thigh == pytest.approx(12.0 - 1.6, abs=2.0) and shin == pytest.approx(-12.0 - 2.1, abs=2.0)


def test_impossible_bones_end_with_a_clear_error() -> None:
    class LeftKnees(SyntheticKneeModel):
        def sample(self, generator: np.random.Generator) -> dict[str, Surface]:
            mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
            return {name: bone.transformed(mirror) for name, bone in super().sample(generator).items()}

    with pytest.raises(InputError, match=r"25 draws.*fibula lies medial"):
        random_knee(LeftKnees(), np.random.default_rng(0))


@pytest.mark.parametrize(
    "wrong", [{"flexion": (40.0, 0.0)}, {"left_share": 1.5}, {"size": (0.0, 1.0)}, {"tibiofibular_space": (0.0, 1.0)}]
)
def test_ranges_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        RandomKneeRanges(**wrong)  # type: ignore[arg-type]

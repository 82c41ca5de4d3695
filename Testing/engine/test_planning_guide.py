"""Cutting guides: on the bone, clear of it, free slots and holes, one closed piece that comes off."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from box_leg import leg_landmarks, round_tibia

from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.evaluation.exact_distances import signed_distances
from SSRKDCore.planning.correction_target import ANGLE, CorrectionTarget
from SSRKDCore.planning.guide import make_guide
from SSRKDCore.planning.guide_check import check_guide
from SSRKDCore.planning.guide_files import read_guide, write_guide
from SSRKDCore.planning.guide_model import Guide
from SSRKDCore.planning.guide_parameters import GuideParameters
from SSRKDCore.planning.osteotomy import LATERAL_CLOSING, MEDIAL_OPENING, OsteotomyParameters
from SSRKDCore.planning.osteotomy_plan import OsteotomyPlan, plan_osteotomy
from SSRKDCore.surface import Surface

pytest.importorskip("manifold3d")
PARAMETERS = GuideParameters(front_degrees=20.0)


def plan_of(side: str, kind: str = MEDIAL_OPENING) -> OsteotomyPlan:
    parameters = OsteotomyParameters.usual(kind)
    return plan_osteotomy(round_tibia(side), leg_landmarks(side, slope=5.0), parameters, CorrectionTarget(ANGLE, 10.0))


@cache
def guide_of(side: str, kind: str = MEDIAL_OPENING) -> Guide:
    return make_guide(round_tibia(side), plan_of(side, kind), PARAMETERS)


def test_it_is_one_sound_closed_piece_without_undercut() -> None:
    guide = guide_of("right")
    report = check_guide(guide, round_tibia("right"))
    assert report["mesh"]["problems"] == []
    assert report["least_gap_mm"] >= guide.clearance_mm - 0.03
    assert report["least_gap_lifted_mm"] >= guide.clearance_mm - 0.03
    assert report["thinnest_wall_mm"] >= PARAMETERS.least_wall_mm


def test_the_contact_lies_at_the_clearance_and_faces_the_bone() -> None:
    guide = guide_of("right")
    tibia = round_tibia("right")
    assert np.abs(signed_distances(guide.contact.vertices, tibia) - guide.clearance_mm).max() <= 0.021
    assert guide.contact.area > 500.0
    corners = guide.contact.triangles
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (normals @ guide.seating_direction > 0).all()


def test_it_lies_on_the_antero_medial_face_clear_of_tubercle_and_joint() -> None:
    guide, plan = guide_of("right"), plan_of("right")
    middle = plan.axes.coordinates(guide.contact.vertices).mean(axis=0)
    assert middle[0] < 0 < middle[1]  # medial and in front of the plateau's middle
    away = np.linalg.norm(guide.contact.vertices - plan.landmarks["tibial_tubercle"], axis=1)
    assert away.min() >= PARAMETERS.tubercle_distance_mm - 1.0
    assert plan.axes.coordinates(guide.contact.vertices)[:, 2].max() <= -PARAMETERS.joint_distance_mm + 1.0


@pytest.mark.parametrize("kind", (MEDIAL_OPENING, LATERAL_CLOSING))
def test_a_blade_and_the_wires_pass(kind: str) -> None:
    guide = guide_of("right", kind)
    cuts = [guide.cut_plane] + ([guide.second_cut_plane] if guide.second_cut_plane is not None else [])
    assert len(cuts) == (2 if kind == LATERAL_CLOSING else 1)
    samples = np.concatenate([guide.surface.vertices, guide.surface.triangles.mean(axis=1)])
    for cut in cuts:
        height = np.abs(cut.distances(samples))
        along = np.cross(cut.normal, guide.seating_direction)
        across = (samples - samples[height < 1.0].mean(axis=0)) @ (along / np.linalg.norm(along))
        inside = np.abs(across) < PARAMETERS.slot_width_mm / 2 - 1.0
        assert height[inside].min() >= guide.slot_thickness_mm / 2 - 0.02
    for wire in guide.wires:
        offset = samples - wire.entry
        radial = np.linalg.norm(offset - np.outer(offset @ wire.direction, wire.direction), axis=1)
        assert radial.min() >= wire.diameter_mm / 2 + 0.05
    fixing = [abs(wire.direction @ (guide.second_cut_plane or guide.cut_plane).normal) for wire in guide.wires[:2]]
    assert max(fixing) < 1e-9
    assert guide.hinge is not None
    to_hinge = np.cross(guide.hinge[0] - guide.wires[2].entry, guide.wires[2].direction)
    assert np.linalg.norm(to_hinge) < 1e-6


def test_left_is_right_mirrored() -> None:
    right, left = guide_of("right"), guide_of("left")
    assert left.surface.volume == pytest.approx(right.surface.volume, rel=1e-3)
    mirror = np.array([-1.0, 1.0, 1.0])
    assert np.allclose(left.surface.bounds[:, 1:], right.surface.bounds[:, 1:], atol=0.1)
    assert np.allclose(left.seating_direction * mirror, right.seating_direction, atol=1e-6)


def test_a_guide_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    guide = guide_of("right")
    write_guide(tmp_path, guide, {})
    again = read_guide(tmp_path)
    assert again.surface.is_closed() and again.surface.volume == pytest.approx(guide.surface.volume, rel=1e-6)
    assert again.parameters == guide.parameters and len(again.wires) == 3
    assert np.allclose(again.cut_plane.normal, guide.cut_plane.normal)
    content = json.loads((tmp_path / "guide.json").read_text())
    for damage, words in (
        ({"schema": "other/1"}, "schema"),
        ({"clearance_mm": float("nan")}, "nan is no finite number"),
        ({"slot_thickness_mm": 10**400}, "complete"),
        ({"parameters": {"wedge_degrees": float("inf")}}, "inf is no finite number"),
        ({"hinge": {"point": [0, 0, 0], "direction": [0, 0, 0]}}, "length one"),
    ):
        (tmp_path / "guide.json").write_text(json.dumps(content | damage))
        with pytest.raises(InputError, match=words):
            read_guide(tmp_path)


def test_impossible_guides_are_refused() -> None:
    tibia, plan = round_tibia("right"), plan_of("right")
    with pytest.raises(InputError, match="open"):
        make_guide(Surface(tibia.vertices, tibia.faces[1:]), plan)
    with pytest.raises(InputError, match=r"usable bone|narrower|too steep"):
        make_guide(tibia, plan, replace(PARAMETERS, tubercle_distance_mm=40.0, joint_distance_mm=40.0))
    with pytest.raises(InputError, match="no wall"):
        GuideParameters(hinge_wire_above_cut_mm=3.0, wire_diameter_mm=4.0)
    with pytest.raises(InputError, match="between"):
        GuideParameters(clearance_mm=-0.1)
    with pytest.raises(Cancelled):
        make_guide(tibia, plan, cancelled=lambda: True)

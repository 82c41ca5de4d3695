"""Knees that bend between two exposures: what is simulated is that, and what is made of the results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_knee import SyntheticKneeModel

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.errors import InputError
from SSRKDCore.geometry.mirror import MIRROR
from SSRKDCore.json_files import read_json
from SSRKDCore.population.joint_frames import knee_frame
from SSRKDCore.surface_files import write_surface
from SSRKDCore.trust import bent_knee_study
from SSRKDCore.trust.bent_knee_page import page
from SSRKDCore.trust.bent_knee_study import DRAWN, LEGS, main, summary, trial
from SSRKDCore.trust.bent_knees import STRAIGHT_DEGREES, BentKnee, bent_leg, drawn_bent_knee


def _flexion(knee: BentKnee) -> float:
    left = knee.side == "left"
    frame = knee_frame({n: s.transformed(MIRROR) if left else s for n, s in knee.bones.items()})
    return frame.flexion_deg


def test_only_the_second_radiograph_of_a_drawn_knee_shows_the_bend() -> None:
    model = SyntheticKneeModel()
    straight, bent = (drawn_bent_knee(model, 5, degrees) for degrees in (0.0, 20.0))
    assert np.array_equal(straight.radiographs[0].pixels, bent.radiographs[0].pixels)
    assert np.abs(straight.radiographs[1].pixels - bent.radiographs[1].pixels).max() > 0.5
    assert [image.view for image in bent.radiographs] == [view.name for view in bent.rig.views] == ["ap", "lateral"]
    assert _flexion(straight) == pytest.approx(STRAIGHT_DEGREES, abs=0.5)
    assert _flexion(bent) - _flexion(straight) == pytest.approx(20.0, abs=0.5)
    # The rig stands where the knee is, and does not follow it.
    assert bent.rig == straight.rig


def test_a_leg_is_bent_as_its_mirror_image_is(tmp_path: Path) -> None:
    bones = SyntheticKneeModel().sample(np.random.default_rng(3))
    for side in ("right", "left"):
        (tmp_path / side).mkdir()
        for name in BONE_NAMES:
            surface = bones[name].transformed(MIRROR) if side == "left" else bones[name]
            write_surface(tmp_path / side / f"{name}.ply", surface)
    right, left = (bent_leg(tmp_path / side, 15.0, 0) for side in ("right", "left"))
    assert (right.side, left.side) == ("right", "left")
    for name in BONE_NAMES:
        assert np.abs(right.bones[name].transformed(MIRROR).vertices - left.bones[name].vertices).max() < 0.05
    assert _flexion(right) - _flexion(bent_leg(tmp_path / "right", 0.0, 0)) == pytest.approx(15.0, abs=0.5)
    # The thigh takes half of it, so that the joint stays in the image.
    centre = np.array(right.rig.field_of_view.center)
    near = {n: np.linalg.norm(s.vertices - centre, axis=1).min() for n, s in right.bones.items()}
    assert near["femur"] < 25.0 and near["tibia"] < 25.0


def _judged(light: str, mm: float, **flags: str) -> dict[str, Any]:
    return {
        "light": light,
        "flags": flags,
        "as_a_knee": {"femur": mm, "patella": 2 * mm},
        "own": {"femur": mm, "patella": mm},
    }


_RECORDS = [
    {"kind": DRAWN, "degrees": 0.0, "stated": _judged("green", 0.4), "estimated": _judged("amber", 0.4), "pose": [-1.0, *[0.0] * 5]},
    {"kind": DRAWN, "degrees": 20.0, "stated": _judged("red", 1.0, magnification="red"), "estimated": {"refused": "no"}},
    {"kind": DRAWN, "degrees": 20.0, "stated": _judged("red", 0.5, magnification="red", view_roll="red"),
     "estimated": _judged("amber", 0.5), "pose": [6.0, *[0.0] * 5]},
    {"kind": LEGS, "degrees": 20.0, "stated": {"refused": "no"}, "estimated": {"refused": "no"}},
]  # fmt: skip


def test_rows_say_what_was_refused_flagged_and_how_far_off() -> None:
    straight, bent, legs = summary(_RECORDS)
    assert (
        straight["stated"]["lights"] == {"green": 1, "amber": 0, "red": 0}
        and straight["mean_turn_about_beam_degrees"] == 1.0
    )
    assert bent["knees"] == 2 and bent["stated"]["flags"] == {"magnification": 2, "view_roll": 1}
    assert bent["stated"]["as_a_knee"] == pytest.approx((1.0 + 2.0 + 0.5 + 1.0) / 4)
    assert bent["stated"]["own"] == pytest.approx(0.75) and bent["stated"]["patella"] == pytest.approx(1.5)
    assert bent["stated"]["worst"] == 2.0
    assert bent["estimated"]["refused"] == 1 and bent["mean_turn_about_beam_degrees"] == 6.0
    assert (
        legs["stated"]["refused"] == 1
        and legs["stated"]["own"] is None
        and legs["mean_turn_about_beam_degrees"] is None
    )


def test_the_page_has_a_row_for_each_and_no_figure_where_there_is_none() -> None:
    rows = summary(_RECORDS)
    words = page({"command": "c", "date": "d", "commit": "h", "rows": rows, "left_out": ["seed 1, 30 degrees: cannot"]})
    assert "| 20 degrees | 2 | 0 | 0, 0, 2 | magnification 2, view_roll 1 | 1.12 | 1.50 | 2.00 | 0.75 |" in words
    assert "| 20 degrees | 2 | 1 | 0, 1, 0 | none | 0.75 | 1.00 | 1.00 | 0.50 | 6.00 degrees |" in words
    assert "| 20 degrees | 1 | 1 | 0, 0, 0 | none | - | - | - | - | - |" in words
    assert "- seed 1, 30 degrees: cannot" in words


def test_what_is_refused_is_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise InputError("The images contradict the pose.")

    monkeypatch.setattr(bent_knee_study, "judged_bones", refused)
    monkeypatch.setattr(bent_knee_study, "pose_by_reconstruction", refused)
    knee = BentKnee([], None, "right", {})  # type: ignore[arg-type]
    found = trial(knee, None, None)  # type: ignore[arg-type]
    assert found == {rig: {"refused": "The images contradict the pose."} for rig in ("stated", "estimated")}


def test_bad_input_ends_with_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--model", "compact", "--shape-model", str(tmp_path / "none.npz"), "--work", str(tmp_path / "w"), "--out"]
    assert main([*given, str(tmp_path / "out")]) == 2
    assert "none.npz" in capsys.readouterr().err and not (tmp_path / "out").exists() and not (tmp_path / "w").exists()


def test_the_documentations_table_is_the_measured_one(repository: Path) -> None:
    rows = read_json(repository / "docs" / "measured" / "bent_knees" / "bent_knees.json", "bent knees")["rows"]
    words = (repository / "docs" / "trust.md").read_text(encoding="utf-8")

    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.2f}"

    degrees = sorted({row["degrees"] for row in rows})
    assert degrees == [0.0, 5.0, 10.0, 20.0, 30.0]
    for bend in degrees:
        chosen = [row for kind in (DRAWN, LEGS) for row in rows if (row["kind"], row["degrees"]) == (kind, bend)]
        cells = [
            [", ".join(str(row["stated"]["lights"][light]) for light in ("green", "amber", "red")) for row in chosen]
        ]
        cells += [[number(row["stated"][name]) for row in chosen] for name in ("as_a_knee", "patella", "own")]
        cells += [[str(row["estimated"]["refused"]) for row in chosen]]
        cells += [[number(row["estimated"][name]) for row in chosen] for name in ("as_a_knee", "patella")]
        cells += [[number(row["mean_turn_about_beam_degrees"]) for row in chosen]]
        assert f"| {bend:g} degrees | " + " | ".join(" and ".join(cell) for cell in cells) + " |" in words
    # What the text beside it says.
    assert not any(row["stated"]["lights"]["green"] for row in rows if row["degrees"] >= 10.0)
    for row in rows:
        if row["degrees"] and row["mean_turn_about_beam_degrees"] is not None:
            assert 0.25 < row["mean_turn_about_beam_degrees"] / row["degrees"] < 0.4

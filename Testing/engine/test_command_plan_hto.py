"""`ssrkd plan-hto` and `ssrkd guide` on a real leg: every step from surfaces to a printable guide."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from SSRKDCore.cli import main
from SSRKDCore.planning.guide_files import read_guide
from SSRKDCore.planning.plan_files import read_plan
from SSRKDCore.surface_files import read_surface

pytest.importorskip("manifold3d")


def test_from_bones_to_a_guide(shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bones = shared_data / "legs" / "ICL_MRI_R"
    plan, guide = tmp_path / "plan", tmp_path / "guide"
    words = ["plan-hto", str(bones), "--side", "right", "--angle", "8", "--no-pictures", "--out", str(plan), "--json"]
    assert main(words) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["schema"] == "ssrkd-hto-plan/1" and report["wedge_degrees"] == 8.0
    assert report["changes"]["mpta_degrees"]["change"] == pytest.approx(8.0, abs=1.0)
    read = read_plan(plan)[0]
    assert read.side == "right"
    # What a reconstruction would be wrong by stands beside each angle that it was measured of, and survives the file.
    measured = json.loads((plan / "plan.json").read_text())["changes"]
    assert measured["anatomical_mpta_degrees"]["expected_error"] > 0.5
    assert measured["tubercle_height_mm"]["expected_error"] is None
    assert all(read.changes[name].expected_error == item["expected_error"] for name, item in measured.items())
    assert all(read_surface(plan / name).is_closed() for name in ("corrected_tibia.stl", "wedge.stl", "proximal.stl"))
    assert main(["guide", str(plan), "--no-pictures", "--out", str(guide), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["check"]["mesh"]["closed"] and report["check"]["mesh"]["manifold"]
    assert report["check"]["least_gap_mm"] > 0.1
    assert read_guide(guide).surface.is_closed()


def test_bad_words_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    assert main(["plan-hto", str(tmp_path / "absent"), "--side", "right", "--angle", "8", "--out", out]) == 2
    assert main(["plan-hto", str(tmp_path), "--side", "right", "--angle", "80", "--out", out]) == 2
    assert "wedge angle" in capsys.readouterr().err
    plane = ["--cut-plane", "0", "0", "-30", "0", "0", "1"]
    for words, what in (
        ([*plane, "--hinge-below-plateau-mm", "20"], "--hinge-below-plateau-mm follows from --cut-plane"),
        ([*plane, "--hinge-tilt-degrees", "0"], "--hinge-tilt-degrees follows from --cut-plane"),
        (["--uniplanar", "--tubercle-thickness-mm", "9"], "--tubercle-thickness-mm is of the ascending second cut"),
        (["--type", "lateral-closing", "--ascending-angle-degrees", "100"], "--ascending-angle-degrees is of the"),
    ):
        assert main(["plan-hto", str(tmp_path), "--side", "right", "--angle", "8", "--out", out, *words]) == 2
        assert what in capsys.readouterr().err
    assert main(["guide", str(tmp_path), "--thickness-mm", "99", "--out", out]) == 2
    assert "thickness_mm" in capsys.readouterr().err
    assert main(["guide", str(tmp_path), "--out", out]) == 2
    assert not Path(out).exists()

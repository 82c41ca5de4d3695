"""`ssrkd simulate-guide` from files to a page, a table and refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from test_planning_guide_simulation import box, corner_guide

from SSRKDCore.cli import main
from SSRKDCore.planning.guide_files import write_guide
from SSRKDCore.surface_files import write_surface


@pytest.fixture
def case(tmp_path: Path) -> Path:
    from dataclasses import replace

    body = box().transformed([[0.2, 0, 0, 60], [0, 0.2, 0, -50], [0, 0, 0.2, 50], [0, 0, 0, 1]])
    (tmp_path / "guide").mkdir()
    write_guide(tmp_path / "guide", replace(corner_guide(), surface=body), {})
    write_surface(tmp_path / "tibia.stl", box(grown=0.3))
    return tmp_path


def run(case: Path, *more: str) -> int:
    given = ["--guide", str(case / "guide"), "--reference", str(case / "tibia.stl"), "--out", str(case / "out")]
    quick = ["--starts", "3", "--samples", "2", "--seed", "4", "--no-pictures"]
    return main(["simulate-guide", *given, *quick, *more])


def test_a_case_gives_a_page_figures_and_a_row_in_a_table(case: Path) -> None:
    assert run(case, "--opening", "9", "--control", str(case / "guide")) == 0
    report = json.loads((case / "out" / "report.json").read_text())
    assert report["guide"]["seating_error"]["translation_mm"] == pytest.approx(0.3 * 3**0.5, abs=0.05)
    assert report["guide"]["correction"]["opening_degrees"] == 9
    page = (case / "out" / "report.html").read_text()
    assert "http" not in page and "published bands were not at hand" in page
    assert main(["simulate-guide", "table", str(case / "out"), "--out", str(case / "table")]) == 0
    assert len((case / "table" / "table.csv").read_text().splitlines()) == 3
    table = (case / "table" / "table.html").read_text()
    assert table.count("<tr") == 1 + 2 + 2 and "mean of 1" in table and "our assumption" in table


def test_a_guide_on_another_bone_is_told(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(case) == 0 and "does not fit this bone" not in capsys.readouterr().out
    turn = np.deg2rad(20.0)
    axes = [[np.cos(turn), -np.sin(turn), 0, 0], [np.sin(turn), np.cos(turn), 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    write_surface(case / "tibia.stl", box(grown=0.3).transformed(axes))
    assert run(case, "--overwrite") == 0
    assert "does not fit this bone: " in capsys.readouterr().out
    report = json.loads((case / "out" / "report.json").read_text())
    assert report["notes"][0].startswith("This guide does not fit this bone")
    assert "does not fit this bone" in (case / "out" / "report.html").read_text()


def test_bad_input_is_one_sentence_and_writes_nothing(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(case, "--starts", "0") == 2
    assert run(case, "--reconstruction-sd", "much") == 2
    assert run(case, "--knee-centre", "nan", "0", "0", "--ankle-centre", "0", "0", "-300") == 2
    assert main(["simulate-guide", "table", str(case), "--out", str(case / "table")]) == 2
    for damage in ({"guide": {}}, {"guide": {}, "case": "a", "control": [1]}, {"guide": None, "case": "a"}):
        (case / "report.json").write_text(json.dumps({"schema": "ssrkd-guide-simulation/1"} | damage))
        assert main(["simulate-guide", "table", str(case), "--out", str(case / "table")]) == 2
    assert not (case / "out").exists() and not (case / "table").exists()
    assert "Traceback" not in capsys.readouterr().err

"""What of finished experiments is kept with the project, and how it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.experiments.keep import MAXIMUM_PICTURE_BYTES, keep
from SSRKDCore.json_files import write_json


def _finished(folder: Path, picture_bytes: int) -> None:
    folder.mkdir(parents=True)
    row = {"all": {"exact_assd_mm": {"mean": 0.876, "worst": 2.5}, "failed": 3}, "femur": {"failed": 0}}
    write_json(
        folder / "report.json",
        {
            "title": "angle between the views",
            "command": "ssrkd experiment separation",
            "commit": "abc1234",
            "budget": "cases: 4",
            "tables": {"30 degrees": row, "90 degrees": {"all": {"failed": 12}}},
            "pictures": ["plot.png"],
        },
    )
    (folder / "table.csv").write_text("point,bone\n")
    (folder / "results.jsonl").write_text("{}\n")
    (folder / "plot.png").write_bytes(b"x" * picture_bytes)


def test_tables_and_small_pictures_are_kept_with_command_and_commit(tmp_path: Path) -> None:
    _finished(tmp_path / "results" / "separation", 10)
    _finished(tmp_path / "results" / "large", MAXIMUM_PICTURE_BYTES + 1)
    (tmp_path / "results" / "unfinished").mkdir()
    keep(tmp_path / "results", tmp_path / "kept", "unknown")
    files = {
        path.relative_to(tmp_path / "kept").as_posix() for path in (tmp_path / "kept").rglob("*") if path.is_file()
    }
    assert files == {"README.md", "large/table.csv", "separation/table.csv", "separation/plot.png"}
    page = (tmp_path / "kept" / "README.md").read_text()
    assert "`ssrkd experiment separation`, commit abc1234. cases: 4" in page
    assert "| 30 degrees | 0.88 | 2.50 | 3 |" in page
    # A point at which no bone was found has no figure, and is not left out.
    assert "| 90 degrees | - | - | 12 |" in page
    assert "(separation/plot.png)" in page and "large/plot.png" not in page


def test_nothing_finished_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished experiment"):
        keep(tmp_path, tmp_path / "kept", "unknown")
    assert not (tmp_path / "kept").exists()


def test_what_results_lack_stays_when_adding(tmp_path: Path) -> None:
    _finished(tmp_path / "first" / "noise", 10)
    _finished(tmp_path / "first" / "separation", 10)
    keep(tmp_path / "first", tmp_path / "kept", "unknown")
    before = (tmp_path / "kept" / "README.md").read_text()
    _finished(tmp_path / "second" / "noise", 20)
    _finished(tmp_path / "second" / "calibration", 10)
    keep(tmp_path / "second", tmp_path / "kept", "unknown", add=True)
    page = (tmp_path / "kept" / "README.md").read_text()
    titles = [line.split(":")[0] for line in page.splitlines() if line.startswith("## ")]
    assert titles == ["## calibration", "## noise", "## separation"]
    # Word for word.
    assert page.split("## separation")[1] == before.split("## separation")[1]
    assert len((tmp_path / "kept" / "noise" / "plot.png").read_bytes()) == 20
    assert len((tmp_path / "kept" / "separation" / "plot.png").read_bytes()) == 10
    keep(tmp_path / "second", tmp_path / "anew", "unknown", add=True)
    assert not (tmp_path / "anew" / "separation").exists()


def test_a_page_whose_folders_are_gone_is_not_added_to(tmp_path: Path) -> None:
    _finished(tmp_path / "results" / "noise", 10)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "README.md").write_text("# Experiments\n\n## ../results: of another kind\n")
    with pytest.raises(InputError, match="--add"):
        keep(tmp_path / "results", tmp_path / "kept", "unknown", add=True)
    assert (tmp_path / "kept" / "README.md").read_text().startswith("# Experiments")

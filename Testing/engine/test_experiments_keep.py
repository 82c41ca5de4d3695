"""What of finished experiments is kept with the project, and how it is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.experiments.few_colours import COLOURS, with_few_colours
from SSRKDCore.evaluation.experiments.keep import MAXIMUM_DRAWING_BYTES, MAXIMUM_PICTURE_BYTES, keep
from SSRKDCore.json_files import write_json


def _finished(folder: Path, picture_width: int) -> None:
    folder.mkdir(parents=True)
    Image.new("RGB", (picture_width, 8), "navy").save(folder / "plot.png")
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


def _size(picture: Path) -> tuple[int, int]:
    with Image.open(picture) as opened:
        return opened.size


def test_tables_and_small_pictures_are_kept_with_command_and_commit(tmp_path: Path) -> None:
    _finished(tmp_path / "results" / "separation", 10)
    _finished(tmp_path / "results" / "large", 10)
    (tmp_path / "results" / "large" / "plot.png").write_bytes(b"x" * (MAXIMUM_PICTURE_BYTES + 1))
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


def test_a_plot_is_kept_as_the_drawing_unless_that_holds_a_picture(tmp_path: Path) -> None:
    lines, shaded = (
        '<svg xmlns="http://www.w3.org/2000/svg"><path d="M 0 0"/></svg>',
        "<svg><image href='data:'/></svg>",
    )
    for name, drawing in (("noise", lines), ("gallery", shaded), ("size", lines + " " * MAXIMUM_DRAWING_BYTES)):
        _finished(tmp_path / "results" / name, 10)
        (tmp_path / "results" / name / "plot.svg").write_text(drawing)
    keep(tmp_path / "results", tmp_path / "kept", "unknown")
    kept = {path.parent.name: path.name for path in (tmp_path / "kept").glob("*/plot.*")}
    assert kept == {"noise": "plot.svg", "gallery": "plot.png", "size": "plot.png"}
    assert (tmp_path / "kept" / "noise" / "plot.svg").read_text() == lines
    page = (tmp_path / "kept" / "README.md").read_text()
    assert "(noise/plot.svg)" in page and "(gallery/plot.png)" in page and "noise/plot.png" not in page


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
    assert _size(tmp_path / "kept" / "noise" / "plot.png") == (20, 8)
    assert _size(tmp_path / "kept" / "separation" / "plot.png") == (10, 8)
    keep(tmp_path / "second", tmp_path / "anew", "unknown", add=True)
    assert not (tmp_path / "anew" / "separation").exists()


def test_a_page_whose_folders_are_gone_is_not_added_to(tmp_path: Path) -> None:
    _finished(tmp_path / "results" / "noise", 10)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "README.md").write_text("# Experiments\n\n## ../results: of another kind\n")
    with pytest.raises(InputError, match="--add"):
        keep(tmp_path / "results", tmp_path / "kept", "unknown", add=True)
    assert (tmp_path / "kept" / "README.md").read_text().startswith("# Experiments")


def test_pictures_are_kept_in_few_colours_that_nobody_tells_from_all(tmp_path: Path) -> None:
    x, y = np.meshgrid(np.linspace(0, 1, 400), np.linspace(0, 1, 300))
    smooth = np.stack([255 * x, 255 * (1 - x), 60 + 100 * y, 255 * (y > 0.1)], axis=-1).astype(np.uint8)
    # As shading is: a file of all its colours is large.
    smooth[..., :3] += np.random.default_rng(0).integers(0, 6, (300, 400, 3), dtype=np.uint8) * (smooth[..., :3] < 250)
    Image.fromarray(smooth, "RGBA").save(tmp_path / "smooth.png")
    with_few_colours(tmp_path / "smooth.png", tmp_path / "few.png")
    with Image.open(tmp_path / "few.png") as opened:
        assert opened.mode == "P" and len(opened.getcolors()) <= COLOURS
        found = np.asarray(opened.convert("RGB")).astype(int)
    # What was transparent is white, and nothing has moved.
    assert (found[y <= 0.1] == 255).all()
    assert np.abs(found - smooth[..., :3])[y > 0.1].mean() < 4 and np.abs(found - smooth[..., :3])[y > 0.1].max() < 25
    assert (tmp_path / "few.png").stat().st_size < (tmp_path / "smooth.png").stat().st_size / 2
    before = (tmp_path / "few.png").read_bytes()
    with_few_colours(tmp_path / "few.png")
    assert (tmp_path / "few.png").read_bytes() == before and sorted(tmp_path.iterdir()) == [
        tmp_path / "few.png",
        tmp_path / "smooth.png",
    ]


def test_a_picture_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plot.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be read as PNG"):
        with_few_colours(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes() == b"nothing"

"""`ssrkd report`: one page of everything, that opens without a network."""

from __future__ import annotations

import base64
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from SSRKDCore.cli import main
from SSRKDCore.evaluation.case_evaluation import CaseResult, evaluation_report
from SSRKDCore.evaluation.comparison import BoneComparison
from SSRKDCore.evaluation.table_one import TABLE_WORDS, table_one
from SSRKDCore.json_files import write_json

HOSTILE = "<script>alert('x')</script> & \"quoted\""
_VOID = {"meta", "img", "br", "link", "hr", "input"}
_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


class Reader(HTMLParser):
    """Collects references, pictures and text, and checks that tags are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "data", "srcset", "action")]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def write_results(folder: Path) -> None:
    bone = BoneComparison(1.25, 4.0, 3.0, 0.95, 1.65, 4.4)
    results = [
        CaseResult("good", "right", 1.0, {"femur": bone}),
        CaseResult(HOSTILE, "left", 1.0, {"femur": BoneComparison(failure="empty surface")}, failure=HOSTILE),
    ]
    table = table_one(results)
    evaluation = evaluation_report(results, {"name": "a model"}, 64)
    folder.mkdir(parents=True)
    (folder / "evaluation").mkdir()
    command = "ssrkd evaluate --cases 'a <b>' --out o"
    write_json(
        folder / "evaluation" / "report.json",
        {**evaluation, "command": command, "table": table, "table_words": TABLE_WORDS},
    )
    experiment = folder / "deep" / "noise"
    experiment.mkdir(parents=True)
    (experiment / "plot.png").write_bytes(_PNG)
    write_json(
        experiment / "report.json",
        {
            "schema": "ssrkd-experiment/1",
            "experiment": "noise",
            "title": "fewer photons",
            "command": "ssrkd experiment noise",
            "budget": "cases: 2",
            "notes": [],
            "tables": {HOSTILE: table},
            "table_words": TABLE_WORDS,
            "differences": {},
            "failures": [],
            "observed_failures": [],
            "pictures": ["plot.png", "../../evaluation/report.json", "gone.png"],
        },
    )
    hidden = folder / ".out.unfinished"
    hidden.mkdir()
    write_json(hidden / "report.json", {"schema": "ssrkd-evaluation/1"})


def test_page_is_whole_and_needs_no_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_results(tmp_path / "results")
    page = tmp_path / "page.html"
    assert main(["report", str(tmp_path / "results"), "--out", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>") and "viewport" in text and "@media print" in text
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    assert "script" not in reader.tags and "link" not in reader.tags and "iframe" not in reader.tags
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in reader.sources)
    assert "url(" not in text and "@import" not in text
    pictures = [source for source in reader.sources if source.startswith("data:")]
    assert [base64.b64decode(picture.split(",", 1)[1]) for picture in pictures] == [_PNG]
    # Numbers with their command, failures with their reason, hostile names as text.
    assert "ssrkd evaluate --cases 'a <b>' --out o" in reader.text and "ssrkd experiment noise" in reader.text
    assert "1.25" in reader.text and "1.65" in reader.text and "paper-protocol" in reader.text
    assert HOSTILE in reader.text
    # A picture outside its folder is not read, and one that is missing is named.
    printed = capsys.readouterr().out
    assert "gone.png" in printed and "evaluation/report.json: the picture is missing" in printed
    assert main(["report", str(tmp_path / "results"), "--out", str(page)]) == 2
    assert main(["report", str(tmp_path / "results"), "--out", str(page), "--overwrite"]) == 0


@pytest.mark.parametrize("what", ["empty", "missing", "damaged"])
def test_nothing_to_show_ends_with_2(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "results"
    if what != "missing":
        folder.mkdir()
    if what == "damaged":
        (folder / "report.json").write_text('{"schema": "ssrkd-evaluation/1", "model": 3}', encoding="utf-8")
    assert main(["report", str(folder), "--out", str(tmp_path / "page.html")]) == 2
    assert capsys.readouterr().err.startswith("ssrkd: ")
    assert not (tmp_path / "page.html").exists()


def test_large_pictures_stay_in_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from SSRKDCore.evaluation import result_page

    write_results(tmp_path / "results")
    monkeypatch.setattr(result_page, "MAXIMUM_PICTURE_BYTES", 10)
    page = result_page.write_page(tmp_path / "results", tmp_path / "page.html")
    assert page.pictures == 0 and any("too many" in words for words in page.left_out)


def test_a_damaged_report_costs_its_own_place_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "results"
    write_results(results)
    names = {"nul": "a\0.png", "long": "a" * 300 + ".png"}
    for name, picture in names.items():
        (results / name).mkdir()
        report = {"schema": "ssrkd-x/1", "command": f"ssrkd \udce9 {name}", "pictures": [picture]}
        (results / name / "report.json").write_text(json.dumps(report), encoding="utf-8")
    (results / "endless").mkdir()
    endless = {"schema": "ssrkd-evaluation/1", "model": {"name": "m"}, "cases_unlabelled": float("inf"), "cases": {}}
    endless |= {"cases_scored": 1, "cases_failed": 0, "resolution": 64}
    (results / "endless" / "report.json").write_text(json.dumps(endless), encoding="utf-8")
    page = tmp_path / "page.html"
    assert main(["report", str(results), "--out", str(page)]) == 0
    printed = capsys.readouterr().out
    assert "(4 results, 1 pictures)" in printed and "endless: its report.json is damaged" in printed
    assert printed.count("the picture is missing") == 2 + len(names)
    assert "ssrkd \\udce9 long" in page.read_text(encoding="utf-8") and not page.with_name("page.html.part").exists()

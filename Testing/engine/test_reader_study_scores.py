"""Scores of a reader study against published examples and values worked out by hand; refusals of answers."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reader_study_cases import answer_file, key_of, made_once, write_answers

from SSRKDCore.cli import main
from SSRKDCore.evaluation.reader_study.agreement import icc_2_1, krippendorff_alpha
from SSRKDCore.evaluation.reader_study.paired_test import holm, signed_rank_test

NAN = float("nan")
Grades = dict[tuple[str, str], tuple[int | None, ...]]

ANNA: Grades = {
    ("alpha", "reference"): (4, 4, 4),
    ("alpha", "reconstruction"): (3, 4, 4),
    ("beta", "reference"): (4, 3, 4),
    ("beta", "reconstruction"): (2, 3, 4),
    ("gamma", "reference"): (3, 4, 4),
    ("gamma", "reconstruction"): (3, 2, 4),
}
BELA: Grades = {
    ("alpha", "reference"): (4, 4, 4),
    ("alpha", "reconstruction"): (3, 3, 4),
    ("beta", "reference"): (3, 3, 4),
    ("beta", "reconstruction"): (3, 3, 4),
    ("gamma", "reference"): (4, 4, 4),
    ("gamma", "reconstruction"): (2, None, 4),
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory) / "study"


def score(study: Path, out: Path, *answers: Path) -> int:
    paths = ["--study", str(study), "--out", str(out)]
    return main(["reader-study", "score", *paths, "--answers", *(str(path) for path in answers)])


def test_krippendorffs_own_example() -> None:
    # K. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), data of example C: ordinal alpha 0.815.
    grades = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
    assert krippendorff_alpha(grades) == pytest.approx(0.815, abs=5e-4)


def test_alpha_at_its_ends() -> None:
    assert krippendorff_alpha([[1, 2, 4], [1, 2, 4]]) == pytest.approx(1.0)
    assert krippendorff_alpha([[1, 4], [4, 1]]) == pytest.approx(-0.5)
    assert krippendorff_alpha([[3, 3], [3, 3]]) is None
    assert krippendorff_alpha([[3, NAN], [NAN, 2]]) is None
    chance = np.random.default_rng(0).integers(1, 5, (3, 4000))
    assert krippendorff_alpha(chance) == pytest.approx(0.0, abs=0.02)


def test_shrout_and_fleiss_own_example() -> None:
    # P. E. Shrout and J. L. Fleiss (1979), table 2: four judges, six targets, ICC(2,1) = 0.29.
    targets = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    assert icc_2_1(np.transpose(targets)) == pytest.approx(0.29, abs=5e-3)
    with_gap = np.column_stack([np.transpose(targets).astype(float), [NAN, 1, 2, 3]])
    assert icc_2_1(with_gap) == icc_2_1(np.transpose(targets))
    assert icc_2_1([[1, 2, 3]]) is None
    assert icc_2_1([[2, 2], [2, 2]]) is None


@pytest.mark.parametrize("seed", range(6))
def test_the_signed_rank_test_is_exact_with_ties(seed: int) -> None:
    from scipy.stats import rankdata

    differences = np.random.default_rng(seed).integers(-4, 3, 9) / 2
    kept = differences[differences != 0]
    ranks = rankdata(np.abs(kept))
    found = ranks[kept > 0].sum()
    sums = np.array([ranks[np.array(signs)].sum() for signs in product([False, True], repeat=len(kept))])
    expected = min(1.0, 2 * min((sums <= found + 1e-9).mean(), (sums >= found - 1e-9).mean()))
    result = signed_rank_test(differences)
    assert result.p == pytest.approx(expected)
    assert (result.cases, result.different) == (9, len(kept))
    assert result.effect == pytest.approx((2 * found - ranks.sum()) / ranks.sum())


def test_the_signed_rank_test_equals_scipys_without_ties() -> None:
    from scipy.stats import wilcoxon

    differences = np.array([0.1, -0.3, 0.7, 1.1, -1.6, 2.3, 2.9, 3.1, 0.45])
    assert signed_rank_test(differences).p == pytest.approx(wilcoxon(differences, method="exact").pvalue)
    assert signed_rank_test([0.0, 0.0]).p == 1.0 and signed_rank_test([0.0, 0.0]).effect is None
    assert signed_rank_test([]).p is None


def test_holm() -> None:
    # Three tests: 3 x 0.01, 2 x 0.03, then never below the one before.
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([None, 0.5]) == [None, 0.5]


def test_scores_worked_out_by_hand(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [
        answer_file(tmp_path / "a.json", study, "Anna", ANNA),
        answer_file(tmp_path / "b.json", study, "Béla", BELA),
    ]
    assert score(study, tmp_path / "out", *files) == 0
    said = capsys.readouterr().out
    scores = json.loads((tmp_path / "out" / "scores.json").read_text("utf-8"))
    shape = scores["scales"]["shape"]
    reference = shape["overall"]["reference"]
    assert reference["grades"] == 6 and reference["mean"] == pytest.approx(22 / 6)
    assert reference["deviation"] == pytest.approx((12 / 9 / 5) ** 0.5)
    assert reference["counts"] == {"1": 0, "2": 0, "3": 2, "4": 4}
    assert shape["by_reader"]["Anna"]["reconstruction"]["mean"] == pytest.approx(8 / 3)
    # Each case's mean fell by 1: the smallest of 2^3 outcomes, at both ends.
    test = shape["paired_test"]
    assert (test["cases"], test["mean_difference"], test["effect"]) == (3, -1.0, -1.0)
    assert test["p"] == pytest.approx(0.25) and test["p_holm"] == pytest.approx(0.75)
    # Detail of gamma is Anna's alone, since Béla left one version open: differences -0.5, 0, -2.
    detail = scores["scales"]["detail"]
    assert detail["paired_test"]["mean_difference"] == pytest.approx(-2.5 / 3)
    assert detail["paired_test"]["different"] == 2
    assert detail["overall"]["reconstruction"]["grades"] == 5
    assert detail["agreement"]["both"]["models_of_every_reader"] == 5
    # One and the same grade everywhere: no agreement to speak of, no difference.
    significance = scores["scales"]["clinical_significance"]
    assert significance["agreement"]["both"]["krippendorff_alpha"] is None
    assert significance["paired_test"]["p"] == 1.0 and significance["paired_test"]["effect"] is None
    code = next(
        m["code"] for m in key_of(study)["pages"]["Béla"] if (m["case"], m["version"]) == ("gamma", "reconstruction")
    )
    assert scores["readers"]["Béla"]["complete"] == 5
    assert scores["readers"]["Béla"]["incomplete"] == [
        {"code": code, "case": "gamma", "version": "reconstruction", "open": ["detail"]}
    ]
    assert scores["readers_without_answers"] == ["C-3"]
    assert f"Béla left 1 of 6 models incomplete: {code}." in said and "No answers of: C-3." in said
    assert "does not show that the versions are equal" in said
    rows = list(csv.DictReader((tmp_path / "out" / "grades.csv").open(encoding="utf-8")))
    assert len(rows) == 12 and {row["seconds"] for row in rows} == {"1.500"}
    assert [row["detail"] for row in rows if row["reader"] == "Béla" and row["code"] == code] == [""]
    summary = list(csv.DictReader((tmp_path / "out" / "summary.csv").open(encoding="utf-8")))
    assert len(summary) == 3 * 2 * 3
    assert summary[0]["mean"] == "3.66667" and summary[0]["grade_4"] == "4"
    assert (tmp_path / "out" / "grades.png").read_bytes().startswith(b"\x89PNG")


def test_unanswered_pages_count_as_open(study: Path, tmp_path: Path) -> None:
    few = {model: grades for model, grades in ANNA.items() if model[0] == "alpha"}
    assert score(study, tmp_path / "out", answer_file(tmp_path / "a.json", study, "Anna", few)) == 0
    scores = json.loads((tmp_path / "out" / "scores.json").read_text("utf-8"))
    assert scores["readers"]["Anna"]["models"] == 6 and scores["readers"]["Anna"]["complete"] == 2
    assert len(scores["readers"]["Anna"]["incomplete"]) == 4
    assert scores["scales"]["shape"]["agreement"]["both"]["icc_2_1"] is None


def _first(content: dict[str, Any]) -> dict[str, Any]:
    return dict(content["items"][0])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(study="0123456789abcdef"), "give answers of this study"),
        (lambda c: c.update(reader="Zoe"), "whom this study does not have"),
        (lambda c: c.update(schema="x/1"), "ssrkd-reader-answers/1"),
        (lambda c: c["items"][0].update(code="ffffffff"), "a code that reader Anna's page does not have"),
        (lambda c: c["items"].append(_first(c)), "twice"),
        (lambda c: c["items"][0]["grades"].update(shape=5), "the grade 5 for shape"),
        (lambda c: c["items"][0]["grades"].update(shape=0), "the grade 0 for shape"),
        (lambda c: c["items"][0]["grades"].update(shape=True), "the grade True"),
        (lambda c: c["items"][0]["grades"].update(beauty=3), "'beauty'"),
        (lambda c: c["items"][0].update(milliseconds=-1), "a time that cannot be"),
    ],
)
def test_answers_that_cannot_be_are_refused(
    study: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[dict[str, Any]], None],
    words: str,
) -> None:
    content = json.loads(answer_file(tmp_path / "good.json", study, "Anna", ANNA).read_text("utf-8"))
    change(content)
    bad = write_answers(tmp_path / "bad.json", {name: value for name, value in content.items() if name != "sha256"})
    assert score(study, tmp_path / "out", bad) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("spoil", ["grade", "sum", "items", "kind"])
def test_changed_answers_are_refused(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: str
) -> None:
    path = answer_file(tmp_path / "a.json", study, "Anna", ANNA)
    content = json.loads(path.read_text("utf-8"))
    if spoil == "grade":
        content["items"][0]["grades"]["shape"] = 1 if content["items"][0]["grades"]["shape"] != 1 else 2
    elif spoil == "sum":
        del content["sha256"]
    elif spoil == "items":
        content["items"] = "none"
    else:
        content["items"][0] = 3
    path.write_text(json.dumps(content), encoding="utf-8")
    assert score(study, tmp_path / "out", path) == 2
    assert "was changed" in capsys.readouterr().err


def test_two_files_of_one_reader_are_refused(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [answer_file(tmp_path / name, study, "Anna", ANNA) for name in ("a.json", "b.json")]
    assert score(study, tmp_path / "out", *files) == 2
    assert "both of reader Anna" in capsys.readouterr().err


def test_a_changed_key_is_refused(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = answer_file(tmp_path / "a.json", study, "Anna", ANNA)
    (tmp_path / "study").mkdir()
    key = key_of(study)
    first, second = key["pages"]["Anna"][:2]
    first["code"], second["code"] = second["code"], first["code"]
    (tmp_path / "study" / "key.json").write_text(json.dumps(key), encoding="utf-8")
    assert score(tmp_path / "study", tmp_path / "out", answers) == 2
    assert "key.json was changed" in capsys.readouterr().err

"""Intervals over subjects, paired differences and Table 1, against known answers."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from SSRKDCore.evaluation.case_evaluation import CaseResult
from SSRKDCore.evaluation.comparison import BoneComparison
from SSRKDCore.evaluation.experiments.statistics import paired_difference, rank_correlation, subject_interval, summary
from SSRKDCore.evaluation.table_one import differences_to_first, table_one
from SSRKDCore.evaluation.tables import write_table_one


def test_the_interval_is_that_of_a_normal_mean() -> None:
    """For many subjects of a known distribution the interval is mean +- 1.96 sd / sqrt(n), to some percent."""
    values = np.random.default_rng(1).normal(5.0, 2.0, 400)
    interval = subject_interval(values, [f"s{i}" for i in range(400)])
    assert interval is not None
    half = 1.96 * values.std() / np.sqrt(400)
    assert interval[0] == pytest.approx(values.mean() - half, abs=0.06 * half)
    assert interval[1] == pytest.approx(values.mean() + half, abs=0.06 * half)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(2)
    covered = 0
    for _ in range(400):
        interval = subject_interval(generator.normal(0.0, 1.0, 30), [str(i) for i in range(30)], resamples=400)
        assert interval is not None
        covered += interval[0] <= 0.0 <= interval[1]
    assert 0.90 <= covered / 400 <= 0.97


def test_two_legs_of_a_person_are_no_two_persons() -> None:
    """Every value twice: over cases the interval shrinks by the root of two, over subjects it stays."""
    values = np.random.default_rng(3).normal(0.0, 1.0, 50)
    people = [str(i) for i in range(50)]
    once = subject_interval(values, people)
    twice = subject_interval(np.repeat(values, 2), np.repeat(people, 2).tolist())
    as_cases = subject_interval(np.repeat(values, 2), [str(i) for i in range(100)])
    assert once is not None and twice is not None and as_cases is not None
    assert twice == pytest.approx(once, abs=1e-9)
    assert (as_cases[1] - as_cases[0]) < 0.8 * (twice[1] - twice[0])


def test_summary_of_few_values() -> None:
    assert summary([], []) is None
    one = summary([2.0], ["a"])
    assert one is not None and (one.mean, one.sd, one.low, one.high) == (2.0, None, None, None)
    same_person = summary([1.0, 3.0], ["a", "a"])
    assert same_person is not None and same_person.sd == pytest.approx(np.sqrt(2)) and same_person.low is None
    dice = summary([0.9, 0.7], ["a", "b"], higher_is_better=True)
    assert dice is not None and dice.worst == 0.7
    assert summary([0.9, 0.7], ["a", "b"]).worst == 0.9  # type: ignore[union-attr]
    assert summary([1.0, 2.0, 4.0], ["a", "b", "c"], seed=5) == summary([1.0, 2.0, 4.0], ["a", "b", "c"], seed=5)


def test_paired_differences_use_the_cases_that_both_have() -> None:
    first = {"a": 1.0, "b": 2.0, "c": 9.0}
    other = {"a": 1.5, "b": 2.5, "d": 0.0}
    found = paired_difference(first, other, {name: name for name in "abcd"})
    assert found is not None
    # A constant difference has an interval without width, however much the cases differ.
    assert (found.mean, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    assert (found.pairs, found.unpaired) == (2, 2)
    assert paired_difference({"a": 1.0}, {"b": 1.0}, {"a": "a", "b": "b"}) is None


def test_rank_correlation() -> None:
    assert rank_correlation([1, 2, 3, 4], [10, 20, 30, 1000])["spearman"] == pytest.approx(1.0)
    assert rank_correlation([1, 2, 3, 4], [4, 3, 2, 1])["spearman"] == pytest.approx(-1.0)
    assert rank_correlation([1, 2], [1, 2])["spearman"] is None
    assert rank_correlation([1, 1, 1], [1, 2, 3])["spearman"] is None


def result(id: str, femur: float | None, fibula: float | None, subject: str | None = None) -> CaseResult:
    def record(value: float | None) -> BoneComparison:
        if value is None:
            return BoneComparison(failure="empty surface")
        return BoneComparison(value, 3 * value, 2 * value, 1 - value / 10, value + 0.4, 4 * value)

    return CaseResult(id, "right", 1.0, {"femur": record(femur), "fibula": record(fibula)}, subject=subject)


def test_failures_are_counted_beside_the_mean() -> None:
    results = [
        result("a", 1.0, 2.0, "x"),
        result("b", 3.0, None, "x"),
        CaseResult("c", None, 0.0, failure="unreadable"),
    ]
    table = table_one(results)
    assert list(table) == ["patella", "femur", "fibula", "tibia", "all"]
    femur, fibula = table["femur"], table["fibula"]
    assert (femur["scored"], femur["failed"], femur["exact_assd_mm"]["mean"]) == (2, 1, 2.0)
    assert femur["exact_assd_mm"]["worst"] == 3.0 and femur["dice"]["worst"] == pytest.approx(0.7)
    # Both legs are one person's: there is no interval, whatever the spread.
    assert femur["exact_assd_mm"]["low"] is None and femur["exact_assd_mm"]["sd"] == pytest.approx(np.sqrt(2))
    assert (fibula["scored"], fibula["failed"], fibula["exact_assd_mm"]["mean"]) == (1, 2, 2.0)
    # A case that gave nothing counts against every bone.
    assert (table["patella"]["scored"], table["patella"]["failed"]) == (0, 1) and table["patella"]["dice"] is None
    assert (table["all"]["scored"], table["all"]["failed"]) == (3, 5)
    # The protocols stay apart.
    assert femur["paper_assd_mm"]["mean"] == pytest.approx(2.4)


def test_table_file(tmp_path: Path) -> None:
    table = table_one([result("a", 1.0, 2.0), result("b", 3.0, None)])
    write_table_one(tmp_path / "table.csv", {"ours": table}, "method")
    with (tmp_path / "table.csv").open(encoding="utf-8") as file:
        rows = {row["bone"]: row for row in csv.DictReader(file)}
    assert rows["femur"]["method"] == "ours" and float(rows["femur"]["exact_assd_mm_mean"]) == 2.0
    assert float(rows["femur"]["exact_assd_mm_ci95_low"]) == 1.0 and float(rows["femur"]["paper_hd_mm_worst"]) == 12.0
    assert rows["fibula"]["failed"] == "1" and rows["fibula"]["exact_assd_mm_sd"] == ""


def test_differences_compare_the_same_bones_only() -> None:
    """The other method lost the fibula of 'b', so that 'b' is compared by its femur alone."""
    first = [result("a", 1.0, 2.0), result("b", 1.0, 9.0)]
    other = [result("a", 1.5, 2.5), result("b", 1.5, None)]
    found = differences_to_first(first, other)
    whole = found["all"]["exact_assd_mm"]
    assert whole is not None and (whole.mean, whole.pairs, whole.unpaired) == (pytest.approx(0.5), 2, 0)
    fibula = found["fibula"]["exact_assd_mm"]
    assert fibula is not None and (fibula.pairs, fibula.unpaired) == (1, 1)
    assert found["patella"]["exact_assd_mm"] is None

"""A finished experiment gets further points and cases: what is as it was is kept, what has changed is computed again."""

from __future__ import annotations

from pathlib import Path

import pytest

from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.experiments.result_log import RESULTS_FILE, SETTINGS_FILE, ResultLog
from SSRKDCore.json_files import read_json


def settings(points: dict[str, int], cases: dict[str, str], seed: int = 0) -> dict[str, object]:
    listed = [{"name": name, "settings": {"amount": amount}} for name, amount in points.items()]
    return {"seed": seed, "points": listed, "cases": cases}


def filled(folder: Path, points: dict[str, int], cases: dict[str, str]) -> None:
    log = ResultLog(folder, settings(points, cases), growing=True)
    for point in points:
        for case in cases:
            log.add({"point": point, "result": {"id": case}, "observed": {}})


def held(log: ResultLog) -> list[tuple[str, str]]:
    return [(record["point"], record["result"]["id"]) for record in log.records]


def test_new_points_and_cases_leave_the_others_as_they_are(tmp_path: Path) -> None:
    filled(tmp_path, {"a": 1, "b": 2}, {"one": "x"})
    before = (tmp_path / RESULTS_FILE).read_bytes()
    log = ResultLog(tmp_path, settings({"a": 1, "b": 2, "c": 3}, {"one": "x", "two": "y"}), growing=True)
    assert held(log) == [("a", "one"), ("b", "one")] and log.replaced == 0
    assert (tmp_path / RESULTS_FILE).read_bytes() == before
    found = read_json(tmp_path / SETTINGS_FILE, "settings")
    assert [point["name"] for point in found["points"]] == ["a", "b", "c"] and set(found["cases"]) == {"one", "two"}


def test_a_point_or_case_that_changed_is_dropped_and_no_other(tmp_path: Path) -> None:
    filled(tmp_path, {"a": 1, "b": 2}, {"one": "x", "two": "y"})
    log = ResultLog(tmp_path, settings({"a": 1, "b": 5}, {"one": "x", "two": "y"}), growing=True)
    assert held(log) == [("a", "one"), ("a", "two")] and log.replaced == 2
    log.add({"point": "b", "result": {"id": "one"}, "observed": {}})
    again = ResultLog(tmp_path, settings({"a": 1, "b": 5}, {"one": "z", "two": "y"}), growing=True)
    assert held(again) == [("a", "two")] and again.replaced == 2
    last = ResultLog(tmp_path, settings({"a": 1, "b": 5}, {"one": "z", "two": "y"}), growing=True)
    assert held(last) == [("a", "two")] and last.replaced == 0


def test_what_is_not_wanted_now_is_kept_for_later(tmp_path: Path) -> None:
    filled(tmp_path, {"a": 1, "b": 2}, {"one": "x", "two": "y"})
    ResultLog(tmp_path, settings({"b": 2}, {"two": "y"}), growing=True)
    log = ResultLog(tmp_path, settings({"a": 1, "b": 2}, {"one": "x", "two": "y"}), growing=True)
    assert len(log.records) == 4 and log.replaced == 0


def test_other_settings_are_refused_all_the_same(tmp_path: Path) -> None:
    filled(tmp_path, {"a": 1}, {"one": "x"})
    with pytest.raises(InputError, match=r"other settings .*seed"):
        ResultLog(tmp_path, settings({"a": 1, "b": 2}, {"one": "x"}, seed=1), growing=True)
    with pytest.raises(InputError, match=r"other settings \(points\)"):
        ResultLog(tmp_path, settings({"a": 1, "b": 2}, {"one": "x"}))
    assert len(ResultLog(tmp_path, settings({"a": 1}, {"one": "x"})).records) == 1

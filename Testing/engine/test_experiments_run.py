"""Experiments case by case: known errors, failures that are kept, runs that are ended and go on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from experiment_cases import CUBE, ball, grown_by, write_ball_case

from SSRKDCore.cases import Case
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.evaluation.answer import CaseAnswer
from SSRKDCore.evaluation.case_evaluation import Progress
from SSRKDCore.evaluation.experiments import error_map, gallery
from SSRKDCore.evaluation.experiments.experiment_files import budget_words, write_experiment
from SSRKDCore.evaluation.experiments.framework import Plan, Point, given_case, plan_settings, run_plan
from SSRKDCore.evaluation.experiments.registry import EXPERIMENTS, Request, load_experiment
from SSRKDCore.evaluation.experiments.result_log import RESULTS_FILE, ResultLog
from SSRKDCore.evaluation.experiments.sources import CaseSource, Source, seed_of
from SSRKDCore.geometry.field_of_view import FieldOfView


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Source]:
    folder = tmp_path_factory.mktemp("cases")
    people = {"a": "x", "b": "x", "c": "y"}
    return [CaseSource(write_ball_case(folder / name, subject)) for name, subject in people.items()]


def two_points(sources: list[Source]) -> Plan:
    """The reference grown by 1 mm, and by 2 mm."""
    return Plan(
        [
            Point("one", given_case, value=1.0, method=grown_by(lambda case: 1.0)),
            Point("two", given_case, value=2.0, method=grown_by(lambda case: 2.0)),
        ],
        sources,
    )


def settings_of(plan: Plan, seed: int = 0) -> dict:
    return {"experiment": "test", "resolution": 64, **plan_settings(plan, seed)}


def test_known_errors_and_files(tmp_path: Path, sources: list[Source]) -> None:
    plan, out = two_points(sources), tmp_path / "out"
    log = ResultLog(out, settings_of(plan))
    results = run_plan(plan, grown_by(lambda case: 0.0), log)
    assert [(item.point, item.result.id) for item in results] == [(p, c) for p in ("one", "two") for c in "abc"]
    assert {item.result.id: item.result.subject for item in results} == {"a": "x", "b": "x", "c": "y"}
    request = Request()
    report = write_experiment(out, "table", request, plan, results, settings_of(plan), "known", "ssrkd ...", None)
    for name, amount in (("one", 1.0), ("two", 2.0)):
        row = report["tables"][name]["patella"]
        assert row["exact_assd_mm"]["mean"] == pytest.approx(amount, abs=0.02)
        assert row["exact_hd_mm"]["worst"] == pytest.approx(amount, abs=0.03)
        assert (row["scored"], row["failed"], row["subjects"]) == (3, 0, 2)
    difference = report["differences"]["two"]["all"]["exact_assd_mm"]
    assert difference["mean"] == pytest.approx(1.0, abs=0.03) and difference["pairs"] == 3
    assert {path.name for path in out.iterdir()} >= {
        "report.json",
        "results.csv",
        "table.csv",
        "differences.csv",
        "plot.png",
        "plot.svg",
    }
    # What the plot rests on stands on it.
    svg = (out / "plot.svg").read_text(encoding="utf-8")
    assert "<svg" in svg and "cases: 3 of 2 subjects" in report["budget"] and "64 samples" in report["budget"]
    # Cases as they are may be real ones; those that a point makes are not.
    assert "own radiographs" in report["budget"] and "simulated" not in report["budget"]
    made = replace(plan, points=[replace(point, make=lambda *given: given_case(*given)) for point in plan.points])
    assert "; simulated radiographs;" in budget_words(made, results, "known", 64, 0)


class Killed(BaseException):
    """Ends a run as a kill would: nothing catches it."""


def test_a_run_that_was_killed_goes_on(tmp_path: Path, sources: list[Source]) -> None:
    plan, out = two_points(sources), tmp_path / "out"
    calls: list[str] = []

    def killed_at(count: int):  # type: ignore[no-untyped-def]
        inner = grown_by(lambda case: 1.0)

        def run(case: Case, progress: Progress) -> CaseAnswer:
            if len(calls) == count:
                raise Killed
            calls.append(case.id)
            return inner(case, progress)

        return run

    watched = replace(plan, points=[replace(point, method=None) for point in plan.points])
    with pytest.raises(Killed):
        run_plan(watched, killed_at(4), ResultLog(out, settings_of(watched)))
    assert calls == ["a", "a", "b", "b"]
    kept = (out / RESULTS_FILE).read_bytes()
    # The fifth result was half written when the power went.
    (out / RESULTS_FILE).write_bytes(kept + b'{"point": "one", "result": {"id": "c"')
    results = run_plan(watched, killed_at(99), ResultLog(out, settings_of(watched)))
    assert calls[4:] == ["c", "c"] and len(results) == 6
    assert not list(out.glob(".unfinished-*"))
    lines = (out / RESULTS_FILE).read_text(encoding="utf-8").splitlines()
    assert len(lines) == 6 and all(json.loads(line) for line in lines)
    # Nothing is left to do.
    again = run_plan(watched, killed_at(0), ResultLog(out, settings_of(watched)))
    assert [item.result for item in again] == [item.result for item in results]


def test_changed_settings_and_foreign_folders_are_refused(tmp_path: Path, sources: list[Source]) -> None:
    plan, out = two_points(sources), tmp_path / "out"
    ResultLog(out, settings_of(plan))
    ResultLog(out, settings_of(plan))
    for changed in (
        settings_of(plan, seed=1),
        settings_of(replace(plan, sources=sources[:2])),
        settings_of(plan) | {"resolution": 65},
        settings_of(replace(plan, points=plan.points[:1])),
    ):
        with pytest.raises(InputError, match="other settings"):
            ResultLog(out, changed)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="no unfinished run"):
        ResultLog(foreign, settings_of(plan))
    assert [path.name for path in foreign.iterdir()] == ["thesis.txt"]


def test_every_failure_is_a_result(tmp_path: Path, sources: list[Source]) -> None:
    """One case cannot be made, one answer is empty, one fit fails: three failures in the table, none dropped."""

    def make(source: Source, folder: Path, seed: int) -> Path:
        if source.id == "a":
            raise InputError("this knee cannot be bent")
        return given_case(source, folder, seed)

    def method(case: Case, progress: Progress) -> CaseAnswer:
        if case.id == "b":
            return CaseAnswer({}, CUBE)
        raise RuntimeError("the fit diverged")

    plan, out = Plan([Point("only", make)], sources), tmp_path / "out"
    results = run_plan(plan, method, ResultLog(out, settings_of(plan)))
    report = write_experiment(out, "table", Request(), plan, results, settings_of(plan), "m", "ssrkd ...", None)
    patella = report["tables"]["only"]["patella"]
    assert (patella["scored"], patella["failed"], patella["subjects"]) == (0, 3, 2)
    assert patella["exact_assd_mm"] is None
    reasons = {item["case"]: item["reason"] for item in report["failures"]}
    assert "cannot be bent" in reasons["a"] and "diverged" in reasons["c"]
    with pytest.raises(Cancelled):
        run_plan(plan, method, ResultLog(tmp_path / "other", settings_of(plan)), cancelled=lambda: True)


def test_equal_names_are_refused(sources: list[Source], tmp_path: Path) -> None:
    plan = Plan([Point("same", given_case), Point("same", given_case)], sources)
    with pytest.raises(InputError, match="two points named 'same'"):
        run_plan(plan, grown_by(lambda case: 1.0), ResultLog(tmp_path / "out", settings_of(plan)))


def test_seeds_belong_to_the_case(sources: list[Source]) -> None:
    assert seed_of(sources[0], 1) == seed_of(sources[0], 1)
    assert len({seed_of(source, seed) for source in sources for seed in (1, 2)}) == 6


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiments_ask_for_what_they_lack(name: str) -> None:
    plan, _ = load_experiment(name)
    with pytest.raises(InputError, match="--"):
        plan(Request())


def test_unknown_experiment() -> None:
    with pytest.raises(InputError, match="separation"):
        load_experiment("nonsense")


def test_the_ball_of_the_tests_is_one() -> None:
    surface = ball()
    assert surface.is_closed() and surface.volume > 0
    assert np.isclose(np.linalg.norm(surface.vertices, axis=1), 15.0).all()
    assert FieldOfView((0, 0, 0), 150.0) == CUBE


def test_cases_whose_names_hold_points_keep_files_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("1.2.840.1", "1.2.840.2")
    knees = [CaseSource(write_ball_case(tmp_path / "cases" / name)) for name in names]
    size = {names[0]: 1.0, names[1]: 3.0}
    monkeypatch.setattr(gallery, "strip", lambda case, answer: np.full((2, 2, 3), int(10 * size[case.id]), np.uint8))
    monkeypatch.setattr(error_map, "vertex_errors", lambda model, case, answer: {"patella": np.full(4, size[case.id])})
    monkeypatch.setattr(error_map.KneeShapeModel, "load", lambda path: SimpleNamespace(sha256=lambda: ""))
    maps = error_map.plan(Request(cases=tmp_path / "cases", shape_model=tmp_path)).observe
    for kind, observe in (("picture", gallery.observe), ("file", maps)):
        plan = Plan([Point("as it is", given_case)], knees, observe=observe)
        log = ResultLog(tmp_path / kind, plan_settings(plan, 0))
        files = [item.observed[kind] for item in run_plan(plan, grown_by(lambda case: size[case.id]), log)]
        assert len(set(files)) == 2
        if kind == "file":
            stack = error_map._stacks([log.folder / "files" / file for file in files])["patella"]
            assert stack.mean(axis=1) == pytest.approx([1.0, 3.0])

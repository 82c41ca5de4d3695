"""Experiments: named points, each of which makes or changes cases and has them reconstructed, case by case, resumable."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from SSRKDCore.cases import Case, load_case
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.evaluation.answer import CaseAnswer
from SSRKDCore.evaluation.case_evaluation import CaseResult, Progress, Reconstruct, evaluate_case
from SSRKDCore.evaluation.experiments.result_log import ResultLog, result_from_dict, result_to_dict
from SSRKDCore.evaluation.experiments.sources import Source, seed_of

SCHEMA = "ssrkd-experiment/1"
FILES_FOLDER = "files"

MakeCase = Callable[[Source, Path, int], Path]
Observe = Callable[[Case, CaseAnswer, Path], Mapping[str, Any]]


@dataclass(frozen=True)
class Point:
    """One setting of an experiment.

    Attributes
    ----------
    name: unique in the experiment, as tables call it.
    make: (source, new folder, seed) -> the case folder that is reconstructed: the new one, or the source's own.
    series: points of one series are joined in the plot.
    value: where the point is on the series' axis; None for a point that is a kind and not an amount.
    settings: all that decides what `make` does, plain values.
    method: reconstructs this point's cases; None takes the experiment's.
    """

    name: str
    make: MakeCase
    series: str = ""
    value: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    method: Reconstruct | None = None


@dataclass(frozen=True)
class Plan:
    """What an experiment does with what it was given.

    Attributes
    ----------
    points: in the order of the tables.
    sources: the knees, the same for every point.
    axes: series -> words of its axis.
    trim_cut_references: see `evaluate_case`.
    observe: called after each case that could be compared, with the case, the answer, and a path without suffix under which files may
        be kept; what it returns (plain values) is kept with the case.
    notes: what a reader must know, in words.
    """

    points: Sequence[Point]
    sources: Sequence[Source]
    axes: Mapping[str, str] = field(default_factory=dict)
    trim_cut_references: bool = False
    observe: Observe | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PointResult:
    """A point's name, the result of one of its cases, and what was observed of it."""

    point: str
    result: CaseResult
    observed: Mapping[str, Any]


def given_case(source: Source, folder: Path, seed: int) -> Path:
    """The `make` of a point that takes cases as they are."""
    from SSRKDCore.evaluation.experiments.sources import checked_case

    return checked_case(source).folder


def check_plan(plan: Plan) -> None:
    """Raises InputError for a plan without points or knees, or with two of one name."""
    for what, names in (
        ("point", [point.name for point in plan.points]),
        ("case", [source.id for source in plan.sources]),
    ):
        if not names:
            raise InputError(f"The experiment has no {what}: name at least one.")
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"The experiment has two {what}s named '{twice}': rename one.")


def plan_settings(plan: Plan, seed: int) -> dict[str, Any]:
    """All of a plan that its results depend on, for settings.json."""
    return {
        "seed": seed,
        "points": [
            {"name": point.name, "series": point.series, "value": point.value, "settings": dict(point.settings)}
            for point in plan.points
        ],
        "cases": {source.id: source.fingerprint for source in plan.sources},
        "trim_cut_references": plan.trim_cut_references,
    }


def run_plan(
    plan: Plan,
    method: Reconstruct | None,
    log: ResultLog,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> list[PointResult]:
    """Reconstruct and compare every case at every point that the log does not hold yet.

    A case that cannot be made, read or reconstructed is a result with its reason; only Cancelled and interrupts pass.
    method: of the points that have none of their own; None where each has one.

    Returns the results of all points and cases, by point and then by case.
    """
    check_plan(plan)
    done = {(record["point"], record["result"]["id"]) for record in log.records}
    total = len(plan.points) * len(plan.sources)
    # What an ended run had begun.
    for left in log.folder.glob(".unfinished-*"):
        shutil.rmtree(left, ignore_errors=True)
    number = 0
    for source in plan.sources:
        for point in plan.points:
            number += 1
            if (point.name, source.id) in done:
                continue
            if cancelled is not None and cancelled():
                raise Cancelled("experiment stopped")

            def share(fraction: float, words: str, number: int = number, name: str = point.name) -> None:
                if progress is not None:
                    progress((number - 1 + fraction) / total, f"{source.id}, {name}: {words}")  # noqa: B023

            used = point.method or method
            if used is None:
                raise ValueError(f"the point '{point.name}' has no method, and none is given for all")
            share(0.0, "making the case")
            result, observed = _one(plan, point, source, used, log.folder, seed, share)
            log.add({"point": point.name, "result": result_to_dict(result), "observed": observed})
        source.close()
    return point_results(plan, log)


def point_results(plan: Plan, log: ResultLog) -> list[PointResult]:
    """What the log holds, in the plan's order."""
    known = {(record["point"], record["result"]["id"]): record for record in log.records}
    order = [(point.name, source.id) for point in plan.points for source in plan.sources]
    return [
        PointResult(name, result_from_dict(known[name, id]["result"]), known[name, id]["observed"])
        for name, id in order
        if (name, id) in known
    ]


def _one(
    plan: Plan, point: Point, source: Source, method: Reconstruct, out: Path, seed: int, progress: Progress
) -> tuple[CaseResult, Mapping[str, Any]]:
    start = time.perf_counter()
    scratch = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=out))
    answers: list[tuple[Case, CaseAnswer]] = []

    def watched(case: Case, inner: Progress) -> CaseAnswer:
        answer = method(case, inner)
        answers.append((case, answer))
        return answer

    try:
        folder = point.make(source, scratch / "case", seed_of(source, seed))
        result = evaluate_case(folder, watched, plan.trim_cut_references, progress)
        observed = _observed(plan, point, source, answers[0], out) if plan.observe and answers else {}
        result = replace(result, id=source.id, subject=result.subject or source.id)
        return result, observed
    except Cancelled:
        raise
    except Exception as error:  # A case that cannot be made is this case's failure, whatever the reason.
        reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        subject = _subject(source)
        return CaseResult(source.id, None, time.perf_counter() - start, failure=reason, subject=subject), {}
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _subject(source: Source) -> str:
    """Whose knee it is, as far as a case that failed still tells."""
    from SSRKDCore.evaluation.case_evaluation import case_subject
    from SSRKDCore.evaluation.experiments.sources import CaseSource

    try:
        known = case_subject(load_case(source.folder)) if isinstance(source, CaseSource) else None
    except InputError:
        known = None
    return known or source.id


def _observed(
    plan: Plan, point: Point, source: Source, answer: tuple[Case, CaseAnswer], out: Path
) -> Mapping[str, Any]:
    assert plan.observe is not None
    files = out / FILES_FOLDER
    files.mkdir(exist_ok=True)
    index = [known.name for known in plan.points].index(point.name)
    try:
        return plan.observe(*answer, files / f"{source.id}-{index}")
    except Cancelled:
        raise
    except Exception as error:  # What is observed beside the measures must not cost the measures.
        return {"failure": f"{type(error).__name__}: {error}"}

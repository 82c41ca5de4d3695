"""Table 1: each bone's measures over a set of cases, with intervals over subjects and failures counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.evaluation.case_evaluation import CaseResult
from SSRKDCore.evaluation.comparison import MEASURES, BoneComparison
from SSRKDCore.evaluation.experiments.statistics import INTERVAL_WORDS, PairedDifference, paired_difference, summary

ALL_BONES = "all"
HIGHER_IS_BETTER = ("dice",)
STATISTICS = ("mean", "sd", "worst", "low", "high")
TABLE_WORDS = (
    f"{INTERVAL_WORDS}; sd is between cases; worst is the worst case; a failed bone has no figures and is counted in "
    "'failed', and a case that gave nothing at all counts as a failure of every bone"
)


def table_one(results: Sequence[CaseResult], seed: int = 0) -> dict[str, dict[str, Any]]:
    """Rows of Table 1.

    Returns bone name (and "all": every bone of every case) -> {"scored", "failed", "subjects": counts, and for each of
    comparison.MEASURES a dict of mean, sd, worst, low, high, count, subjects, or None where nothing was scored}.

    Parameters
    ----------
    results: of the cases, failed ones included. seed: of the bootstrap.
    """
    rows = {}
    for bone in (*BONE_NAMES, ALL_BONES):
        records = _records(results, bone)
        if not records and bone != ALL_BONES:
            continue
        row: dict[str, Any] = {
            "scored": sum(record.failure is None for _, record in records),
            "failed": sum(record.failure is not None for _, record in records),
            "subjects": len({subject for subject, _ in records}),
        }
        for measure in MEASURES:
            known = [(value, subject) for subject, record in records if (value := getattr(record, measure)) is not None]
            figures = summary(
                [value for value, _ in known], [subject for _, subject in known], measure in HIGHER_IS_BETTER, seed
            )
            row[measure] = None if figures is None else figures.to_dict()
        rows[bone] = row
    return rows


def _records(results: Sequence[CaseResult], bone: str) -> list[tuple[str, BoneComparison]]:
    """(subject, record) of a bone, or of all bones."""
    found = []
    for result in results:
        bones = result.bones or {name: BoneComparison(failure=result.failure) for name in BONE_NAMES}
        found += [(result.subject_name, record) for name, record in bones.items() if bone in (name, ALL_BONES)]
    return found


def differences_to_first(
    first: Sequence[CaseResult], other: Sequence[CaseResult], seed: int = 0
) -> dict[str, dict[str, PairedDifference | None]]:
    """bone (and "all": the mean of a case's bones that both scored) -> measure -> paired difference, other minus first."""
    subjects = {result.id: result.subject_name for result in (*first, *other)}
    return {
        bone: {
            measure: paired_difference(*_paired_values(first, other, bone, measure), subjects, seed)
            for measure in MEASURES
        }
        for bone in (*BONE_NAMES, ALL_BONES)
    }


def _paired_values(
    first: Sequence[CaseResult], other: Sequence[CaseResult], bone: str, measure: str
) -> tuple[dict[str, float], dict[str, float]]:
    """case -> value of either side."""
    values: list[dict[str, dict[str, float]]] = []
    for results in (first, other):
        values.append(
            {
                result.id: {
                    name: value
                    for name, record in result.bones.items()
                    if bone in (name, ALL_BONES) and (value := getattr(record, measure)) is not None
                }
                for result in results
            }
        )
    sides: tuple[dict[str, float], dict[str, float]] = ({}, {})
    for case in {**values[0], **values[1]}:
        here, there = values[0].get(case, {}), values[1].get(case, {})
        # A mean over bones is only comparable over the same bones; without a shared one the case stays on one side, unpaired.
        used = set(here) & set(there) or set(here) or set(there)
        for side, known in zip(sides, (here, there), strict=True):
            if used <= set(known) and used:
                side[case] = sum(known[name] for name in used) / len(used)
    return sides

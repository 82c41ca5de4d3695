"""Scores of a reader study: means and deviations, agreement between readers, and the paired test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.evaluation.reader_study.agreement import icc_2_1, krippendorff_alpha
from SSRKDCore.evaluation.reader_study.answers import GradedModel
from SSRKDCore.evaluation.reader_study.key import StudyKey
from SSRKDCore.evaluation.reader_study.paired_test import holm, signed_rank_test
from SSRKDCore.evaluation.reader_study.shown_bones import VERSIONS
from SSRKDCore.evaluation.reader_study.wording import GRADES, SCALES

SCHEMA = "ssrkd-reader-scores/1"

METHODS = {
    "deviation": "sample standard deviation of single grades (n - 1)",
    "krippendorff_alpha": "ordinal difference, missing grades allowed (Krippendorff, Content Analysis, 2018); 1 perfect, 0 chance",
    "icc_2_1": "two-way random effects, absolute agreement, single reader, models that every reader graded (Shrout and Fleiss 1979)",
    "paired_test": "Wilcoxon's signed rank test of the cases' mean grades, reconstruction minus reference, readers who graded both; "
    "exact two-sided p; effect: matched-pairs rank-biserial correlation (Kerby 2014); p_holm: for all scales together (Holm 1979)",
    "limits": "A large p does not show that the versions are equal: no margin of equivalence or non-inferiority is tested.",
}


def score(graded: Sequence[GradedModel], key: StudyKey) -> dict[str, Any]:
    """All scores of a study, as they stand in scores.json.

    Parameters
    ----------
    graded: every model on every page of the readers who answered; see answers.read_answers.
    key: the study's key.
    """
    readers = list(dict.fromkeys(item.reader for item in graded))
    scales = {scale: _scale_scores(graded, readers, scale) for scale in SCALES}
    adjusted = holm([scales[scale]["paired_test"]["p"] for scale in SCALES])
    for scale, p in zip(SCALES, adjusted, strict=True):
        scales[scale]["paired_test"]["p_holm"] = p
    return {
        "schema": SCHEMA,
        "study": key.study,
        "cases": list(key.cases),
        "readers": {reader: _reader_words([item for item in graded if item.reader == reader]) for reader in readers},
        "readers_without_answers": [reader for reader in key.pages if reader not in readers],
        "scales": scales,
        "methods": METHODS,
    }


def _reader_words(items: Sequence[GradedModel]) -> dict[str, Any]:
    """How far a reader came, with the name of each model that is not fully graded, and the time that a model took."""
    unfinished = [item for item in items if not item.is_complete]
    return {
        "models": len(items),
        "complete": len(items) - len(unfinished),
        "incomplete": [
            {
                "code": item.code,
                "case": item.case,
                "version": item.version,
                "open": [scale for scale, grade in item.grades.items() if grade is None],
            }
            for item in unfinished
        ],
        "median_seconds": float(np.median([item.seconds for item in items])),
    }


def _scale_scores(graded: Sequence[GradedModel], readers: Sequence[str], scale: str) -> dict[str, Any]:
    def grades(version: str, reader: str | None = None) -> list[int]:
        chosen = [item for item in graded if item.version == version and reader in (None, item.reader)]
        return [grade for item in chosen if (grade := item.grades[scale]) is not None]

    overall = {version: grades(version) for version in VERSIONS}
    return {
        "overall": {version: _summary(found) for version, found in overall.items()},
        "by_reader": {
            reader: {version: _summary(grades(version, reader)) for version in VERSIONS} for reader in readers
        },
        "agreement": {
            group: _agreement(graded, readers, scale, versions)
            for group, versions in {"both": VERSIONS, **{version: (version,) for version in VERSIONS}}.items()
        },
        "paired_test": asdict(signed_rank_test(case_differences(graded, scale))),
    }


def _summary(grades: Sequence[int]) -> dict[str, Any]:
    return {
        "grades": len(grades),
        "mean": float(np.mean(grades)) if grades else None,
        "deviation": float(np.std(grades, ddof=1)) if len(grades) > 1 else None,
        "counts": {str(grade): list(grades).count(grade) for grade in GRADES},
    }


def _agreement(
    graded: Sequence[GradedModel], readers: Sequence[str], scale: str, versions: Sequence[str]
) -> dict[str, Any]:
    table = grade_table(graded, readers, scale, versions)
    known = np.isfinite(table)
    return {
        "models_of_two_readers": int((known.sum(axis=0) >= 2).sum()),
        "krippendorff_alpha": krippendorff_alpha(table),
        "models_of_every_reader": int(known.all(axis=0).sum()),
        "icc_2_1": icc_2_1(table),
    }


def grade_table(
    graded: Sequence[GradedModel], readers: Sequence[str], scale: str, versions: Sequence[str]
) -> NDArray[np.float64]:
    """(readers, models) grades of one scale, NaN where one is open."""
    models = sorted({(item.case, item.version) for item in graded if item.version in versions})
    table = np.full((len(readers), len(models)), np.nan)
    for item in graded:
        grade = item.grades[scale]
        if item.version in versions and grade is not None:
            table[readers.index(item.reader), models.index((item.case, item.version))] = grade
    return table


def case_differences(graded: Sequence[GradedModel], scale: str) -> list[float]:
    """Mean grade of the reconstruction minus that of the reference, one a case, over the readers who graded both."""
    pairs: dict[str, dict[str, dict[str, int]]] = {}
    for item in graded:
        grade = item.grades[scale]
        if grade is not None:
            pairs.setdefault(item.case, {}).setdefault(item.reader, {})[item.version] = grade
    differences = []
    for by_reader in pairs.values():
        both = [given["reconstruction"] - given["reference"] for given in by_reader.values() if len(given) == 2]
        if both:
            differences.append(float(np.mean(both)))
    return differences

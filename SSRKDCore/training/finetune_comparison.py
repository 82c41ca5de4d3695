"""Before and after on cases that fine-tuning never saw, as `ssrkd evaluate` measures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from SSRKDCore.cases import case_content, load_case
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.case_evaluation import CaseResult, case_reconstruction
from SSRKDCore.evaluation.evaluation_run import UnfinishedEvaluation
from SSRKDCore.evaluation.table_one import ALL_BONES, TABLE_WORDS, differences_to_first, table_one
from SSRKDCore.networks.model_folder import Model
from SSRKDCore.networks.model_settings import settings_identity
from SSRKDCore.training.initial_weights import network_sha256

SCHEMA = "ssrkd-finetune-comparison/1"
MEASURE = "exact_assd_mm"
BETTER, WORSE, SAME = "better", "worse", "same"

Progress = Callable[[float, str], None]


def compared(
    before: Model,
    after: Model,
    cases: Sequence[Path],
    work: Path,
    *,
    resolution: int = 128,
    device: str = "cpu",
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Evaluate two models on the same cases.

    Returns the content of comparison.json: tables of both, paired differences (after minus before) with intervals over
    persons, and a verdict: "worse" when more bones failed, or the mean exact ASSD of all bones that both found grew;
    "same" when nothing changed; else "better".

    Parameters
    ----------
    before, after: of kind xray. cases: folders, never learnt from. work: an evaluation that was ended goes on there, of the same cases
        with the same content.
    resolution, device: of the reconstruction. seed: of the bootstrap.

    Raises InputError when no case could be evaluated by the first model; Cancelled.
    """
    results = []
    contents = hashlib.sha256("".join(case_content(load_case(folder)) for folder in cases).encode()).hexdigest()
    for index, (name, model) in enumerate((("before", before), ("after", after))):

        def share(fraction: float, words: str, index: int = index, name: str = name) -> None:
            if progress is not None:
                progress((index + fraction) / 2, f"{name}: {words}")

        weights = network_sha256(model)
        settings = {"weights": weights, "network": settings_identity(model), "resolution": resolution, "name": name}
        unfinished = UnfinishedEvaluation(work / f"{name}-{weights[:12]}-{contents[:12]}", cases, settings)
        job = case_reconstruction(model, resolution, device, cancelled)
        results.append(unfinished.run(job, progress=share, cancelled=cancelled))
    first, second = results
    if all(result.failure is not None for result in first):
        raise InputError(f"No held-out case could be reconstructed; the first: {first[0].failure}")
    return comparison(first, second, resolution, seed)


def comparison(
    before: Sequence[CaseResult], after: Sequence[CaseResult], resolution: int, seed: int = 0
) -> dict[str, Any]:
    """The content of comparison.json, see `compared`."""
    tables = {"before": table_one(before, seed), "after": table_one(after, seed)}
    differences = differences_to_first(before, after, seed)
    failed = {name: table[ALL_BONES]["failed"] for name, table in tables.items()}
    overall = differences[ALL_BONES][MEASURE]
    return {
        "schema": SCHEMA,
        "unit": "mm",
        "resolution": resolution,
        "cases": [result.id for result in before],
        "verdict": _verdict(failed["before"], failed["after"], None if overall is None else overall.mean),
        "table_words": TABLE_WORDS,
        "before": tables["before"],
        "after": tables["after"],
        "after_minus_before": {
            bone: None if row[MEASURE] is None else {MEASURE: asdict(row[MEASURE])}  # type: ignore[arg-type]
            for bone, row in differences.items()
        },
    }


def _verdict(failed_before: int, failed_after: int, change: float | None) -> str:
    if failed_after != failed_before:
        return WORSE if failed_after > failed_before else BETTER
    if change is None or change == 0:
        return SAME
    return WORSE if change > 0 else BETTER


def comparison_words(record: dict[str, Any]) -> list[str]:
    """One line a bone: exact ASSD before and after, and bones that failed."""
    lines = []
    for bone, row in record["before"].items():
        other = record["after"][bone]
        figures = ["-" if r[MEASURE] is None else f"{r[MEASURE]['mean']:.3f}" for r in (row, other)]
        lines.append(
            f"{bone:<8} exact ASSD {figures[0]} -> {figures[1]} mm, not found {row['failed']} -> {other['failed']}"
        )
    return lines

"""Figure 5a and the rows of SSR-KD in Table 1.

Error against the number of labelled and of unlabelled cases, and what each part of SSR-KD contributes; all points at one budget.
"""

from __future__ import annotations

from collections.abc import Sequence

from SSRKDCore.evaluation.experiments.framework import Plan
from SSRKDCore.evaluation.experiments.registry import Request
from SSRKDCore.evaluation.experiments.training_points import TrainingPlace, TrainingPoint, trained_plan

LABELLED = (7, 14, 28, 42, 70)
UNLABELLED = (0, 35, 70, 140, 280)
#: Cases of the other kind, the same at all points of a curve.
UNLABELLED_OF_LABELLED_CURVE = 280
LABELLED_OF_UNLABELLED_CURVE = 14
PARTS_CASES = (70, 280)


def labelled_points(
    place: TrainingPlace, counts: Sequence[int] = LABELLED, unlabelled: int = UNLABELLED_OF_LABELLED_CURVE
) -> list[TrainingPoint]:
    """A point a number of labelled cases."""
    changes = place.student_batches(unlabelled > 0)
    return [TrainingPoint(f"{count} labelled", count, unlabelled, changes, value=float(count)) for count in counts]


def unlabelled_points(
    place: TrainingPlace, counts: Sequence[int] = UNLABELLED, labelled: int = LABELLED_OF_UNLABELLED_CURVE
) -> list[TrainingPoint]:
    """A point a number of unlabelled cases; with none, steps have as many labelled ones in their place."""
    return [
        TrainingPoint(f"{count} unlabelled", labelled, count, place.student_batches(count > 0), value=float(count))
        for count in counts
    ]


def parts_points(
    place: TrainingPlace, labelled: int = PARTS_CASES[0], unlabelled: int = PARTS_CASES[1]
) -> list[TrainingPoint]:
    """SSR-KD in full, which the others are compared with, and without one of its parts each."""
    everything = {**place.student_batches(), "pseudo_labels": True, "distillation": True, "enhancement": True}
    alone = {**everything, **place.student_batches(with_unlabelled=False)}
    return [
        TrainingPoint("SSR-KD", labelled, unlabelled, everything),
        TrainingPoint("SSR-KD without unlabelled cases", labelled, 0, alone),
        TrainingPoint("SSR-KD without distillation", labelled, unlabelled, {**everything, "distillation": False}),
        TrainingPoint("SSR-KD without enhancement", labelled, unlabelled, {**everything, "enhancement": False}),
    ]


def labelled_plan(request: Request) -> Plan:
    """The plan of Figure 5a's first curve."""
    place = request.needed_training()
    counts, unlabelled = place.labelled or LABELLED, place.one("unlabelled", UNLABELLED_OF_LABELLED_CURVE)
    return trained_plan(request, labelled_points(place, counts, unlabelled), {"": "labelled cases"})


def unlabelled_plan(request: Request) -> Plan:
    """The plan of Figure 5a's second curve."""
    place = request.needed_training()
    counts, labelled = place.unlabelled or UNLABELLED, place.one("labelled", LABELLED_OF_UNLABELLED_CURVE)
    return trained_plan(request, unlabelled_points(place, counts, labelled), {"": "unlabelled cases"})


def parts_plan(request: Request) -> Plan:
    """The plan of SSR-KD's rows of Table 1."""
    place = request.needed_training()
    labelled, unlabelled = place.one("labelled", PARTS_CASES[0]), place.one("unlabelled", PARTS_CASES[1])
    return trained_plan(request, parts_points(place, labelled, unlabelled), {"": "method"})

"""Error against size: the same knees of a shape model, smaller and larger."""

from __future__ import annotations

from SSRKDCore.evaluation.experiments.framework import Plan
from SSRKDCore.evaluation.experiments.posed_knees import posed_knees
from SSRKDCore.evaluation.experiments.registry import Request
from SSRKDCore.population.random_knee import RandomKneeRanges

FACTORS = (0.8, 0.9, 1.0, 1.1, 1.2)
# Wide enough that no size is cut to adult widths: the point is to leave them.
_WIDTHS_MM = (40.0, 140.0)
_FLEXION_DEGREES = (5.0, 5.0)


def plan(request: Request) -> Plan:
    """The points of the experiment: factors on the size of the shape model's knees, all bent by 5 degrees."""

    def ranges(factor: float) -> RandomKneeRanges:
        return RandomKneeRanges(
            flexion=_FLEXION_DEGREES, extended=_FLEXION_DEGREES, size=(factor, factor), width=_WIDTHS_MM
        )

    return posed_knees(request, FACTORS, ranges, "times", "size (times the shape model's)")

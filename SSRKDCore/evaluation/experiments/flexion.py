"""Error against flexion: the same knees of a shape model, bent."""

from __future__ import annotations

from SSRKDCore.evaluation.experiments.framework import Plan
from SSRKDCore.evaluation.experiments.posed_knees import posed_knees
from SSRKDCore.evaluation.experiments.registry import Request
from SSRKDCore.population.random_knee import RandomKneeRanges

DEGREES = (0.0, 10.0, 20.0, 30.0, 40.0)


def plan(request: Request) -> Plan:
    """The points of the experiment."""

    def ranges(degrees: float) -> RandomKneeRanges:
        return RandomKneeRanges(flexion=(degrees, degrees), extended=(degrees, degrees))

    return posed_knees(request, DEGREES, ranges, "degrees", "flexion between the shafts (degrees)")

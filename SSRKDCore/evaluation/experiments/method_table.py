"""Table 1 with several rows: each method on the same cases as they are."""

from __future__ import annotations

from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.experiments.framework import Plan, Point, given_case
from SSRKDCore.evaluation.experiments.registry import Request


def plan(request: Request) -> Plan:
    """A point a method, in the order given."""
    if not request.methods:
        raise InputError("The experiment 'table' compares methods: name each with --method NAME=PATH.")
    points = [
        Point(row, given_case, settings=chosen.settings, method=chosen.reconstruct)
        for row, chosen in request.methods.items()
    ]
    return Plan(points, request.case_sources(), {"": "method"})

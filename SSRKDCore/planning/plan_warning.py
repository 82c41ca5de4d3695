"""One warning about a plan."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PlanWarning:
    """One warning: a code word for programs, a sentence for people, the figure and its limit (in the unit of the sentence)."""

    code: str
    message: str
    value: float
    limit: float

"""A person's cases stay on one side of a split: two legs, or two scans of one leg, are too alike for one to judge what learnt the other."""

from __future__ import annotations

from collections.abc import Sequence

from SSRKDCore.cases import Case
from SSRKDCore.evaluation.case_evaluation import case_subject


def subject_entry(case: Case) -> dict[str, str]:
    """What a sample store records of whose knee a case is; nothing where the case does not say."""
    subject = case_subject(case)
    return {} if subject is None else {"subject": subject}


def person_of(case: Case) -> str:
    """Whose knee it is; a case that does not say is a person of its own."""
    return case_subject(case) or f"case {case.id}"


def last_persons(persons: Sequence[str], count: int) -> set[str]:
    """The fewest persons, from the last case backwards, who together have `count` cases or more (all of them where there are not so many).

    Parameters
    ----------
    persons: whose each case is. count: of cases; 0 takes nobody.
    """
    chosen: set[str] = set()
    for person in reversed(persons):
        if sum(owner in chosen for owner in persons) >= count:
            break
        chosen.add(person)
    return chosen

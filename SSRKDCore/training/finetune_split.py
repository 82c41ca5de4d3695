"""Which of a site's own cases are learnt from, which say when to stop, and which judge the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SSRKDCore.cases import load_case
from SSRKDCore.errors import InputError
from SSRKDCore.training.case_checks import refuse_evaluation_only
from SSRKDCore.training.whole_persons import person_of


@dataclass(frozen=True)
class FinetuneSplit:
    """Case folders by use.

    Attributes
    ----------
    training: learnt from. stopping: looked at during the run, to stop it. held_out: seen by nothing but the comparison.
    """

    training: tuple[Path, ...]
    stopping: tuple[Path, ...]
    held_out: tuple[Path, ...]

    def to_dict(self) -> dict[str, list[str]]:
        """Folder names by use, for JSON."""
        return {
            "training": [folder.name for folder in self.training],
            "stopping": [folder.name for folder in self.stopping],
            "held_out": [folder.name for folder in self.held_out],
        }


def split_for_finetuning(cases: Sequence[Path], stopping: int = 0, held_out: int = 0, seed: int = 0) -> FinetuneSplit:
    """Deal cases to the three uses, at random by the seed; a person's two legs stay together.

    The cases that stop the run have a say in it, so that they cannot judge it: hence three uses and not two.

    Parameters
    ----------
    cases: folders of labelled cases. stopping, held_out: persons; 0 takes a fifth of them each, one at least.

    Raises InputError when there are too few persons, or cases that are not labelled, or for evaluation only.
    """
    by_person: dict[str, list[Path]] = {}
    for folder in sorted(cases, key=lambda path: path.name):
        case = load_case(folder)
        refuse_evaluation_only(case)
        if case.reference is None:
            raise InputError(f"{folder} has no reference: give it one, or name it among the unlabelled cases.")
        by_person.setdefault(person_of(case), []).append(folder)
    persons = sorted(by_person)
    fifth = max(1, round(len(persons) / 5))
    stopping, held_out = stopping or fifth, held_out or fifth
    if len(persons) < stopping + held_out + 1:
        raise InputError(
            f"There are labelled cases of {len(persons)} persons, and {stopping} are needed to stop the training,"
            f" {held_out} to compare before and after, and one to learn from: add cases."
        )
    order = [persons[index] for index in np.random.default_rng(seed).permutation(len(persons))]

    def folders(names: Sequence[str]) -> tuple[Path, ...]:
        return tuple(folder for name in sorted(names) for folder in by_person[name])

    return FinetuneSplit(
        folders(order[held_out + stopping :]), folders(order[held_out : held_out + stopping]), folders(order[:held_out])
    )

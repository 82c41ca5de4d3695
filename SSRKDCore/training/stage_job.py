"""One stage from samples to a model folder: what the three stages' `train_...` functions are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from SSRKDCore.errors import InputError
from SSRKDCore.networks.model_folder import Model
from SSRKDCore.training.sample_store import SampleStore
from SSRKDCore.training.settings import RunSettings, StageTraining
from SSRKDCore.training.whole_persons import last_persons


@dataclass(frozen=True)
class StageJob:
    """What to train on what.

    Attributes:
        store: the samples. training: indices of the cases to train on. held_out: labelled ones for validation.
        settings: what is learnt. run: on what and how. out: the run's folder.
        name, licence: of the model that comes out.
        teacher, segmenter: models of earlier stages, where the stage uses them.
        initial: of the student: a model whose weights it starts from; None draws them.
    """

    store: SampleStore
    training: Sequence[int]
    held_out: Sequence[int]
    settings: StageTraining
    run: RunSettings
    out: Path
    name: str
    licence: str
    teacher: Model | None = None
    segmenter: Model | None = None
    initial: Model | None = None

    @property
    def labelled(self) -> list[int]:
        """The labelled cases to train on."""
        return [case for case in self.training if self.store.labelled[case]]

    @property
    def unlabelled(self) -> list[int]:
        """The unlabelled cases to train on."""
        return [case for case in self.training if not self.store.labelled[case]]


def split_cases(store: SampleStore, held_out: int) -> tuple[list[int], list[int]]:
    """Indices of the cases to train on, and of labelled ones to keep out: the last `held_out` of the store.

    A person's cases stay together, so that the labelled cases kept out may be a few more than `held_out`, and the unlabelled cases of the
    same persons are in neither list. A case that does not say whose it is is a person of its own.

    Raises:
        InputError: fewer than one labelled case would be left.
    """
    labelled = [case for case in range(len(store)) if store.labelled[case]]
    if held_out >= len(labelled):
        raise InputError(
            f"{store.folder} has {len(labelled)} labelled cases and {held_out} of them were to be held out: add labelled"
            " cases, or lower held_out of the run settings."
        )
    persons = [case.person for case in store.cases]
    apart = last_persons([persons[case] for case in labelled], held_out)
    kept_out = [case for case in labelled if persons[case] in apart]
    if len(kept_out) == len(labelled):
        raise InputError(
            f"{store.folder} has labelled cases of {len(apart)} persons, and to hold out {held_out} of its {len(labelled)} cases takes all"
            " of them, since a person's cases stay together: add labelled cases of other persons, or lower held_out of the run settings."
        )
    return [case for case in range(len(store)) if persons[case] not in apart], kept_out

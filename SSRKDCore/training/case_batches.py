"""What the batches of the three stages share: labelled and unlabelled cases of a sample store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import CLASS_COUNT
from SSRKDCore.errors import InputError
from SSRKDCore.training.sample_store import SampleStore
from SSRKDCore.training.step_dataset import StepDataset

#: Cases looked at for the counts of the classes.
_COUNTED_CASES = 64


class CaseBatches(StepDataset):
    """Batches drawn from cases, some with labels and some without.

    Args:
        store: the samples. cases: indices of the cases to train on; which are labelled, the store says.
        seed: of everything drawn. steps: of the run.
        uses_unlabelled: whether unlabelled cases take part.
        without_unlabelled: which settings to change, in words, when there are none and they are used.

    Attributes:
        labelled, unlabelled: indices of the cases of each kind; `unlabelled` is empty when they take no part.

    Raises:
        InputError: there are no cases of a kind that is used.
    """

    def __init__(
        self,
        store: SampleStore,
        cases: Sequence[int],
        seed: int,
        steps: int,
        uses_unlabelled: bool,
        without_unlabelled: str = "set unlabelled_batch to 0",
    ) -> None:
        super().__init__(seed, steps)
        self.store = store
        self.labelled = [case for case in cases if store.labelled[case]]
        self.unlabelled = [case for case in cases if not store.labelled[case]] if uses_unlabelled else []
        if not self.labelled:
            raise InputError(f"{store.folder} has no labelled case to train on: add labelled cases.")
        if uses_unlabelled and not self.unlabelled:
            raise InputError(
                f"{store.folder} has no unlabelled case, and the settings learn from them: add unlabelled cases, or"
                f" {without_unlabelled}."
            )

    def fingerprint(self) -> dict[str, Any]:
        ids = self.store.case_ids
        return {
            "samples": self.store.fingerprint,
            "labelled": [ids[case] for case in self.labelled],
            "unlabelled": [ids[case] for case in self.unlabelled],
        }

    def class_counts(self) -> NDArray[np.int64]:
        """(classes,) how many points of the field of view at large lie in each class, over (up to) 64 labelled cases."""
        counts = np.zeros(CLASS_COUNT, np.int64)
        step = max(1, len(self.labelled) // _COUNTED_CASES)
        for case in self.labelled[::step][:_COUNTED_CASES]:
            sample = self.store.read(case, 0, teacher=False)
            anywhere = sample.labels[sample.near :]
            counts += np.bincount(anywhere[anywhere < CLASS_COUNT], minlength=CLASS_COUNT)
        return counts

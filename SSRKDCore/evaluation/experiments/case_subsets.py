"""Nested, seeded subsets of the cases of a sample store, each a store of its own whose files are links to the first."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from SSRKDCore.errors import InputError
from SSRKDCore.json_files import read_json, write_json
from SSRKDCore.training.sample_store import STORE_FILE, SampleStore

_STORE_BYTES = 256 * 1024 * 1024
_LABELLED, _UNLABELLED = range(2)


def nested_cases(store: SampleStore, labelled: int, unlabelled: int, seed: int) -> list[int]:
    """Indices of so many cases of each kind, ascending. With one seed the smaller choice is always part of the larger.

    Cases are drawn by their ids, so that the order in which a store lists them changes nothing.

    Raises InputError when the store has fewer.
    """
    chosen: list[int] = []
    for kind, wanted, stream in ((True, labelled, _LABELLED), (False, unlabelled, _UNLABELLED)):
        cases = sorted(
            (index for index in range(len(store)) if store.labelled[index] == kind), key=store.case_ids.__getitem__
        )
        if not 0 <= wanted <= len(cases):
            words = "labelled" if kind else "unlabelled"
            raise InputError(
                f"{store.folder} has {len(cases)} {words} cases and the experiment needs {wanted}: make more, or ask for fewer."
            )
        order = np.random.default_rng([seed, stream]).permutation(len(cases))
        chosen += [cases[index] for index in order[:wanted]]
    return sorted(chosen)


def linked_store(store: SampleStore, cases: Sequence[int], folder: Path) -> SampleStore:
    """The store of some cases, made in a new folder or found there.

    What a CT teacher said of them comes along; another teacher's outputs replace it in the new folder alone.

    Raises InputError when the folder holds other cases, or samples that have been made again since.
    """
    value = read_json(store.folder / STORE_FILE, "a sample store", _STORE_BYTES)
    value["cases"] = [value["cases"][case] for case in cases]
    path = folder / STORE_FILE
    if path.is_file():
        if read_json(path, "a sample store", _STORE_BYTES) != value:
            raise InputError(f"{folder} holds other samples than the experiment wants: choose another output folder.")
        return SampleStore(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for case in cases:
        _link(store.folder / store.cases[case].file, folder / store.cases[case].file)
        link_teacher(store, case, folder)
    write_json(path, value)
    return SampleStore(folder)


def link_teacher(store: SampleStore, case: int, folder: Path) -> None:
    """What a CT teacher said of a case, if anything, in the folder of another store with the same points of that case."""
    source = store.teacher_path(case)
    if source.is_file():
        _link(source, folder / source.name)


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # Another disk, or a file system without links.
        shutil.copyfile(source, target)

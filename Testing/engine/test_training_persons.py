"""A person's cases stay together: what is held out judges nothing that learnt another knee of the same person."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tiny_training import SAMPLES
from training_cases import write_knee_case

from SSRKDCore.errors import InputError
from SSRKDCore.json_files import read_json, write_json
from SSRKDCore.training.make_samples import prepare_samples
from SSRKDCore.training.sample_store import STORE_FILE, SampleStore, write_store
from SSRKDCore.training.stage_job import split_cases
from SSRKDCore.training.style_images import StyleImages
from SSRKDCore.training.style_training import _split


def store_of(folder: Path, subjects: Sequence[str | None], unlabelled: Sequence[int] = ()) -> SampleStore:
    """A store that names cases of these subjects without having any samples."""
    cases = [
        {"id": f"case{i}", "file": f"case{i}.npz", "labelled": i not in unlabelled, "folder": "nowhere"}
        | ({} if subject is None else {"subject": subject})
        for i, subject in enumerate(subjects)
    ]
    folder.mkdir()
    write_store(folder, {}, 1, cases)
    return SampleStore(folder)


def test_without_subjects_the_last_labelled_cases_are_held_out_as_ever(tmp_path: Path) -> None:
    unlabelled = (1, 4, 7, 8)
    store = store_of(tmp_path / "store", [None] * 12, unlabelled)
    labelled = [case for case in range(12) if case not in unlabelled]
    for count in range(len(labelled)):
        kept_out = labelled[len(labelled) - count :]
        assert split_cases(store, count) == ([case for case in range(12) if case not in kept_out], kept_out)
    with pytest.raises(InputError, match="has 8 labelled cases and 8 of them were to be held out"):
        split_cases(store, 8)


def test_a_persons_cases_are_never_on_both_sides(tmp_path: Path) -> None:
    # Ann's legs stand first and last, and a third scan of her is unlabelled; Bob has two legs; two cases do not say.
    store = store_of(tmp_path / "store", ["ann", "bob", None, "ann", "bob", None, "ann"], unlabelled=(3,))
    assert split_cases(store, 1) == ([1, 2, 4, 5], [0, 6])
    assert split_cases(store, 2) == ([1, 2, 4, 5], [0, 6])
    assert split_cases(store, 3) == ([1, 2, 4], [0, 5, 6])
    assert split_cases(store, 0) == (list(range(7)), [])
    everyone = store_of(tmp_path / "one", ["ann", "ann", "ann"])
    with pytest.raises(InputError, match="a person's cases stay together: add labelled cases of other persons"):
        split_cases(everyone, 1)


def test_samples_say_whose_knee_a_case_is_and_are_otherwise_as_before(tmp_path: Path) -> None:
    cases = [write_knee_case(tmp_path / "a", provenance={"subject": "ann"}), write_knee_case(tmp_path / "b")]
    store = prepare_samples(cases, tmp_path / "samples", SAMPLES)
    assert [case.subject for case in store.cases] == ["ann", None]
    assert [case.person for case in store.cases] == ["ann", "case b"]
    listed = read_json(store.folder / STORE_FILE, "a sample store")
    assert "subject" not in listed["cases"][1]
    del listed["cases"][0]["subject"]
    write_json(store.folder / STORE_FILE, listed)
    older = SampleStore(store.folder)
    assert older.fingerprint == store.fingerprint, "a run on samples of an older version goes on"
    times = [(store.folder / case.file).stat().st_mtime_ns for case in store.cases]
    again = prepare_samples(cases, tmp_path / "samples", SAMPLES)
    assert again.cases[0].subject == "ann"
    assert [(again.folder / case.file).stat().st_mtime_ns for case in again.cases] == times, "nothing was made again"


def test_style_training_holds_out_whole_persons() -> None:
    def images(persons: tuple[str, ...]) -> StyleImages:
        pictures = np.arange(8, dtype=np.float16)[:, None, None] * np.ones((1, 2, 2), np.float16)
        cases = tuple(f"case{index // 2}" for index in range(8))
        return StyleImages(pictures, np.ones((8, 2, 2), dtype=bool), cases, "x", persons)

    learnt, held_out = _split(images(()), 1)
    assert set(held_out.cases) == {"case3"} and set(learnt.cases) == {"case0", "case1", "case2"}
    owners = ("ann", "ann", "bob", "bob", "cem", "cem", "ann", "ann")
    learnt, held_out = _split(images(owners), 1)
    assert set(held_out.cases) == {"case0", "case3"} and set(held_out.persons) == {"ann"}
    assert learnt.images[:, 0, 0].tolist() == [2, 3, 4, 5]
    with pytest.raises(InputError, match="a person's cases stay together"):
        _split(images(("ann",) * 8), 1)

"""From case folders to a sample store: `python -m SSRKDCore.training.make_samples`.

A case's samples depend on the settings, their seed and the case's id only: not on the other cases, their order, or the number of workers.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from SSRKDCore.cases import CASE_FILE, find_cases, load_case
from SSRKDCore.console import progress_bar, say
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.json_files import write_json
from SSRKDCore.population.case_workers import end_with_parent
from SSRKDCore.training.case_checks import check_content, check_training_cases
from SSRKDCore.training.case_volume import CaseVolume, load_case_volume
from SSRKDCore.training.point_sampling import BoneLabels, labelled_points, unlabelled_points
from SSRKDCore.training.random_rigs import random_rig
from SSRKDCore.training.sample_settings import SampleSettings
from SSRKDCore.training.sample_store import (
    SCHEMA,
    SKIPPED_FILE,
    STORE_FILE,
    CaseSample,
    SampleStore,
    sample_file_name,
    stored_record,
    write_case_samples,
    write_store,
)
from SSRKDCore.training.whole_persons import subject_entry

Progress = Callable[[float, str], None]

# Where the samples go is at fault, and no case: none of these comes of reading.
_NO_PLACE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
_CHECKING = 0.05
"""Share of the time that looking at all cases takes before the first is worked on."""


def samples_of_case(volume: CaseVolume, settings: SampleSettings) -> list[CaseSample]:
    """All rigs of one case; see `CaseSample`. The same settings and case id give the same samples."""
    identity = int.from_bytes(hashlib.sha256(volume.case.id.encode()).digest()[:8], "little")
    inside = None if volume.bones is None else BoneLabels(volume.bones, volume.grid.bounds)
    samples = []
    for index in range(settings.rigs):
        generator = np.random.default_rng([settings.seed, identity, index])
        rig = random_rig(generator, settings.rig_ranges, settings.image_size, volume.center)
        box = volume.scanned_box(rig.cut)
        if volume.bones is not None and inside is not None:
            masks = volume.bone_masks(rig.views, box)
            points, labels, near = labelled_points(
                volume.bones, inside, rig.cube, box, volume.known_heights, settings.points, generator
            )
        else:
            masks = None
            points, labels, near = unlabelled_points(
                volume.hounsfield, volume.grid, rig.cube, box, settings.points, generator
            )
        samples.append(
            CaseSample(
                case_id=volume.case.id,
                rig_index=index,
                images=volume.radiographs(rig, settings.rays).astype(np.float16),
                bone_masks=masks,
                projections=np.stack([view.projection_matrix for view in rig.views]),
                cube=np.array([*rig.cube.center, rig.cube.size]),
                points=points,
                labels=labels,
                near=near,
                scanned=box[:, 2],
            )
        )
    return samples


@dataclass(frozen=True)
class _Job:
    """One case to do: its folder, whether its reference may be looked at, and the file to write."""

    folder: Path
    use_reference: bool
    file: Path


def _job(folder: Path, use_reference: bool, out: Path) -> _Job:
    return _Job(folder, use_reference, out / sample_file_name(load_case(folder).id))


def _is_made(folder: Path, use_reference: bool, out: Path, settings: SampleSettings) -> bool:
    """Whether the samples of a case are there and what they were made from is unchanged."""
    try:
        job = _job(folder, use_reference, out)
        return stored_record(job.file) == _source(job, settings)
    except (InputError, OSError):
        return False


def _source(job: _Job, settings: SampleSettings) -> dict[str, Any]:
    """What the samples of a case are made from: settings, and what tells changed files: a corrected surface is as large as before."""
    case = load_case(job.folder)
    used = [] if case.ct is None else [case.ct]
    if job.use_reference and case.reference is not None:
        used += [case.reference] if isinstance(case.reference, Path) else list(case.reference.values())
    return {
        "schema": SCHEMA,
        "id": case.id,
        "labelled": job.use_reference and case.reference is not None,
        "case": hashlib.sha256((job.folder / CASE_FILE).read_bytes()).hexdigest()[:16],
        "field_of_view": [*case.rig.field_of_view.center, case.rig.field_of_view.size],
        "contents": {path.relative_to(job.folder).as_posix(): _digest(path) for path in used},
        "settings": settings.to_dict(),
    }


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _make(job: _Job, settings: SampleSettings) -> str | None:
    """Make the samples of one case unless they are there; returns what is wrong with the case, or None.

    Raises InputError when the samples' own place cannot be written.
    """
    try:
        source = _source(job, settings)
        if stored_record(job.file) == source:
            return None
        volume = load_case_volume(job.folder, None if job.use_reference else False, settings.voxel_mm)
        check_content(volume)
        write_case_samples(job.file, samples_of_case(volume, settings), source)
    except InputError as error:
        return str(error)
    except MemoryError:
        return f"{job.folder} needs more memory than there is: crop its CT to the knee, or use fewer workers."
    except (ArithmeticError, LookupError, OSError, RuntimeError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in _NO_PLACE:
            raise InputError(
                f"{job.file.parent} cannot be written ({error.strerror}): free some space or choose another folder; what is done is kept."
            ) from error
        # One odd case must not end the work on thousands; it is named, and too many of them do end it.
        return f"{job.folder} failed ({type(error).__name__}: {error}): check its files, or leave it out."
    return None


def _start_worker() -> None:
    """One thread a process, since the processes share the cores; Ctrl-C is for the parent, without whom a worker ends."""
    import signal

    import numba
    import SimpleITK

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    numba.set_num_threads(1)
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


def prepare_samples(
    cases: Sequence[str | Path],
    out: str | Path,
    settings: SampleSettings | None = None,
    workers: int = 1,
    progress: Progress | None = None,
    *,
    unlabelled: Sequence[str | Path] = (),
    cancelled: Callable[[], bool] | None = None,
) -> SampleStore:
    """Make the samples of cases, or go on where an earlier call was stopped; samples of unchanged cases are kept.

    Bad cases are named, skipped, and listed in `skipped.json` of the store.

    Parameters
    ----------
    cases: case folders; those with a reference are labelled. unlabelled: further ones, whose reference is not looked at.
    out: folder of the store. settings: what to make. workers: processes; 0 takes all cores.
    progress: called with the fraction done and words. cancelled: asked between cases.

    Raises InputError when `out` holds samples of other settings or cannot be written, or too many cases are bad; Cancelled.
    """
    settings, out = settings or SampleSettings(), Path(out)
    folders = [(Path(folder), True) for folder in cases] + [(Path(folder), False) for folder in unlabelled]
    if not folders:
        raise InputError("There are no cases to make samples of: name folders of cases.")
    _refuse_other_settings(out, settings)
    tell = progress or (lambda fraction, words: None)
    problems = {
        problem.case: problem.sentence
        for problem in check_training_cases(
            [folder for folder, used in folders if used],
            [folder for folder, used in folders if not used],
            checked={folder for folder, used in folders if _is_made(folder, used, out, settings)},
            progress=lambda fraction, words: tell(_CHECKING * fraction, words),
        )
    }
    # Before anything is made: hours on a set that is refused at the end would be lost.
    _refuse_too_many(problems, len(folders), settings)
    jobs = [_job(folder, used, out) for folder, used in folders if folder not in problems]
    out.mkdir(parents=True, exist_ok=True)
    results = _run(jobs, settings, workers or os.cpu_count() or 1, cancelled)
    for done, (job, sentence) in enumerate(results, start=1):
        if sentence is not None:
            problems[job.folder] = sentence
            say(f"Skipped: {sentence}")
            _refuse_too_many(problems, len(folders), settings)
        tell(_CHECKING + (1 - _CHECKING) * done / len(jobs), f"{done} of {len(jobs)} cases")
    write_json(
        out / SKIPPED_FILE, {"skipped": [{"case": f, "problem": problems[f]} for f, _ in folders if f in problems]}
    )
    kept = [(job, _source(job, settings)) for job in jobs if job.folder not in problems]
    listed = [
        {
            "id": source["id"],
            "file": job.file.name,
            "labelled": source["labelled"],
            "folder": job.folder.resolve(),
            "source": {"case": source["case"], "contents": source["contents"]},
            **subject_entry(load_case(job.folder)),
        }
        for job, source in kept
    ]
    write_store(out, settings.to_dict(), settings.rigs, listed)
    return SampleStore(out)


def _run(
    jobs: Sequence[_Job], settings: SampleSettings, workers: int, cancelled: Callable[[], bool] | None
) -> Iterator[tuple[_Job, str | None]]:
    """Do the jobs, in as many processes; yields each when it is done, with what is wrong with it."""

    def ask() -> None:
        if cancelled is not None and cancelled():
            raise Cancelled("Making samples was cancelled; what is done is kept.")

    if workers <= 1 or len(jobs) <= 1:
        for job in jobs:
            ask()
            yield job, _make(job, settings)
        return
    # Spawned, not forked: the threads of numba and SimpleITK do not survive a fork.
    pool = ProcessPoolExecutor(min(workers, len(jobs)), get_context("spawn"), _start_worker)
    try:
        waiting: dict[Future[str | None], _Job] = {pool.submit(_make, job, settings): job for job in jobs}
        while waiting:
            ask()
            finished, _ = wait(waiting, timeout=1.0, return_when=FIRST_COMPLETED)
            for future in finished:
                yield waiting.pop(future), future.result()
    except BrokenProcessPool as error:
        raise InputError(
            "A worker was killed, most likely because memory ran out: use fewer workers; what is done is kept."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _refuse_other_settings(out: Path, settings: SampleSettings) -> None:
    if not (out / STORE_FILE).is_file():
        return
    old, new = SampleStore(out).settings, settings.to_dict()
    different = [name for name in new if old.get(name) != new[name] and name != "largest_skipped_share"]
    if different:
        raise InputError(
            f"{out} holds samples with another {', '.join(different)}: choose another folder, or delete it to make them again."
        )


def _refuse_too_many(problems: Mapping[Path, str], count: int, settings: SampleSettings) -> None:
    bad = len(problems)
    if bad == count or bad > max(1, settings.largest_skipped_share * count):
        first = next(iter(problems.values()))
        raise InputError(f"{bad} of {count} cases cannot be trained on; the first: {first}")


def main() -> None:
    """Make the samples of a folder of cases; a call that was stopped goes on where it was."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--cases", type=Path, required=True, help="folder of cases")
    parser.add_argument("--unlabelled", type=Path, help="folder of cases whose references are not used")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=1, help="processes; 0 takes all cores")
    for name in ("seed", "rigs", "image_size"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(SampleSettings, name))
    arguments = parser.parse_args()
    try:
        settings = SampleSettings(seed=arguments.seed, rigs=arguments.rigs, image_size=arguments.image_size)
        cases = find_cases(arguments.cases)
        further = find_cases(arguments.unlabelled) if arguments.unlabelled else []
        with progress_bar("Samples") as progress:
            store = prepare_samples(cases, arguments.out, settings, arguments.workers, progress, unlabelled=further)
    except InputError as error:
        parser.exit(2, f"{error}\n")
    say(f"{len(store)} cases, {sum(store.labelled)} of them labelled, {store.rigs_per_case} rigs each: {store.folder}")


if __name__ == "__main__":
    main()

"""A folder of synthetic cases: many at once, each whole or absent, gone on with after any interruption."""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import pickle
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SSRKDCore import __version__
from SSRKDCore.errors import InputError
from SSRKDCore.population.case_workers import run_jobs
from SSRKDCore.population.population_record import SCHEMA, UNFINISHED, PopulationRecord, claim_folder, complete_cases
from SSRKDCore.population.random_knee import KneeSource
from SSRKDCore.population.synthetic_case import (
    LABELLED,
    UNLABELLED,
    CaseMaker,
    CaseNumber,
    PopulationSettings,
    synthetic_case,
)

# The folder or disk is at fault, and so every further case would fail like this one.
_NO_PLACE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class PopulationReport:
    """What a run did.

    Attributes
    ----------
    out: the folder of the cases.
    kept: names of cases that were there before; written: names of those that this run made.
    failed: name -> reason of those that could not be made.
    """

    out: Path
    kept: tuple[str, ...]
    written: tuple[str, ...]
    failed: dict[str, str]


@dataclass(frozen=True)
class _CaseJob:
    """All that a worker needs for one case."""

    model: _ModelFile | KneeSource
    settings: PopulationSettings
    number: CaseNumber
    out: Path
    maker: CaseMaker


@dataclass(frozen=True)
class _ModelFile:
    """A shape model's file and the SHA-256 that its content must have wherever it is read."""

    path: Path
    sha256: str


def write_population(
    model: str | Path | KneeSource,
    out: str | Path,
    cases: int,
    settings: PopulationSettings,
    unlabelled: int = 0,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: Progress | None = None,
    maker: CaseMaker = synthetic_case,
) -> PopulationReport:
    """Make the cases that `out` lacks of a population.

    A case depends on the shape model, the settings and its own number only: not on how many cases there are, nor on where and in
    which order they are made. Cases lie in out/case00000 and so on, those without truth in out/unlabelled00000 and so on;
    population.json says what they were made with, how many there are, and which failed and why. A case is written out of sight and
    renamed, so a kill at any moment leaves whole cases only, and the next call goes on with the rest. One run at a time may write
    to a folder.

    Parameters
    ----------
    model: file of a `KneeShapeModel`, or an object that samples bones. With a scheduler, the file and `out` must be at the same
        place on every machine.
    cases, unlabelled: how many of each kind there shall be; more than before adds cases.
    workers, scheduler: see `case_workers.run_jobs`.
    progress: called with a fraction 0..1 and words.
    maker: draws a case; like the model it must be picklable.

    Raises InputError for a folder that holds something else or a population made otherwise, an unusable model, no scheduler, and a
    disk that cannot be written. KeyboardInterrupt leaves population.json up to date.
    """
    out = Path(out).absolute()
    if cases < 0 or unlabelled < 0 or cases + unlabelled == 0:
        raise InputError(f"{cases} labelled and {unlabelled} unlabelled cases were asked for: ask for at least one.")
    source, described = _model_source(model)
    head = {"schema": SCHEMA, "settings": settings.to_dict(), "shape_model": described, "engine": __version__}
    numbers = [
        CaseNumber(kind, index) for kind, n in ((LABELLED, cases), (UNLABELLED, unlabelled)) for index in range(n)
    ]
    claim_folder(out, head)
    record = PopulationRecord(out, head, {LABELLED: cases, UNLABELLED: unlabelled})
    present = set(complete_cases(out, LABELLED)) | set(complete_cases(out, UNLABELLED))
    kept = tuple(number.name for number in numbers if number.name in present)
    jobs = [_CaseJob(source, settings, number, out, maker) for number in numbers if number.name not in present]
    written: list[str] = []
    show = progress or (lambda fraction, words: None)
    show(len(kept) / len(numbers), f"{len(kept)} cases are there")
    try:
        record.write()
        with closing(run_jobs(_make_case, jobs, workers, scheduler)) as results:
            for job, error in results:
                name = job.number.name
                if error is None:
                    written.append(name)
                else:
                    record.failed[name] = _reason(error, out)
                done = len(kept) + len(written) + len(record.failed)
                show(done / len(numbers), name + (f" ({len(record.failed)} failed)" if record.failed else ""))
    finally:
        record.write()
        shutil.rmtree(out / UNFINISHED, ignore_errors=True)
    return PopulationReport(out, kept, tuple(sorted(written)), dict(sorted(record.failed.items())))


def _reason(error: BaseException, out: Path) -> str:
    """Why one case failed. Raises InputError when all others would fail as well."""
    if isinstance(error, OSError) and error.errno in _NO_PLACE:
        raise InputError(
            f"{out} cannot be written ({error.strerror}): free some space or choose another folder; whole cases are kept."
        ) from error
    if isinstance(error, ModelUnreadable):
        raise InputError(str(error)) from error
    return str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"


class ModelUnreadable(InputError):
    """The shape model cannot be read where a case was to be made."""


def _model_source(model: str | Path | KneeSource) -> tuple[_ModelFile | KneeSource, dict[str, Any]]:
    """The model as workers get it, and its description for population.json."""
    if not isinstance(model, (str, Path)):
        return model, {"name": type(model).__name__, "sha256": hashlib.sha256(pickle.dumps(model)).hexdigest()}
    path = Path(model).absolute()
    if not path.is_file():
        raise InputError(f"{path} does not exist: name the file that `ssrkd shape-model` wrote.")
    found = _ModelFile(path, _sha256(path))
    _loaded(found)  # Refused here, before any worker is started.
    return found, {"name": path.name, "sha256": found.sha256}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@functools.lru_cache(maxsize=1)
def _loaded(file: _ModelFile) -> KneeSource:
    from SSRKDCore.population.shape_model import KneeShapeModel

    try:
        if _sha256(file.path) != file.sha256:
            raise ModelUnreadable(f"{file.path} is another file on a worker: give every machine the same shape model.")
        return KneeShapeModel.load(file.path)
    except OSError as error:
        raise ModelUnreadable(
            f"{file.path} cannot be read on a worker ({error.strerror}): put it where every machine sees it."
        ) from error


def _make_case(job: _CaseJob) -> None:
    """Make one case beside its place and move it there."""
    from SSRKDCore.drr.noise import NoiseModel
    from SSRKDCore.population.case_writer import write_case_folder

    model = _loaded(job.model) if isinstance(job.model, _ModelFile) else job.model
    content, noise_seed = job.maker(model, job.number, job.settings)
    target, beside = job.out / job.number.name, job.out / UNFINISHED / job.number.name
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        write_case_folder(beside, content, job.settings.placed_rig(content.side), NoiseModel(), noise_seed)
        if target.exists():
            shutil.rmtree(target)
        os.rename(beside, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)

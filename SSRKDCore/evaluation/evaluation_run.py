"""An evaluation that may be ended at any time and goes on, and the cases that should be there and are not."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from SSRKDCore.cases import CASE_FILE, case_content, load_case
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.evaluation.case_evaluation import CaseResult, Progress, Reconstruct, evaluate_case
from SSRKDCore.evaluation.experiments.result_log import ResultLog, result_from_dict, result_to_dict
from SSRKDCore.json_files import read_json
from SSRKDCore.population.synthetic_case import UNLABELLED


class UnfinishedEvaluation:
    """Evaluates cases one by one and keeps each result in a hidden folder beside the output until all are there.

    Parameters
    ----------
    out: the output folder that will be written. folders: of the cases. settings: all else that results depend on.

    Raises InputError when an evaluation with other settings was begun for the same output.
    """

    def __init__(self, out: str | Path, folders: Sequence[Path], settings: Mapping[str, Any]) -> None:
        out = Path(out)
        self.folder = out.parent / f".{out.name}.unfinished"
        self._folders = list(folders)
        cases = {str(folder): _fingerprint(folder) for folder in folders}
        self._log = ResultLog(self.folder, {**settings, "cases": cases})

    @property
    def done(self) -> int:
        """How many cases are evaluated."""
        return len(self._log.records)

    def run(
        self,
        reconstruct_case: Reconstruct,
        trim_cut_references: bool = False,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[CaseResult]:
        """Evaluate the cases that are missing; see `evaluate_cases`. Returns all results in order. Raises Cancelled."""
        known = {record["folder"]: record["result"] for record in self._log.records}
        for index, folder in enumerate(self._folders):
            if str(folder) in known:
                continue
            if cancelled is not None and cancelled():
                raise Cancelled("evaluation stopped")

            def share(fraction: float, words: str, index: int = index, folder: Path = folder) -> None:
                if progress is not None:
                    place = f"{folder.name} ({index + 1} of {len(self._folders)})"
                    progress((index + fraction) / len(self._folders), f"{place}: {words}")

            share(0.0, "reading")
            result = evaluate_case(folder, reconstruct_case, trim_cut_references, share)
            self._log.add({"folder": str(folder), "result": result_to_dict(result)})
        known = {record["folder"]: record["result"] for record in self._log.records}
        results: list[CaseResult] = []
        for folder in self._folders:
            result = result_from_dict(known[str(folder)])
            if any(result.id == earlier.id for earlier in results):
                result = replace(result, id=f"{result.id} ({folder.name})")
            results.append(result)
        return results

    def remove(self) -> None:
        """Forget the unfinished results, when they have been written."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _fingerprint(folder: Path) -> str:
    """Changes when a case does: its record, radiographs, rig or truth; of a case that cannot be read, when its case.json does."""
    try:
        return case_content(load_case(folder))
    except (InputError, OSError):
        pass
    try:
        return f"{zlib.crc32((folder / CASE_FILE).read_bytes()):08x}"
    except OSError:
        return "unreadable"


def scored_folders(folders: Sequence[Path]) -> tuple[list[Path], int]:
    """Folders of the cases to score, and how many others there are whose record says that they are unlabelled.

    A case that has no reference and does not say so is scored, and fails: something is missing there.
    """
    scored = [folder for folder in folders if not _is_unlabelled(folder)]
    return scored, len(folders) - len(scored)


def unlabelled_words(count: int) -> str:
    """What a reader is told of cases left out by `scored_folders`."""
    return f"{count} unlabelled case{' is' if count == 1 else 's are'} not scored."


def _is_unlabelled(folder: Path) -> bool:
    try:
        value = read_json(folder / CASE_FILE, "a case file")
    except InputError:
        return False
    provenance = value.get("provenance")
    return value.get("reference") is None and isinstance(provenance, dict) and provenance.get("kind") == UNLABELLED


def missing_cases(folder: str | Path) -> list[CaseResult]:
    """Labelled cases that a population's record says could not be made: each counts as a failure. Empty where there is no record."""
    from SSRKDCore.population.population_record import POPULATION_FILE

    path = Path(folder) / POPULATION_FILE
    if not path.is_file():
        return []
    failed = read_json(path, "the record of a population").get("failed")
    if not isinstance(failed, dict):
        return []
    return [
        CaseResult(str(name), None, 0.0, failure=f"the case was not made: {reason}")
        for name, reason in failed.items()
        if not str(name).startswith(UNLABELLED) and not (Path(folder) / str(name) / CASE_FILE).is_file()
    ]

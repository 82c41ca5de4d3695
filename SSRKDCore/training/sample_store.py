"""Training samples on disk: one uncompressed .npz a case, several random rigs in it, each readable on its own.

Layout of a store folder: `samples.json` (settings, cases), `<name>.npz` per case with members `<rig>/<field>`, and beside it, once a
CT teacher has seen the case, `<name>.teacher.npz`. Everything is written beside its place and renamed.
"""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.json_files import read_json, to_json_text, write_json

SCHEMA = "ssrkd-samples/1"
STORE_FILE = "samples.json"
SKIPPED_FILE = "skipped.json"
UNKNOWN_LABEL = 255
"""The label of a point of which nothing is known: every point of an unlabelled case."""

_REQUIRED = ("images", "projections", "cube", "points", "labels", "near", "scanned")
_TEACHER = ("logits", "features", "index")
_STORE_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True)
class CaseSample:
    """What one random rig sees of one case, and labelled points of it.

    Attributes
    ----------
    case_id, rig_index: where it comes from.
    images: (V, S, S) float16, line integrals -log(I/I0) of the network views, in the order ap, lateral; rows downwards.
    bone_masks: (V, S, S) uint8, 1 where a ray through the pixel's centre meets a bone, UNKNOWN_LABEL where it may meet what the reference
        does not show; None for an unlabelled case.
    projections: (V, 3, 4) float64, (x, y, z, 1) in LPS mm -> (row * w, column * w, w) in pixels of the network views.
    cube: (4,) float64, centre (x, y, z) and side of the field of view, mm.
    points: (N, 3) float32, LPS mm, all inside the cube.
    labels: (N,) uint8: label values as in `anatomy`, UNKNOWN_LABEL (255) where nothing is known.
    near: the first `near` points lie near surfaces (half of them very near), the rest anywhere in the cube; in random order in both.
    scanned: (2,) float64, lowest and highest z in mm of the CT that the rig sees; where it is cut short the CT itself goes on, but the
        radiographs show air beyond, and labels say outside.
    teacher_logits: (N, 5) float16 class scores of the CT teacher at `points`, or None.
    teacher_features: (T, 64) float16 features of the CT teacher at `points[teacher_index]`, or None.
    teacher_index: (T,) int64, or None.
    """

    case_id: str
    rig_index: int
    images: NDArray[np.float16]
    bone_masks: NDArray[np.uint8] | None
    projections: NDArray[np.float64]
    cube: NDArray[np.float64]
    points: NDArray[np.float32]
    labels: NDArray[np.uint8]
    near: int
    scanned: NDArray[np.float64] = field(default_factory=lambda: np.array([-np.inf, np.inf]))
    teacher_logits: NDArray[np.float16] | None = None
    teacher_features: NDArray[np.float16] | None = None
    teacher_index: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class StoredCase:
    """A case of a store.

    Attributes
    ----------
    id: the case's id.
    file: name of its .npz in the store.
    labelled: whether its points have labels.
    folder: where the case lay when its samples were made.
    subject: the person whose knee it is; None where the case did not say, or the store is of an older version.
    """

    id: str
    file: str
    labelled: bool
    folder: Path
    subject: str | None = None

    @property
    def person(self) -> str:
        """Whose knee it is; a case that does not say is a person of its own."""
        return self.subject or f"case {self.id}"


class SampleStore:
    """The samples of a folder, read one rig at a time; safe to use from several processes, since no file stays open.

    Attributes
    ----------
    folder: where it lies.
    settings: what the samples were made with (JSON values).
    cases: the cases, in the order in which they were given.
    case_ids: their ids.
    labelled: whether each has labels.
    rigs_per_case: number of rigs of every case.
    fingerprint: changes when the settings, the cases or their files change.

    Raises InputError when the folder is no finished store.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        path = self.folder / STORE_FILE
        if not path.is_file():
            raise InputError(f"{self.folder} holds no {STORE_FILE}: make the samples of the cases first.")
        value = read_json(path, "a sample store", _STORE_BYTES)
        if value.get("schema") != SCHEMA:
            raise InputError(f"{path} has schema {value.get('schema')!r}, not {SCHEMA!r}: make the samples again.")
        try:
            self.settings: dict[str, Any] = dict(value["settings"])
            self.rigs_per_case = int(value["rigs_per_case"])
            self.cases = [_stored_case(entry) for entry in value["cases"]]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} is damaged ({error}): make the samples again.") from error
        self.case_ids = [case.id for case in self.cases]
        self.labelled = [case.labelled for case in self.cases]
        content = [
            self.settings,
            self.rigs_per_case,
            [[c["id"], c["labelled"], c.get("source")] for c in value["cases"]],
        ]
        self.fingerprint = hashlib.sha256(to_json_text(content, ascii_only=True).encode()).hexdigest()[:16]

    def __len__(self) -> int:
        """Number of cases."""
        return len(self.cases)

    def read(self, case_index: int, rig_index: int, teacher: bool = True) -> CaseSample:
        """One rig of one case; only its members of the file are read.

        Parameters
        ----------
        case_index: from 0, in the order of `cases`. rig_index: from 0 to `rigs_per_case` - 1.
        teacher: also read the CT teacher's outputs, where there are any.

        Raises InputError, naming the file, when it is missing or damaged; IndexError for an index out of range.
        """
        case = self.cases[case_index]
        if not 0 <= rig_index < self.rigs_per_case:
            raise IndexError(f"rig {rig_index} of {self.rigs_per_case}")
        fields = _read_members(self.folder / case.file, rig_index, _REQUIRED, ("bone_masks",))
        taught: Mapping[str, Any] = {}
        if teacher and self.teacher_path(case_index).is_file():
            taught = _read_members(self.teacher_path(case_index), rig_index, _TEACHER)
        return CaseSample(
            case.id,
            rig_index,
            fields["images"],
            fields.get("bone_masks"),
            fields["projections"],
            fields["cube"],
            fields["points"],
            fields["labels"],
            int(fields["near"]),
            fields["scanned"],
            taught.get("logits"),
            taught.get("features"),
            taught.get("index"),
        )

    def teacher_path(self, case_index: int) -> Path:
        """The file of the CT teacher's outputs for a case, which may not exist yet."""
        return self.folder / f"{Path(self.cases[case_index].file).stem}.teacher.npz"

    def teacher_name(self, case_index: int) -> str | None:
        """What `write_teacher` was told of the teacher of a case; None when its outputs are missing or unreadable."""
        path = self.teacher_path(case_index)
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as archive:
                return str(archive["teacher"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def write_teacher(
        self, case_index: int, outputs: Mapping[int, Mapping[str, NDArray[Any]]], teacher: str = ""
    ) -> None:
        """Store the CT teacher's outputs at the points of a case.

        Parameters
        ----------
        case_index: the case.
        outputs: for every rig index `logits` (N, 5), `features` (T, F) and `index` (T,), the points that the features belong to.
        teacher: name or hash of the teacher, so that a resumed run knows whose outputs these are.

        Raises ValueError for a missing rig or shapes that do not fit the points.
        """
        if set(outputs) != set(range(self.rigs_per_case)):
            raise ValueError(f"outputs of rigs {sorted(outputs)} were given, and there are {self.rigs_per_case} rigs")
        arrays: dict[str, NDArray[Any]] = {"teacher": np.array(teacher)}
        for rig_index, output in outputs.items():
            count = len(_read_members(self.folder / self.cases[case_index].file, rig_index, ("labels",))["labels"])
            logits, features, index = (np.asarray(output[name]) for name in _TEACHER)
            if logits.ndim != 2 or len(logits) != count:
                raise ValueError(f"logits {logits.shape} do not fit {count} points")
            if features.ndim != 2 or index.shape != (len(features),):
                raise ValueError(f"features {features.shape} do not fit their index {index.shape}")
            if index.size and not 0 <= index.min() <= index.max() < count:
                raise ValueError("the index of the features names a point that does not exist")
            arrays[f"{rig_index}/logits"] = logits.astype(np.float16)
            arrays[f"{rig_index}/features"] = features.astype(np.float16)
            arrays[f"{rig_index}/index"] = index.astype(np.int64)
        write_arrays(self.teacher_path(case_index), arrays)


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write named arrays as an uncompressed .npz, complete or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def sample_file_name(case_id: str) -> str:
    """The .npz of a case: its id where that can be a file name, and a hash of it, so that no two ids meet."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "_", case_id)[:60]
    return f"{readable}-{hashlib.sha256(case_id.encode()).hexdigest()[:8]}.npz"


def write_case_samples(path: Path, samples: Sequence[CaseSample], record: Mapping[str, Any]) -> None:
    """Write all rigs of one case, complete or not at all; outputs of a teacher for older samples of the case are removed.

    Parameters
    ----------
    path: the .npz.
    samples: one a rig, in the order of `rig_index`.
    record: JSON values that say what the samples were made from; read back by `stored_record`.
    """
    path.with_name(f"{path.stem}.teacher.npz").unlink(missing_ok=True)
    arrays: dict[str, NDArray[Any]] = {"record": np.array(to_json_text(dict(record), ascii_only=True))}
    for index, sample in enumerate(samples):
        arrays |= {f"{index}/{name}": np.asarray(getattr(sample, name)) for name in _REQUIRED}
        if sample.bone_masks is not None:
            arrays[f"{index}/bone_masks"] = sample.bone_masks
    write_arrays(path, arrays)


def stored_record(path: Path) -> dict[str, Any] | None:
    """The record of a case's samples; None when the file is missing or damaged (its samples are then made again)."""
    import json

    try:
        with np.load(path, allow_pickle=False) as archive:
            value = json.loads(str(archive["record"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return value if isinstance(value, dict) else None


def write_store(
    folder: Path, settings: Mapping[str, Any], rigs_per_case: int, cases: Sequence[Mapping[str, Any]]
) -> None:
    """Write `samples.json`; `cases` hold id, file, labelled, folder, source (what the samples were made from), and subject where known."""
    value = {"schema": SCHEMA, "settings": dict(settings), "rigs_per_case": rigs_per_case, "cases": list(cases)}
    write_json(folder / STORE_FILE, value)


def _stored_case(entry: Mapping[str, Any]) -> StoredCase:
    subject = entry.get("subject")
    return StoredCase(
        str(entry["id"]),
        Path(str(entry["file"])).name,
        bool(entry["labelled"]),
        Path(str(entry["folder"])),
        str(subject) if subject else None,
    )


def _read_members(
    path: Path, rig_index: int, required: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, NDArray[Any]]:
    """The arrays of one rig by field name. Raises InputError, naming the file, when one is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            present = set(archive.files)
            wanted = [*required, *(name for name in optional if f"{rig_index}/{name}" in present)]
            return {name: archive[f"{rig_index}/{name}"] for name in wanted}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} is missing or damaged: delete it if it exists, and make the samples again."
        ) from error

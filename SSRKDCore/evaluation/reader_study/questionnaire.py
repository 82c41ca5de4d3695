"""Make a reader study: one page a reader, and the key."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SSRKDCore.cases import Case, load_case
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.evaluation.answer import CaseAnswer
from SSRKDCore.evaluation.bone_sets import read_bones
from SSRKDCore.evaluation.case_evaluation import reference_surfaces
from SSRKDCore.evaluation.reader_study.blinding import coded_models
from SSRKDCore.evaluation.reader_study.key import KEY_FILE, StudyKey
from SSRKDCore.evaluation.reader_study.page import PAGE_FILE, PageItem, page_html
from SSRKDCore.evaluation.reader_study.png import grey_png, of_one_length
from SSRKDCore.evaluation.reader_study.radiograph_pictures import radiograph_pictures
from SSRKDCore.evaluation.reader_study.shown_bones import VERSIONS, shown_bones
from SSRKDCore.evaluation.reader_study.viewpoints import VIEWPOINTS, viewpoint_pictures
from SSRKDCore.output_folder import complete_folder

Progress = Callable[[float, str], None]
Answer = Callable[[Case, Progress], CaseAnswer]

READERS_FOLDER = "for_readers"


@dataclass(frozen=True)
class CasePictures:
    """What readers see of a case.

    Attributes
    ----------
    case: its id; side: "right" or "left"; bones: those to grade.
    radiographs: PNG files, AP and lateral.
    views: version -> PNG files in the order of VIEWPOINTS.
    words: for the key: what is missing or left out, and which pictures these are.
    """

    case: str
    side: str
    bones: Sequence[str]
    radiographs: Sequence[bytes]
    views: Mapping[str, Sequence[bytes]]
    words: Mapping[str, Any]


def answers_in_folder(folder: str | Path) -> Answer:
    """Reconstructions that lie ready: for each case a folder (or .seg.nrrd file) named like the case's folder or id."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: name a folder that holds a folder of bone surfaces for each case.")

    def answer(case: Case, progress: Progress) -> CaseAnswer:
        names = dict.fromkeys((case.folder.resolve().name, case.id))
        candidates = [folder / f"{name}{suffix}" for name in names for suffix in ("", ".seg.nrrd")]
        found = next((path for path in candidates if path.exists()), None)
        if found is None:
            raise InputError(
                f"{folder} holds no reconstruction of case {case.id}: add the folder {candidates[0].name}, or leave the case out."
            )
        bones = read_bones(found)
        return CaseAnswer(bones.surfaces, bones.field_of_view or case.rig.field_of_view, bones.voxel_size or 0.0)

    return answer


def case_pictures(
    folders: Sequence[Path],
    answer: Answer,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> list[CasePictures]:
    """Draw every case. All views of a study are files of one length. Raises InputError, Cancelled, RenderingUnavailable."""
    drawn: list[CasePictures] = []
    for index, folder in enumerate(folders):
        if cancelled is not None and cancelled():
            raise Cancelled("the reader study was stopped")

        def share(fraction: float, words: str, index: int = index, folder: Path = folder) -> None:
            if progress is not None:
                progress((index + fraction) / len(folders), f"{folder.name} ({index + 1} of {len(folders)}): {words}")

        case = load_case(folder)
        if any(case.id == other.case for other in drawn):
            raise InputError(f"Two cases have the id {case.id}: give each case another id.")
        share(0.0, "reading")
        drawn.append(_draw(case, answer(case, lambda fraction, words: share(0.8 * fraction, words)), share))
    lengths = [picture for item in drawn for version in VERSIONS for picture in item.views[version]]
    even = iter(of_one_length(lengths))
    return [
        CasePictures(
            item.case,
            item.side,
            item.bones,
            item.radiographs,
            {version: [next(even) for _ in VIEWPOINTS] for version in VERSIONS},
            item.words,
        )
        for item in drawn
    ]


def _draw(case: Case, answer: CaseAnswer, progress: Progress) -> CasePictures:
    shown = shown_bones(
        case.id,
        reference_surfaces(case),
        answer.surfaces,
        answer.field_of_view.bounds,
        case.reference_extent,
        answer.spacing_mm,
    )
    progress(0.85, "drawing")
    views = {
        version: [
            grey_png(picture)
            for picture in viewpoint_pictures(shown.versions[version].values(), case.side, shown.vertices)
        ]
        for version in VERSIONS
    }
    radiographs = [grey_png(picture) for picture in radiograph_pictures(case)]
    words = {
        "folder": str(case.folder),
        "bones": list(shown.bones),
        "missing_in_reconstruction": list(shown.missing),
        "left_out_of_both": list(shown.left_out),
        "warnings": list(answer.warnings),
        "pictures_sha256": {
            version: hashlib.sha256(b"".join(pictures)).hexdigest() for version, pictures in views.items()
        },
    }
    return CasePictures(case.id, case.side, shown.bones, radiographs, views, words)


def write_study(
    out: str | Path,
    cases: Sequence[CasePictures],
    readers: Sequence[str],
    seed: int,
    wording: Mapping[str, Any],
    provenance: Mapping[str, Any],
    overwrite: bool = False,
) -> StudyKey:
    """Write OUT/for_readers/READER/questionnaire.html for each reader, and OUT/key.json.

    Parameters
    ----------
    out: new folder.
    cases: see case_pictures.
    readers: their names.
    seed: codes and orders follow from it, the cases' ids and a reader's number; who knows it can unblind.
    wording: see wording.load_wording.
    provenance: how the reconstructions came about, for the key.
    overwrite: replace an existing folder.
    """
    by_name = {item.case: item for item in cases}
    pages = {reader: coded_models(list(by_name), seed, index) for index, reader in enumerate(readers)}
    key = StudyKey(seed, pages, {name: item.words for name, item in by_name.items()}, provenance)
    with complete_folder(out, overwrite) as folder:
        for reader, models in pages.items():
            items = [
                PageItem(model.code, case.side, case.bones, case.radiographs, case.views[model.version])
                for model in models
                for case in [by_name[model.case]]
            ]
            place = folder / READERS_FOLDER / reader
            place.mkdir(parents=True)
            (place / PAGE_FILE).write_text(page_html(key.study, reader, items, wording), encoding="utf-8")
        key.save(folder / KEY_FILE)
    return key

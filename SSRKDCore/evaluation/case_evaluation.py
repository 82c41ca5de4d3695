"""A model on a set of cases: reconstruct each from its radiographs and compare it with its reference."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SSRKDCore.cases import Case, load_case
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.evaluation.answer import CaseAnswer
from SSRKDCore.evaluation.comparison import MEASURE_EXPLANATIONS, BoneComparison, compare, means_by_bone
from SSRKDCore.evaluation.field_of_view import DEFAULT_MARGIN_MM, flat_shaft_end
from SSRKDCore.evaluation.label_surfaces import surfaces_of_segmentation
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import read_surface

if TYPE_CHECKING:
    from SSRKDCore.networks.model_folder import Model
    from SSRKDCore.radiographs.style_matching import StyleReference

Progress = Callable[[float, str], None]
Reconstruct = Callable[[Case, Progress], CaseAnswer]

SCHEMA = "ssrkd-evaluation/1"


@dataclass(frozen=True)
class CaseResult:
    """What came out of one case.

    Attributes
    ----------
    id: the case's name, or its folder's where the case could not be read.
    side: "right" or "left" as the case says; None where it could not be read.
    seconds: how long reconstruction and comparison took.
    bones: a record for each bone of the reference; after a failure each carries its reason.
    failure: why the case as a whole gave nothing, or None.
    warnings: what to know before trusting the figures.
    subject: the person whose knee it is, as the case's provenance says; None where it does not.
    """

    id: str
    side: str | None
    seconds: float
    bones: dict[str, BoneComparison] = field(default_factory=dict)
    failure: str | None = None
    warnings: tuple[str, ...] = ()
    subject: str | None = None

    @property
    def subject_name(self) -> str:
        """The person whose knee it is; a case that does not say is a person of its own."""
        return self.subject if self.subject is not None else f"case {self.id}"


def case_subject(case: Case) -> str | None:
    """Who the case's knee belongs to, from `subject` in its provenance; None where it does not say."""
    subject = case.provenance.get("subject")
    return subject if isinstance(subject, str) and subject else None


def case_reconstruction(
    model: Model,
    resolution: int,
    device: str,
    cancelled: Callable[[], bool] | None = None,
    style: Model | None = None,
    prepare: bool = False,
    look: StyleReference | None = None,
    refine: bool = True,
) -> Reconstruct:
    """The job of reconstructing a case with a model, as evaluate_cases wants it. style: as `reconstruct` takes it. prepare: as
    `read_radiograph` takes it. look, refine: as `reconstruct` takes them.
    """
    from SSRKDCore.geometry.dicom_rig import rig_for_radiographs
    from SSRKDCore.radiographs.radiograph import VIEW_NAMES
    from SSRKDCore.radiographs.reader import read_radiograph
    from SSRKDCore.reconstruction.pipeline import reconstruct

    def run(case: Case, progress: Progress) -> CaseAnswer:
        radiographs = []
        for view in case.rig.views:
            known = view.name if view.name in VIEW_NAMES else None
            radiographs.append(
                replace(
                    read_radiograph(case.radiographs[view.name], known, case.intensity, prepare=prepare), view=view.name
                )
            )
        rig, words = rig_for_radiographs(radiographs, case.rig, None, case.side)
        result = reconstruct(
            radiographs,
            rig,
            model,
            resolution,
            device,
            side=case.side,
            progress=progress,
            cancelled=cancelled,
            style=style,
            refine=refine,
            look=look,
        )
        warnings = (*words, *result.warnings)
        return CaseAnswer(result.surfaces, result.field_of_view, max(result.grid.spacing), warnings)

    return run


def evaluate_case(
    folder: Path, reconstruct_case: Reconstruct, trim_cut_references: bool = False, progress: Progress | None = None
) -> CaseResult:
    """Reconstruct and compare one case. A failure is a result, not an exception; only Cancelled and interrupts pass.

    Parameters
    ----------
    folder: the case.
    reconstruct_case: see case_reconstruction.
    trim_cut_references: leave out what lies beyond a reference's flat shaft end, where the case does not state
        `reference_extent`.
    progress: called with a fraction 0..1 and words.
    """
    start = time.perf_counter()
    case: Case | None = None
    reference: dict[str, Surface] = {}
    warnings: list[str] = []
    try:
        case = load_case(folder)
        reference = reference_surfaces(case)
        extent = _extents(case, reference, trim_cut_references, warnings)
        result = reconstruct_case(case, progress or (lambda fraction, words: None))
        warnings += result.warnings
        found = {name: surface for name, surface in result.surfaces.items() if not surface.is_empty}
        margin = max(DEFAULT_MARGIN_MM, result.spacing_mm)
        bones = compare(found, reference, result.field_of_view, extent, margin)
        return CaseResult(
            case.id, case.side, time.perf_counter() - start, bones, None, tuple(warnings), case_subject(case)
        )
    except Cancelled:
        raise
    except Exception as error:  # One broken case, whatever breaks it, must not cost the others.
        reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        bones = {name: BoneComparison(failure=f"the case failed: {reason}") for name in reference}
        name, side, subject = (folder.name, None, None) if case is None else (case.id, case.side, case_subject(case))
        return CaseResult(name, side, time.perf_counter() - start, bones, reason, tuple(warnings), subject)


def reference_surfaces(case: Case) -> dict[str, Surface]:
    """The true bones of a case (LPS mm) by name. Raises InputError when it has none, or a file cannot be used."""
    truth = case.reference
    if isinstance(truth, Path):
        reference = surfaces_of_segmentation(truth)
    else:
        reference = {name: read_surface(path) for name, path in (truth or {}).items()}
    if not reference:
        raise InputError(
            f"{case.folder} has no reference: add the true bones to the case, or leave it out of the evaluation."
        )
    return reference


def _extents(
    case: Case, reference: dict[str, Surface], trim: bool, warnings: list[str]
) -> dict[str, tuple[float | None, float | None]]:
    """(lowest, highest) z in mm that each reference shows: as the case states it, else up to a flat end in the view."""
    extents: dict[str, tuple[float | None, float | None]] = dict(case.reference_extent)
    low, high = case.rig.field_of_view.bounds[:, 2]
    for name, surface in reference.items():
        end = None if name in extents else flat_shaft_end(surface, name)
        if end is None or not low + DEFAULT_MARGIN_MM < end < high - DEFAULT_MARGIN_MM:
            continue
        where = f"The reference {name} ends flat at z = {end:.1f} mm, inside the field of view"
        if trim:
            extents[name] = (None, end) if name == "femur" else (end, None)
            warnings.append(f"{where}: what lies beyond is not scored.")
        else:
            warnings.append(
                f"{where}, and that end counts as error: "
                "state reference_extent in case.json, or use --trim-cut-references."
            )
    return extents


def evaluate_cases(
    folders: Sequence[Path],
    reconstruct_case: Reconstruct,
    trim_cut_references: bool = False,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> list[CaseResult]:
    """Evaluate every case, in order; see evaluate_case. Two cases with one id keep their folders' names. Raises
    Cancelled.
    """
    results: list[CaseResult] = []
    for index, folder in enumerate(folders):
        if cancelled is not None and cancelled():
            raise Cancelled("evaluation stopped")

        def share(fraction: float, words: str, index: int = index, folder: Path = folder) -> None:
            if progress is not None:
                progress((index + fraction) / len(folders), f"{folder.name} ({index + 1} of {len(folders)}): {words}")

        share(0.0, "reading")
        result = evaluate_case(folder, reconstruct_case, trim_cut_references, share)
        if any(result.id == earlier.id for earlier in results):
            result = replace(result, id=f"{result.id} ({folder.name})")
        results.append(result)
    return results


def evaluation_report(results: Sequence[CaseResult], model: dict[str, Any], resolution: int) -> dict[str, Any]:
    """The content of report.json: every case and bone with its figures or the failure's reason, and the means."""
    records = {result.id: result.bones for result in results}
    return {
        "schema": SCHEMA,
        "unit": "mm",
        "model": model,
        "resolution": resolution,
        "cases": {
            result.id: {
                "side": result.side,
                "seconds": round(result.seconds, 3),
                "bones": {name: record.to_dict() for name, record in result.bones.items()},
                "failure": result.failure,
                "warnings": list(result.warnings),
            }
            for result in results
        },
        "means": means_by_bone(records),
        "cases_scored": sum(result.failure is None for result in results),
        "cases_failed": sum(result.failure is not None for result in results),
        "measures": MEASURE_EXPLANATIONS,
        "scored_inside": "the field of view of each case's rig; faces that only close a surface there do not count",
    }

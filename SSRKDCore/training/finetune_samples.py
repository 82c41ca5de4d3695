"""Samples of a case's own radiographs: nothing is simulated, and the geometry is the case's own rig.

Further fields of view about the case's own give variety without touching the calibration: each is another part of the
same radiographs through the same cameras. The samples lie in a `SampleStore` as simulated ones do; beside each case's
file, `<name>.coverage.npz` says which pixels the detector saw.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.cases import Case, case_content, load_case
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.evaluation.field_of_view import flat_shaft_end
from SSRKDCore.geometry.dicom_rig import rig_for_radiographs
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.radiographs.radiograph import VIEW_NAMES, Radiograph
from SSRKDCore.radiographs.reader import read_radiograph
from SSRKDCore.reconstruction.network_input import resampled_radiograph, target_view, view_order
from SSRKDCore.surface import Surface
from SSRKDCore.training.case_checks import refuse_evaluation_only
from SSRKDCore.training.case_volume import bone_shadow, load_case_volume, reference_bones
from SSRKDCore.training.point_sampling import BoneLabels, PointCounts, labelled_points, unlabelled_points
from SSRKDCore.training.sample_store import (
    SCHEMA,
    STORE_FILE,
    CaseSample,
    SampleStore,
    sample_file_name,
    stored_record,
    write_arrays,
    write_case_samples,
    write_store,
)
from SSRKDCore.training.whole_persons import subject_entry

SOURCE = "radiographs"
_LARGEST_INTEGRAL = 1e4
_MARGIN_MM = 10.0
_TRIES = 20


@dataclass(frozen=True)
class RadiographSamples:
    """What is made of a case's radiographs.

    Attributes
    ----------
    seed: of the fields of view and points.
    fields_of_view: how many a case; the first is the case's own.
    image_size: pixels a side of a network view.
    shift_mm, size_change: limits of how far the others lie from the case's own, along each axis, and how much smaller
        or larger they are.
    voxel_mm: of the CT of an unlabelled case, see `load_case_volume`.
    points: how many of each kind.
    """

    seed: int = 0
    fields_of_view: int = 4
    image_size: int = 256
    shift_mm: float = 8.0
    size_change: float = 0.06
    voxel_mm: float = 0.9
    points: PointCounts = field(default_factory=PointCounts)

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return {"source": SOURCE, **asdict(self)}


@dataclass(frozen=True)
class _Job:
    case: Case
    labelled: bool
    file: Path


def radiographs_of(case: Case) -> tuple[list[Radiograph], Rig]:
    """The radiographs of a case in the order of its rig, and the rig as reconstruction would use it."""
    radiographs = []
    for view in case.rig.views:
        known = view.name if view.name in VIEW_NAMES else None
        image = read_radiograph(case.radiographs[view.name], known, case.intensity)
        radiographs.append(replace(image, view=view.name))
    rig, _ = rig_for_radiographs(radiographs, case.rig, None, case.side)
    return radiographs, rig


def network_images(
    radiographs: Sequence[Radiograph], rig: Rig, size: int
) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.float64]]:
    """Line integrals (V, S, S) of the network views, where the detector saw (V, S, S), and projections (V, 3, 4).

    In the order in which networks read views. Raises InputError when an image does not fit its view or is not finite.
    """
    images, seen, matrices = [], [], []
    for index in view_order(rig):
        view, radiograph = rig.views[index], radiographs[index]
        target = target_view(view, rig, size)
        what = f"{Path(radiograph.source_path).name} of view '{view.name}'"
        image, coverage = resampled_radiograph(radiograph, view, target, what)
        images.append(np.clip(image, -_LARGEST_INTEGRAL, _LARGEST_INTEGRAL))
        seen.append(coverage >= 0.5)
        matrices.append(target.projection_matrix)
    return np.stack(images), np.stack(seen).astype(np.uint8), np.stack(matrices)


def radiograph_samples(
    case: Case, settings: RadiographSamples, labelled: bool = True
) -> tuple[list[CaseSample], list[NDArray[np.uint8]]]:
    """The samples of a case, one a field of view, and their coverage (V, S, S); the same case and settings give the same.

    Labelled: the truth is the case's reference; what lies beyond where it is known (`reference_extent`, or the flat end
    of a shaft) is UNKNOWN_LABEL. Otherwise points lie inside the case's CT, whose teacher labels them later.

    Raises InputError, naming the case, when its radiographs, reference or CT cannot be used.
    """
    radiographs, rig = radiographs_of(case)
    identity = int.from_bytes(hashlib.sha256(case.id.encode()).digest()[:8], "little")
    bones = reference_bones(case) if labelled else None
    cubes = [
        _field_of_view(rig.field_of_view, settings, np.random.default_rng([settings.seed, identity, index, 0]), index)
        for index in range(settings.fields_of_view)
    ]
    reach = np.stack([cube.bounds for cube in cubes])
    box = np.stack([reach[:, 0].min(axis=0) - _MARGIN_MM, reach[:, 1].max(axis=0) + _MARGIN_MM])
    volume = None if labelled else load_case_volume(case.folder, False, settings.voxel_mm)
    if volume is not None:
        box = volume.scanned_box()
    inside = None if bones is None else BoneLabels(bones, box)
    samples, coverages = [], []
    for index, cube in enumerate(cubes):
        moved = Rig(rig.views, cube, rig.provenance)
        images, seen, matrices = network_images(radiographs, moved, settings.image_size)
        generator = np.random.default_rng([settings.seed, identity, index, 1])
        masks = None
        if bones is not None and inside is not None:
            points, labels, near = labelled_points(
                bones, inside, cube, box, known_heights(case, bones), settings.points, generator
            )
            order = view_order(moved)
            masks = np.stack(
                [bone_shadow(bones, box, target_view(rig.views[i], moved, images.shape[1])) for i in order]
            )
        else:
            assert volume is not None
            points, labels, near = unlabelled_points(
                volume.hounsfield, volume.grid, cube, box, settings.points, generator
            )
            points = _kept_inside(points, near, box, generator, case)
        samples.append(
            CaseSample(
                case_id=case.id,
                rig_index=index,
                images=images.astype(np.float16),
                bone_masks=masks,
                projections=matrices,
                cube=np.array([*cube.center, cube.size]),
                points=points,
                labels=labels,
                near=near,
                scanned=box[:, 2],
            )
        )
        coverages.append(seen)
    return samples, coverages


def known_heights(case: Case, bones: Mapping[str, Surface]) -> tuple[float, float]:
    """(lowest, highest) z in mm between which the truth is known of every bone: as the case states it, else up to the
    flat end of a cut shaft.
    """
    extents = list(case.reference_extent.values())
    lowest = [low for low, _ in extents]
    highest = [high for _, high in extents]
    for name, surface in bones.items():
        end = None if name in case.reference_extent else flat_shaft_end(surface, name)
        if end is not None:
            (highest if name == "femur" else lowest).append(end)
    return max(lowest, default=-np.inf), min(highest, default=np.inf)


def _field_of_view(
    own: FieldOfView, settings: RadiographSamples, generator: np.random.Generator, index: int
) -> FieldOfView:
    if index == 0:
        return own
    shift = generator.uniform(-settings.shift_mm, settings.shift_mm, 3)
    size = own.size * (1 + generator.uniform(-settings.size_change, settings.size_change))
    return FieldOfView(own.translated((shift[0], shift[1], shift[2])).center, size)


def _kept_inside(
    points: NDArray[np.float32], near: int, box: NDArray[np.float64], generator: np.random.Generator, case: Case
) -> NDArray[np.float32]:
    """The points with those outside the CT, of which nothing is known, replaced by others of their kind inside it."""
    within = ((points >= box[0]) & (points <= box[1])).all(axis=1)
    kept = points.copy()
    for part in (slice(0, near), slice(near, len(points))):
        good = np.flatnonzero(within[part])
        bad = np.flatnonzero(~within[part])
        if not len(bad):
            continue
        if not len(good):
            raise InputError(f"{case.folder}: the CT lies outside the field of view of the rig: correct the case.")
        kept[part][bad] = points[part][good[generator.integers(len(good), size=len(bad))]]
    return kept


def coverage_path(store: SampleStore, case_index: int) -> Path:
    """The file that says which pixels the detector saw."""
    return store.folder / f"{Path(store.cases[case_index].file).stem}.coverage.npz"


def read_coverage(store: SampleStore, case_index: int, rig_index: int) -> NDArray[np.uint8]:
    """(V, S, S) uint8, 1 where the detector saw, of one field of view. Raises InputError when the file is missing."""
    path = coverage_path(store, case_index)
    try:
        with np.load(path, allow_pickle=False) as archive:
            return np.asarray(archive[str(rig_index)], dtype=np.uint8)
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise InputError(f"{path} is missing or damaged: delete {store.folder}, and make the samples again.") from error


def prepare_radiograph_samples(
    cases: Sequence[Path],
    out: Path,
    settings: RadiographSamples,
    *,
    unlabelled: Sequence[Path] = (),
    progress: Callable[[float, str], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> SampleStore:
    """Make the samples of cases from their own radiographs, or go on where an earlier call was stopped.

    cases: folders of labelled cases. unlabelled: further ones, whose CT a teacher labels; their reference is not used.
    out: folder of the store.

    Raises InputError when a case cannot be used (every one of a site's own few counts), two have one id, or `out` holds
    samples of other settings; Cancelled.
    """
    jobs = [_job(folder, True, out) for folder in cases] + [_job(folder, False, out) for folder in unlabelled]
    _check(jobs, out, settings)
    out.mkdir(parents=True, exist_ok=True)
    for done, job in enumerate(jobs):
        if cancelled is not None and cancelled():
            raise Cancelled("Making samples was cancelled; what is done is kept.")
        source = _source(job, settings)
        if stored_record(job.file) != source:
            samples, coverages = radiograph_samples(job.case, settings, job.labelled)
            write_arrays(
                job.file.with_name(f"{job.file.stem}.coverage.npz"),
                {str(index): coverage for index, coverage in enumerate(coverages)},
            )
            write_case_samples(job.file, samples, source)
        if progress is not None:
            progress((done + 1) / len(jobs), f"{done + 1} of {len(jobs)} cases")
    listed = [
        {
            "id": job.case.id,
            "file": job.file.name,
            "labelled": job.labelled,
            "folder": job.case.folder.resolve(),
            "source": _source(job, settings)["content"],
            **subject_entry(job.case),
        }
        for job in jobs
    ]
    write_store(out, settings.to_dict(), settings.fields_of_view, listed)
    return SampleStore(out)


def _job(folder: Path, labelled: bool, out: Path) -> _Job:
    case = load_case(folder)
    refuse_evaluation_only(case)
    if labelled and case.reference is None:
        raise InputError(f"{folder} has no reference: give it one, or name it among the unlabelled cases.")
    if not labelled and case.ct is None:
        raise InputError(f"{folder} has no CT that a teacher could label: add it, or leave the case out.")
    return _Job(case, labelled, out / sample_file_name(case.id))


def _check(jobs: Sequence[_Job], out: Path, settings: RadiographSamples) -> None:
    ids = [job.case.id for job in jobs]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise InputError(f"Two cases have the id {twice[0]!r}: give each case an id of its own.")
    if (out / STORE_FILE).is_file():
        old, new = SampleStore(out).settings, settings.to_dict()
        different = [name for name in new if old.get(name) != new[name]]
        if different:
            raise InputError(f"{out} holds samples with another {', '.join(different)}: choose another folder.")


def _source(job: _Job, settings: RadiographSamples) -> dict[str, Any]:
    """What the samples of a case are made from, with the contents of its files."""
    return {
        "schema": SCHEMA,
        "id": job.case.id,
        "labelled": job.labelled,
        "content": case_content(job.case, job.labelled),
        "settings": settings.to_dict(),
    }

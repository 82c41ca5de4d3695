"""Training samples with one to four views: those of a store, with oblique views added or the lateral one left out.

Points, labels and cubes stay those of the store, so that students of different numbers of views learn from the same points, and what a
teacher said of them holds for all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.evaluation.experiments.case_subsets import link_teacher
from SSRKDCore.geometry.network_view import network_view
from SSRKDCore.geometry.view import View
from SSRKDCore.json_files import read_json, write_json
from SSRKDCore.population.rigid_transforms import rotation_about
from SSRKDCore.training.case_volume import CaseVolume, load_case_volume
from SSRKDCore.training.random_rigs import RandomRig, random_rig
from SSRKDCore.training.sample_settings import SampleSettings
from SSRKDCore.training.sample_store import STORE_FILE, CaseSample, SampleStore, stored_record, write_case_samples

VIEW_COUNTS = (1, 2, 3, 4)
#: Turns of the AP view about the leg that make the third and the fourth view.
OBLIQUE_DEGREES = (45.0, -45.0)
_Z = np.array([0.0, 0.0, 1.0])
_STORE_BYTES = 256 * 1024 * 1024


def oblique_views(first: View, centre: tuple[float, float, float], count: int) -> list[View]:
    """`count` (0 to 2) views like the first, turned by 45 and -45 degrees about the body's long axis through `centre` (mm)."""
    return [
        replace(first.transformed(rotation_about(_Z, degrees, np.array(centre))), name=f"oblique {index + 1}")
        for index, degrees in enumerate(OBLIQUE_DEGREES[:count])
    ]


def store_of_views(
    store: SampleStore,
    count: int,
    folder: Path,
    progress: Callable[[float, str], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> SampleStore:
    """A store of samples with `count` views, in a new folder or found there; a call that was stopped goes on.

    Parameters
    ----------
    store: samples with the two standard views. count: 1 to 4; three and four need the cases' CTs. folder: of the new store.

    Raises InputError when the folder holds something else, or a case cannot be read; Cancelled.
    """
    if count not in VIEW_COUNTS:
        raise InputError(f"{count} views were asked for: use {', '.join(map(str, VIEW_COUNTS))}.")
    value = read_json(store.folder / STORE_FILE, "a sample store", _STORE_BYTES)
    value["settings"] = {**value["settings"], "views": count}
    if (folder / STORE_FILE).is_file() and read_json(folder / STORE_FILE, "a sample store", _STORE_BYTES) != value:
        raise InputError(f"{folder} holds other samples than the experiment wants: choose another output folder.")
    folder.mkdir(parents=True, exist_ok=True)
    for index, case in enumerate(store.cases):
        if cancelled is not None and cancelled():
            raise Cancelled("Making views was cancelled; what is done is kept.")
        record = {**(stored_record(store.folder / case.file) or {}), "views": count}
        if stored_record(folder / case.file) != record:
            write_case_samples(folder / case.file, _samples(store, index, count), record)
            link_teacher(store, index, folder)
        if progress is not None:
            progress((index + 1) / len(store), f"views, {index + 1} of {len(store)} cases")
    write_json(folder / STORE_FILE, value)
    return SampleStore(folder)


def _samples(store: SampleStore, case: int, count: int) -> Sequence[CaseSample]:
    samples = [store.read(case, rig, teacher=False) for rig in range(store.rigs_per_case)]
    if count <= 2:
        return [_first_views(sample, count) for sample in samples]
    settings = SampleSettings().changed(store.settings)
    volume = load_case_volume(store.cases[case].folder, None if store.labelled[case] else False, settings.voxel_mm)
    found = []
    for index, sample in enumerate(samples):
        room = room_of_sample(sample, volume, settings, index)
        turned = oblique_views(room.views[0], room.cube.center, count - 2)
        views = [network_view(view, room.cube, settings.image_size) for view in turned]
        # `radiographs` takes any number of views; a RandomRig says that it has two.
        images = volume.radiographs(replace(room, views=tuple(views)), settings.rays)  # type: ignore[arg-type]
        masks = sample.bone_masks
        if masks is not None and volume.bones is not None:
            box = volume.scanned_box(room.cut)
            masks = np.concatenate([masks, volume.bone_masks(views, box)])
        found.append(
            replace(
                sample,
                images=np.concatenate([sample.images, images.astype(np.float16)]),
                bone_masks=masks,
                projections=np.concatenate([sample.projections, np.stack([view.projection_matrix for view in views])]),
            )
        )
    return found


def room_of_sample(sample: CaseSample, volume: CaseVolume, settings: SampleSettings, index: int) -> RandomRig:
    """The room of a case's sample of that index, drawn again from the numbers that `samples_of_case` drew it from.

    Raises InputError for a sample that other code made.
    """
    identity = int.from_bytes(hashlib.sha256(volume.case.id.encode()).digest()[:8], "little")
    generator = np.random.default_rng([settings.seed, identity, index])
    room = random_rig(generator, settings.rig_ranges, settings.image_size, volume.center)
    if not np.array_equal(np.stack([view.projection_matrix for view in room.views]), sample.projections):
        raise InputError("The samples were made by other code, so their rigs are not known: make the samples again.")
    return room


def _first_views(sample: CaseSample, count: int) -> CaseSample:
    masks = None if sample.bone_masks is None else sample.bone_masks[:count]
    return replace(sample, images=sample.images[:count], bone_masks=masks, projections=sample.projections[:count])

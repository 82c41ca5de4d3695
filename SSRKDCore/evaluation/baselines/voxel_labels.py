"""Voxel labels of the cubes of training samples, kept beside the samples: what the volume CNN learns from."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from SSRKDCore.cases import load_case
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.evaluation.baselines.back_projection import cube_points
from SSRKDCore.grid import Grid
from SSRKDCore.json_files import to_json_text
from SSRKDCore.training.case_volume import CaseVolume, reference_bones
from SSRKDCore.training.point_sampling import BoneLabels
from SSRKDCore.training.sample_store import UNKNOWN_LABEL, CaseSample, SampleStore, stored_record, write_arrays

Labels = NDArray[np.uint8]


def labels_of_sample(sample: CaseSample, inside: BoneLabels, known_heights: tuple[float, float], voxels: int) -> Labels:
    """(voxels, voxels, voxels) labels [z, y, x] of the cube that a rig sees.

    As the points of the sample: a bone beyond the end of the CT is outside, what the reference does not show is UNKNOWN_LABEL.

    Parameters
    ----------
    sample: the rig's. inside: the case's bones. known_heights: lowest and highest z in mm at which the truth is known.
    """
    points = cube_points(torch.from_numpy(sample.cube)[None], voxels)[0].numpy()
    heights = points[:, 2]
    labels = inside.labels(points)
    labels[(heights < sample.scanned[0]) | (heights > sample.scanned[1])] = 0
    scanned = (heights >= sample.scanned[0]) & (heights <= sample.scanned[1])
    labels[scanned & ((heights < known_heights[0]) | (heights > known_heights[1]))] = UNKNOWN_LABEL
    return labels.reshape(voxels, voxels, voxels)


class VoxelLabels:
    """The voxel labels of the labelled cases of a store, one file a case, in a folder of the store.

    Args:
        store: the samples. voxels: along each side of the cubes.
    """

    def __init__(self, store: SampleStore, voxels: int) -> None:
        self.store = store
        self.voxels = voxels
        self.folder = store.folder / f"voxel-labels-{voxels}"

    def prepare(
        self,
        cases: Sequence[int],
        progress: Callable[[float, str], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        """Make the labels of these cases where they are missing or of other samples; a call that was stopped goes on.

        Raises InputError when the reference of a case cannot be used; Cancelled.
        """
        self.folder.mkdir(exist_ok=True)
        for done, case in enumerate(cases):
            if cancelled is not None and cancelled():
                raise Cancelled("Making voxel labels was cancelled; what is done is kept.")
            if not self._is_made(case):
                self._make(case)
            if progress is not None:
                progress((done + 1) / len(cases), f"voxel labels, {done + 1} of {len(cases)} cases")

    def read(self, case: int, rig: int) -> Labels:
        """(voxels, voxels, voxels) labels [z, y, x]. Raises InputError when they are missing or damaged."""
        path = self._path(case)
        try:
            with np.load(path, allow_pickle=False) as archive:
                content = zlib.decompress(archive[f"{rig}/labels"].tobytes())
            return np.frombuffer(content, np.uint8).reshape((self.voxels,) * 3).copy()
        except (OSError, ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise InputError(f"{path} is missing or damaged: delete it if it exists, and train again.") from error

    def _path(self, case: int) -> Path:
        return self.folder / self.store.cases[case].file

    def _source(self, case: int) -> str:
        return to_json_text(stored_record(self.store.folder / self.store.cases[case].file) or {}, ascii_only=True)

    def _is_made(self, case: int) -> bool:
        try:
            with np.load(self._path(case), allow_pickle=False) as archive:
                return str(archive["source"]) == self._source(case)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return False

    def _make(self, case: int) -> None:
        found = load_case(self.store.cases[case].folder)
        bones = reference_bones(found)
        samples = [self.store.read(case, rig, teacher=False) for rig in range(self.store.rigs_per_case)]
        centres = np.stack([sample.cube[:3] for sample in samples])
        halves = np.array([[sample.cube[3] / 2] for sample in samples])
        inside = BoneLabels(bones, np.stack([(centres - halves).min(axis=0), (centres + halves).max(axis=0)]))
        # Only the heights are asked of the volume, so that its CT need not be read.
        nothing = CaseVolume(found, np.empty((0, 0, 0), np.int16), Grid((0, 0, 0), (1, 1, 1), (1, 1, 1)), bones)
        arrays: dict[str, NDArray] = {"source": np.array(self._source(case))}
        for rig, sample in enumerate(samples):
            labels = labels_of_sample(sample, inside, nothing.known_heights, self.voxels)
            arrays[f"{rig}/labels"] = np.frombuffer(zlib.compress(labels.tobytes(), 1), np.uint8)
        write_arrays(self._path(case), arrays)

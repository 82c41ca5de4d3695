"""Baseline volume CNN (Kasten et al. 2020): back-projected radiographs, a 3D encoder-decoder, a class for each voxel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from SSRKDCore.cases import Case
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.evaluation.answer import CaseAnswer
from SSRKDCore.evaluation.baselines.back_projection import back_projected
from SSRKDCore.evaluation.baselines.ssm_case import checked_image
from SSRKDCore.evaluation.baselines.volume_model import VolumeModel, load_volume_model
from SSRKDCore.geometry.network_view import network_view, resample_to_view
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.grid import Grid
from SSRKDCore.networks.coordinates import sample_feature_volume
from SSRKDCore.radiographs.standardise import standardise
from SSRKDCore.reconstruction.bone_surfaces import bone_surfaces
from SSRKDCore.reconstruction.components import keep_one_piece
from SSRKDCore.reconstruction.devices import choose_device
from SSRKDCore.reconstruction.network_input import view_order
from SSRKDCore.reconstruction.octree import evaluate_sparse
from SSRKDCore.reconstruction.pipeline import DEFAULT_RESOLUTION, RESOLUTIONS
from SSRKDCore.surface import Surface

if TYPE_CHECKING:
    from SSRKDCore.evaluation.case_evaluation import Progress, Reconstruct


def volume_cnn_method(
    model_folder: str | Path,
    resolution: int = DEFAULT_RESOLUTION,
    device: str = "auto",
    cancelled: Callable[[], bool] | None = None,
) -> Reconstruct:
    """The job of reconstructing a case, as evaluate_cases wants it.

    Parameters
    ----------
    model_folder: of `train_volume_cnn`.
    resolution: samples along each side of the cube from which surfaces are extracted, 32 to 512; between the network's own voxels its
        logits are interpolated.
    device: "auto", "cpu", "cuda" or "mps".
    cancelled: asked while a case is reconstructed; the job then raises Cancelled.

    Raises InputError for a folder or numbers that cannot be used; the job itself for radiographs that cannot.
    """
    if not RESOLUTIONS[0] <= resolution <= RESOLUTIONS[1]:
        raise InputError(
            f"The resolution is {resolution}: use a whole number from {RESOLUTIONS[0]} to {RESOLUTIONS[1]}."
        )
    model, place = load_volume_model(model_folder), choose_device(device)

    def run(case: Case, progress: Progress) -> CaseAnswer:
        images, rig, warnings = _radiographs(case)
        progress(0.1, "classifying voxels")
        logits = volume_logits(model, images, rig, place)
        if cancelled is not None and cancelled():
            raise Cancelled("evaluation stopped")
        surfaces, grid = surfaces_of_logits(
            logits, rig, resolution, lambda share, words: progress(0.5 + 0.5 * share, words), cancelled
        )
        if all(surface.is_empty for surface in surfaces.values()):
            raise InputError("No bone found: the volume CNN sees no bone in the field of view; check the radiographs.")
        missing = [f"The {name} was not found." for name, surface in surfaces.items() if surface.is_empty]
        return CaseAnswer(surfaces, rig.field_of_view, max(grid.spacing), (*warnings, *missing))

    return run


def volume_logits(model: VolumeModel, images: Sequence[NDArray[np.floating]], rig: Rig, device: torch.device) -> Tensor:
    """Logits (5, G, G, G), [z, y, x], of the voxels that tile the rig's cube, on the CPU.

    Parameters
    ----------
    images: one a view of the rig, (rows, columns) line integrals. rig: LPS mm.

    Raises InputError when the number of views is not the model's, or an image is unusable.
    """
    if len(rig.views) != model.views:
        raise InputError(
            f"The volume CNN '{model.name}' reads {model.views} views and the rig has {len(rig.views)}: use another model, or another rig."
        )
    seen, matrices = [], []
    for index in view_order(rig):
        view, image = rig.views[index], images[index]
        checked_image(image, view)
        # As many pixels as voxels: finer ones would be averaged away.
        target = network_view(view, rig.field_of_view, model.voxels)
        resampled, coverage = resample_to_view(image, view, target)
        seen.append(standardise(resampled, coverage, dict(model.standardisation)))
        matrices.append(target.projection_matrix)
    cube = torch.tensor([[*rig.field_of_view.center, rig.field_of_view.size]], dtype=torch.float64)
    stacked = torch.from_numpy(np.stack(seen).astype(np.float32))[None]
    volume = back_projected(stacked, torch.from_numpy(np.stack(matrices))[None], cube, model.voxels)
    network = model.network.to(device)
    try:
        with torch.inference_mode():
            return network(volume.to(device))[0].float().cpu()
    finally:
        network.cpu()


def surfaces_of_logits(
    logits: Tensor,
    rig: Rig,
    resolution: int,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[dict[str, Surface], Grid]:
    """Closed surfaces by bone name (LPS mm; empty where a bone is absent), and the grid they were extracted from.

    logits: (5, G, G, G), [z, y, x], of voxels that tile the rig's cube; between their centres they are interpolated, and beyond the
    outermost they stay as they are.
    """
    voxels = logits.shape[-1]
    grid = Grid.cube(rig.field_of_view.center, rig.field_of_view.size, resolution)

    def field(z: Tensor, y: Tensor, x: Tensor) -> Tensor:
        index = torch.stack([z, y, x]).float()
        coarse = ((index + 0.5) * voxels / resolution - 0.5).clamp(0, voxels - 1)
        coordinates = coarse * (2 / (voxels - 1)) - 1
        return sample_feature_volume(logits[None], coordinates[None])[0].T.contiguous()

    with torch.inference_mode():
        occupancy = evaluate_sparse(field, resolution, progress=progress, cancelled=cancelled)
    labels, _ = keep_one_piece(occupancy.labels)
    return bone_surfaces(occupancy, labels, grid), grid


def _radiographs(case: Case) -> tuple[list[NDArray[np.float32]], Rig, list[str]]:
    """Line integrals of every view, in the rig's order, the rig, and warnings."""
    from dataclasses import replace

    from SSRKDCore.geometry.dicom_rig import rig_for_radiographs
    from SSRKDCore.radiographs.radiograph import VIEW_NAMES
    from SSRKDCore.radiographs.reader import read_radiograph

    found = []
    for view in case.rig.views:
        known = view.name if view.name in VIEW_NAMES else None
        found.append(replace(read_radiograph(case.radiographs[view.name], known, case.intensity), view=view.name))
    rig, warnings = rig_for_radiographs(found, case.rig, None, case.side)
    return [radiograph.pixels for radiograph in found], rig, list(warnings)

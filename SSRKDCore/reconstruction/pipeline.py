"""The main job: radiographs and their rig in, four bone surfaces and a label volume out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONES
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.grid import Grid
from SSRKDCore.networks.model_folder import Model
from SSRKDCore.networks.xray_network import XrayReconstructionNetwork
from SSRKDCore.radiographs.radiograph import Radiograph
from SSRKDCore.radiographs.style_matching import StyleReference
from SSRKDCore.reconstruction.bone_surfaces import bone_surfaces
from SSRKDCore.reconstruction.components import PieceCount, keep_one_piece
from SSRKDCore.reconstruction.devices import choose_device, with_less_memory
from SSRKDCore.reconstruction.encoding import encode_images, ready_to_encode
from SSRKDCore.reconstruction.feature_tables import FeatureTables
from SSRKDCore.reconstruction.field_evaluation import SparseOccupancy
from SSRKDCore.reconstruction.matched_style import matching_words
from SSRKDCore.reconstruction.network_input import NetworkInput, prepare_network_input, xray_config_of
from SSRKDCore.reconstruction.octree import evaluate_dense, evaluate_sparse
from SSRKDCore.reconstruction.precision import (
    DEFAULT_PRECISION,
    choose_precision,
    precision_after_move,
    supported_precisions,
)
from SSRKDCore.reconstruction.refined_bones import refined_bones
from SSRKDCore.reconstruction.sampler import PointSampler
from SSRKDCore.reconstruction.search_tolerance import checked_tolerance
from SSRKDCore.reconstruction.swapped_views import WARNING, views_look_swapped
from SSRKDCore.refinement.shape_prior import shape_prior_of
from SSRKDCore.refinement.surface_correction import surface_correction_of
from SSRKDCore.refinement.view_motion import ViewMotion
from SSRKDCore.surface import Surface

#: Samples per axis of the label volume. The lower limit is the grid on which the search starts.
RESOLUTIONS = (32, 512)
DEFAULT_RESOLUTION = 256
#: A loose piece of a bone of at least this share of the bone is worth a warning.
_NOTABLE_PIECE = 0.02

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Reconstruction:
    """Four bones.

    Attributes
    ----------
    surfaces: by bone name; closed, LPS mm; empty where the bone was not found.
    labels: (nz, ny, nx) uint8, one piece a bone; agrees with the surfaces.
    grid: where the samples of `labels` lie, LPS mm.
    field_of_view: the cube that was reconstructed.
    timings: seconds by stage: "input", "encode", "tables", "octree", "components", "surfaces", "total".
    warnings: what the user should know, in words.
    side: "right" or "left", inferred from the fibula, which is lateral of the tibia; None without both bones.
    declared_side: what the caller said, or the radiographs.
    model_name: of the model.
    device: where the network ran.
    evaluated_points: how many of the samples the network was asked for.
    pieces: what was removed and filled of what the network saw, by bone name.
    network_surfaces: the network's bones before refinement; None where nothing was refined.
    moved_mm: bone -> mean distance in mm between both; empty where nothing was refined.
    overruled: bones that the radiographs' edges placed against the network (see `refinement.doubted_network`).
    corrected_mm: bone -> by how much the model's surface correction moved it on average (see `refinement.surface_correction`).
    motion: how the second of two views seems to be turned, beyond what the rig says (see `refinement.view_motion`); None where nothing
        tells.
    pair_motions: likewise of three or more views, by the names of the one that stays and the one that seems to be turned.
    precision: in which the network computed, see `precision`.
    surface_tolerance_mm: by how much interpolation was allowed to move the network's surface; 0 where the network was asked.
    """

    surfaces: dict[str, Surface]
    labels: NDArray[np.uint8]
    grid: Grid
    field_of_view: FieldOfView
    timings: dict[str, float]
    warnings: tuple[str, ...]
    side: str | None
    declared_side: str | None
    model_name: str
    device: str
    evaluated_points: int
    pieces: dict[str, PieceCount]
    network_surfaces: dict[str, Surface] | None = None
    moved_mm: dict[str, float] = field(default_factory=dict)
    overruled: tuple[str, ...] = ()
    corrected_mm: dict[str, float] = field(default_factory=dict)
    motion: ViewMotion | None = None
    pair_motions: dict[tuple[str, str], ViewMotion] = field(default_factory=dict)
    precision: str = DEFAULT_PRECISION
    surface_tolerance_mm: float = 0.0


class _Stages:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def finished(self) -> dict[str, float]:
        return {**self.seconds, "total": time.perf_counter() - self.started}


def reconstruct(
    radiographs: Sequence[Radiograph],
    rig: Rig,
    model: Model,
    resolution: int = DEFAULT_RESOLUTION,
    device: str = "auto",
    dense: bool = False,
    side: str | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    message: Callable[[str], None] | None = None,
    check_view_order: bool = True,
    encoded: Callable[[NetworkInput, list[torch.Tensor]], None] | None = None,
    style: Model | None = None,
    refine: bool = True,
    precision: str = DEFAULT_PRECISION,
    look: StyleReference | None = None,
    surface_tolerance_mm: float = 0.0,
    tabled: Callable[[FeatureTables], None] | None = None,
) -> Reconstruction:
    """Reconstruct patella, femur, fibula and tibia from calibrated radiographs.

    Parameters
    ----------
    radiographs: one a view of the rig, in its order.
    rig: the views and the cube to reconstruct, LPS mm.
    model: from `load_model`.
    resolution: samples along each side of the cube, 32 to 512.
    device: "auto", "cpu", "cuda" or "mps". When its memory runs out, smaller blocks are tried, then the CPU.
    dense: evaluate every sample (minutes) instead of searching coarse to fine; the labels are the same.
    side: "right" or "left"; None takes what the radiographs say. Only compared with what the bones show.
    progress: receives a fraction 0..1 and words.
    cancelled: asked between blocks.
    check_view_order: warn when the two radiographs look exchanged (see swapped_views); costs an eighth of a pass of the encoders, and
        a whole one more where the order is in doubt.
    message: receives a sentence when the device or block size changes on the way; it is among the warnings as well.
    encoded: receives what the network was given and its feature maps, for whoever assesses the result (see trust).
    style: a style model that gives what the network reads the look of simulated radiographs first (see style_transfer); None does not.
    refine: fit the shape prior that the model brings, if any, to the network's bones and the radiographs' edges (see refinement).
    precision: "float32", or "bfloat16" on a device that computes in it (see precision).
    look: a style reference that what the network reads is matched to first (see matched_style); None does not. With either of both,
        refinement reads the radiographs as they are.
    surface_tolerance_mm: interpolate samples where that is expected to move the network's surface by less (see `evaluate_sparse`); 0
        asks the network. Without effect on a dense evaluation.
    tabled: receives the tables of these feature maps afterwards, for whoever asks the network at further points.

    Raises InputError for unusable input, for "no bone found", and when memory is short everywhere; Cancelled.
    """
    if (
        isinstance(resolution, bool)
        or int(resolution) != resolution
        or not RESOLUTIONS[0] <= resolution <= RESOLUTIONS[1]
    ):
        raise InputError(
            f"The resolution is {resolution}: use a whole number from {RESOLUTIONS[0]} to {RESOLUTIONS[1]}."
        )
    prior = shape_prior_of(model) if refine else None
    correction = surface_correction_of(model, prior.templates) if prior is not None else None
    place = choose_device(device)
    choose_precision(precision, place)
    checked_tolerance(surface_tolerance_mm)
    stages, warnings = _Stages(), list(rig.check())
    _ask(cancelled)
    _tell(progress, 0.0, "preparing the radiographs")
    with stages.stage("input"):
        network_input = prepare_network_input(radiographs, rig, model, style, look, precision)
    if style is not None:
        warnings.append(f"The radiographs were translated by the style model '{style.name}' before reconstruction.")
    if look is not None:
        warnings.append(matching_words(look, network_input.matched))
    grid = Grid.cube(rig.field_of_view.center, rig.field_of_view.size, int(resolution))

    def say(words: str) -> None:
        warnings.append(words)
        if message is not None:
            message(words)

    def order_warning() -> None:
        if WARNING not in warnings:
            say(WARNING)

    def classify(place: torch.device, smaller: int) -> SparseOccupancy:
        return _classify(
            network_input,
            rig.field_of_view,
            grid,
            model,
            place,
            smaller,
            dense,
            stages,
            progress,
            cancelled,
            order_warning if check_view_order else None,
            encoded,
            tabled,
            precision_after_move(precision, place, say),
            surface_tolerance_mm / min(grid.spacing),
        )

    occupancy, used = with_less_memory(classify, place, say)
    _ask(cancelled)
    _tell(progress, 0.88, "keeping one piece a bone")
    with stages.stage("components"):
        labels, pieces = keep_one_piece(occupancy.labels)
    _ask(cancelled)
    _tell(progress, 0.92, "extracting surfaces")
    with stages.stage("surfaces"):
        surfaces = bone_surfaces(occupancy, labels, grid)
    warnings += _found(surfaces, pieces)
    found_side = inferred_side(labels, grid)
    declared = side or next((radiograph.side for radiograph in radiographs if radiograph.side), None)
    seen, moved, overruled = surfaces, dict[str, float](), tuple[str, ...]()
    corrected, motion, pair_motions = dict[str, float](), None, dict[tuple[str, str], ViewMotion]()
    if prior is not None:
        _ask(cancelled)
        with stages.stage("refine"):
            given = (surfaces, radiographs, rig, found_side or declared, prior, grid)
            refined = refined_bones(
                *given, lambda done: _tell(progress, 0.94 + 0.06 * done, "refining the bones"), correction
            )
        warnings += refined.warnings
        motion, pair_motions = refined.motion, refined.pair_motions
        if refined.labels is not None:
            surfaces, labels, moved = refined.surfaces, refined.labels, refined.moved_mm
            overruled, corrected = refined.overruled, refined.corrected_mm
    if found_side and declared and found_side != declared:
        warnings.append(
            f"The bones look like a {found_side} knee (the fibula is lateral of the tibia) but the side was given as {declared}: "
            "check the side, and whether an image is mirrored."
        )
    _tell(progress, 1.0, "done")
    return Reconstruction(
        surfaces=surfaces,
        labels=labels,
        grid=grid,
        field_of_view=rig.field_of_view,
        timings=stages.finished(),
        warnings=tuple(warnings),
        side=found_side,
        declared_side=declared,
        model_name=model.name,
        device=used.type,
        evaluated_points=occupancy.evaluated,
        pieces=pieces,
        network_surfaces=seen if moved else None,
        moved_mm=moved,
        overruled=overruled,
        corrected_mm=corrected,
        motion=motion,
        pair_motions=pair_motions,
        precision=precision if precision in supported_precisions(used) else DEFAULT_PRECISION,
        surface_tolerance_mm=0.0 if dense else surface_tolerance_mm,
    )


def _classify(
    network_input: NetworkInput,
    field_of_view: FieldOfView,
    grid: Grid,
    model: Model,
    device: torch.device,
    smaller: int,
    dense: bool,
    stages: _Stages,
    progress: Progress | None,
    cancelled: Callable[[], bool] | None,
    order_warning: Callable[[], None] | None,
    encoded: Callable[[NetworkInput, list[torch.Tensor]], None] | None,
    tabled: Callable[[FeatureTables], None] | None,
    precision: torch.dtype,
    tolerance: float,
) -> SparseOccupancy:
    """Labels and logits on the grid, with the network on a device; it goes back to where it was afterwards.

    `tolerance` is that of `evaluate_sparse`. `order_warning` is called when the views look exchanged; None leaves the question out.
    """
    xray_config_of(model)
    network = cast(XrayReconstructionNetwork, model.network)
    home = next(network.parameters()).device
    try:
        network.to(device)
        _tell(progress, 0.02, "reading the radiographs")
        with stages.stage("encode"):
            reader = ready_to_encode(network, precision)
            features = encode_images(reader, network_input.images, device, precision)
        if encoded is not None:
            encoded(network_input, features)
        _ask(cancelled)
        if order_warning is not None:
            with stages.stage("view order"):
                if views_look_swapped(reader, network_input, field_of_view, features):
                    order_warning()
            _ask(cancelled)
        _tell(progress, 0.25, "preparing the point classifier")
        with stages.stage("tables"):
            sampler = PointSampler(network, features, network_input.views, field_of_view)
            sampler.block_points = max(sampler.block_points // smaller, 1)
        if tabled is not None:
            tabled(sampler.tables)

        def share(fraction: float, words: str) -> None:
            _tell(progress, 0.3 + 0.58 * fraction, words)

        evaluate = evaluate_dense if dense else partial(evaluate_sparse, tolerance=tolerance)
        with stages.stage("octree"):
            return evaluate(
                sampler.field(grid),
                grid.shape[0],
                progress=share,
                cancelled=cancelled,
                device=sampler.point_device,
            )
    finally:
        network.to(home)


def inferred_side(labels: NDArray[np.uint8], grid: Grid) -> str | None:
    """The side of a knee from its bones: the fibula is lateral of the tibia, and the patient's right is -x in LPS.

    None where either bone is absent or their centres are less than 2 mm apart along x.
    """
    across = {}
    for bone in BONES:
        if bone.name in ("fibula", "tibia"):
            counts = np.count_nonzero(labels == bone.label, axis=(0, 1))
            if not counts.any():
                return None
            across[bone.name] = float((counts * grid.axes[0]).sum() / counts.sum())
    offset = across["fibula"] - across["tibia"]
    if abs(offset) < 2.0:
        return None
    return "right" if offset < 0 else "left"


def _found(surfaces: dict[str, Surface], pieces: dict[str, PieceCount]) -> list[str]:
    """Warnings on absent and scattered bones. Raises InputError when there is no bone at all."""
    if all(surface.is_empty for surface in surfaces.values()):
        raise InputError(
            "No bone found: the network sees no bone in the field of view; check that the radiographs show a knee, that bone is bright "
            "in line integrals (--intensity), and that the rig fits them."
        )
    warnings = []
    for name, surface in surfaces.items():
        count = pieces[name]
        if surface.is_empty:
            warnings.append(f"The {name} was not found.")
        elif count.removed_voxels > _NOTABLE_PIECE * count.kept_voxels:
            percent = 100 * count.removed_voxels / (count.kept_voxels + count.removed_voxels)
            warnings.append(
                f"The {name} came in {count.pieces} pieces; the largest was kept, {percent:.0f} % of its volume was dropped."
            )
    return warnings


def _tell(progress: Progress | None, fraction: float, words: str) -> None:
    if progress is not None:
        progress(fraction, words)


def _ask(cancelled: Callable[[], bool] | None) -> None:
    if cancelled is not None and cancelled():
        raise Cancelled("The reconstruction was cancelled.")

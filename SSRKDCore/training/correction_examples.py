"""Refined bones of training cases with what is wrong about them: what a surface correction learns from.

Each case is exposed in some random rooms and reconstructed as a user's would be; at each anchor, how far the refined surface lies beside
the true one is kept beside what is known there (`refinement.anchor_features`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.cases import CASE_FILE
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.evaluation.exact_distances import signed_distances
from SSRKDCore.evaluation.field_of_view import DEFAULT_MARGIN_MM, inside_by, scoring_box, without_cut_faces
from SSRKDCore.geometry.mirror import MIRROR
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.networks.model_folder import Model
from SSRKDCore.networks.weights_file import sha256_of
from SSRKDCore.npz_files import read_arrays, write_arrays
from SSRKDCore.population.shape_model import KneeShapeModel
from SSRKDCore.radiographs.radiograph import Radiograph
from SSRKDCore.reconstruction.pipeline import reconstruct
from SSRKDCore.refinement.anchor_features import FEATURES, Anchors, PlacedBone, anchor_features
from SSRKDCore.refinement.refine import refine
from SSRKDCore.surface import Surface
from SSRKDCore.training.case_volume import CaseVolume, load_case_volume
from SSRKDCore.trust.other_rooms import ROOMS, exposed_in_rooms
from SSRKDCore.trust.training_images import TrainingExposure, exposure_of_volume

Progress = Callable[[float, str], None]
Extent = tuple[float | None, float | None]

#: How a case is exposed, one after the other: as it is, after training's changes, in the rooms of training, in worse ones.
LOOKS = ("plain", "usual room", "changed", "usual room", "plain", "bad room")
RESOLUTION = 128
_LARGEST_FILE = 64 * 1024 * 1024


@dataclass(frozen=True)
class Examples:
    """Examples of one bone in memory.

    described: (N, A, FEATURES) float16. errors_mm: (N, A) by which the truth lies further outwards than the surface; NaN where nothing
    is known, at the rim of the field of view and at cut ends. looks, cases: (N,).
    """

    described: NDArray[np.float16]
    errors_mm: NDArray[np.float32]
    looks: NDArray[np.str_]
    cases: NDArray[np.str_]


def correction_examples(
    model: Model,
    priors: Sequence[KneeShapeModel],
    anchors: Mapping[str, Anchors],
    folders: Sequence[Path],
    exposures: int,
    work: Path,
    seed: int,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> dict[str, Examples]:
    """Examples by bone.

    Parameters
    ----------
    model: an X-ray model. priors: shape priors in the vertices of the one that it brings; cases take turns. anchors: of each bone.
    folders: of labelled cases with CTs. exposures: of each.
    work: keeps what is made of each case: the same call goes on from there. seed: of rooms and images.

    Raises InputError for unusable cases; Cancelled.
    """
    kept = []
    for index, folder in enumerate(folders):
        if cancelled is not None and cancelled():
            raise Cancelled("Making examples was cancelled.")
        if progress is not None:
            progress(index / len(folders), f"bones of {folder.name} ({index + 1} of {len(folders)})")
        # Another population has cases of the same names.
        which = sha256_of(folder / CASE_FILE)[:12]
        file = work / f"{folder.name}-{which}-{seed}-{index}-{exposures}.npz"
        if not file.is_file():
            # Looks and priors take turns at another pace, so that each look meets each prior.
            made = _examples_of(model, priors[index // 2 % len(priors)], anchors, folder, exposures, seed, index)
            write_arrays(file, made)
        kept.append(read_arrays(file, "examples of a training case", "delete it and call again", _LARGEST_FILE))
    found = {}
    for name, of_bone in anchors.items():
        rows = [(one, folder.name) for one, folder in zip(kept, folders, strict=True)]
        described = [one[f"{name}.described"] for one, _ in rows]
        if any(values.shape[1:] != (len(of_bone.vertices), FEATURES) for values in described):
            raise InputError(f"{work} holds examples of other anchors or features: delete it and call again.")
        found[name] = Examples(
            np.concatenate(described),
            np.concatenate([one[f"{name}.errors"] for one, _ in rows]),
            np.concatenate([one[f"{name}.looks"] for one, _ in rows]),
            np.concatenate([np.repeat(case, len(one[f"{name}.looks"])) for one, case in rows]),
        )
    return found


def _examples_of(
    model: Model,
    prior: KneeShapeModel,
    anchors: Mapping[str, Anchors],
    folder: Path,
    exposures: int,
    seed: int,
    index: int,
) -> dict[str, NDArray[np.generic]]:
    volume = load_case_volume(folder, True)
    described: dict[str, list[NDArray[np.float16]]] = {name: [] for name in anchors}
    errors: dict[str, list[NDArray[np.float32]]] = {name: [] for name in anchors}
    looks: dict[str, list[str]] = {name: [] for name in anchors}
    for place in range(exposures):
        look = LOOKS[(index * exposures + place) % len(LOOKS)]
        exposure = _exposure(volume, look, np.random.default_rng([seed, index, place]))
        for name, bone in placed_bones(exposure.radiographs, exposure.rig, exposure.side, model, prior).items():
            if name not in anchors:
                continue
            described[name].append(anchor_features(bone, anchors[name]).astype(np.float16))
            errors[name].append(errors_at_anchors(bone, exposure.bones[name], exposure.side, anchors[name]))
            looks[name].append(look)
    found: dict[str, NDArray[np.generic]] = {}
    for name, of_bone in anchors.items():
        count = len(of_bone.vertices)
        found[f"{name}.described"] = np.array(described[name], np.float16).reshape(-1, count, FEATURES)
        found[f"{name}.errors"] = np.array(errors[name], np.float32).reshape(-1, count)
        found[f"{name}.looks"] = np.array(looks[name], dtype="<U16")
    return found


def _exposure(volume: CaseVolume, look: str, generator: np.random.Generator) -> TrainingExposure:
    exposure = exposure_of_volume(volume, generator, changed=look == "changed")
    if look in ("plain", "changed"):
        return exposure
    state = int(generator.integers(2**31))
    # The same numbers for both views: one room.
    return exposed_in_rooms(exposure, volume, ROOMS[0 if look == "usual room" else 1], (state, state))


def placed_bones(
    radiographs: Sequence[Radiograph], rig: Rig, side: str, model: Model, prior: KneeShapeModel
) -> dict[str, PlacedBone]:
    """Refined bones before any correction, by name; none where there is no reconstruction or it could not be refined.

    Parameters as of `reconstruct` and `refine`.
    """
    found: dict[str, PlacedBone] = {}
    try:
        seen = reconstruct(radiographs, rig, model, RESOLUTION, "cpu", side=side, refine=False, check_view_order=False)
        refine(seen.surfaces, radiographs, rig, side, prior, seen.grid, placed=lambda n, b: found.update({n: b}))
    except InputError:
        # Now and then nothing of an image is left, which a user would be told: it is nothing to learn from.
        return {}
    return found


def errors_at_anchors(
    bone: PlacedBone, truth: Surface, side: str, anchors: Anchors, extent: Extent = (None, None)
) -> NDArray[np.float32]:
    """(A,) mm by which the true surface lies further outwards; NaN where it is not known.

    truth: of the exposed knee, whose side is `side`, LPS mm. extent: lowest and highest z between which it is known.
    """
    points = bone.surface.vertices[anchors.vertices]
    right = truth.transformed(MIRROR) if side == "left" else truth
    box = scoring_box(bone.field_of_view.bounds, extent)
    inner = inside_by(box, DEFAULT_MARGIN_MM)
    scored = ((points >= inner[0]) & (points <= inner[1])).all(axis=1)
    distances = signed_distances(points, without_cut_faces(right, box, DEFAULT_MARGIN_MM))
    return np.where(scored, -distances, np.nan).astype(np.float32)

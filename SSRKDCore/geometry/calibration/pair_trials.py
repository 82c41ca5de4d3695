"""Knees whose second view is told wrongly by a draw from the belief that `ssrkd calibrate pair` assumes, and brought back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.calibration.pose_estimate import DEFAULT_SHIFT_SD, DEFAULT_TURN_SD, RelativePose
from SSRKDCore.geometry.calibration.pose_parameters import moved_view, pose_axes, pose_between, pose_matrix
from SSRKDCore.geometry.calibration.pose_rounds import DEFAULT_RESOLUTION, pose_by_reconstruction
from SSRKDCore.geometry.calibration.relative_pose import relative_pose
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.geometry.view import View
from SSRKDCore.surface import Surface

if TYPE_CHECKING:
    from SSRKDCore.networks.model_folder import Model
    from SSRKDCore.radiographs.radiograph import Radiograph

Array = NDArray[np.float64]
#: What is kept of a trial; see `run_trial`.
Trial = Mapping[str, Any]

#: Where the bones' shape comes from: a CT, the network alone, or the shape model of the network's model.
KINDS = ("known", "reconstructed", "shape_model")
#: How radiographs of a CT look, see `trust.other_rooms`.
ROOMS = ("usual rooms", "bad rooms")


@dataclass(frozen=True)
class TrialKnee:
    """radiographs: one a view of the rig, in its order. rig: as it is. bones: the true ones by name, LPS mm."""

    radiographs: Sequence[Radiograph]
    rig: Rig
    bones: Mapping[str, Surface]


def case_knee(folder: Path) -> TrialKnee:
    """The knee of a case with radiographs of two views and the true bones. Raises InputError as `load_case`, and for other views."""
    from SSRKDCore.cases import load_case
    from SSRKDCore.evaluation.case_evaluation import reference_surfaces
    from SSRKDCore.radiographs import read_radiograph

    case = load_case(folder)
    if len(case.rig.views) != 2:
        raise InputError(f"{folder} has {len(case.rig.views)} views: use cases with two.")
    images = [read_radiograph(case.radiographs[view.name], view.name, case.intensity) for view in case.rig.views]
    return TrialKnee(images, case.rig, reference_surfaces(case))


def room_knee(folder: Path, room: int, seed: int, index: int) -> TrialKnee:
    """The knee of a labelled case with a CT in a random room of ROOMS. seed, index: of all randomness: of the study, of the case."""
    from SSRKDCore.training.case_volume import load_case_volume
    from SSRKDCore.trust.other_rooms import exposure_in_another_room

    exposure = exposure_in_another_room(load_case_volume(folder, True), seed, index, room)
    return TrialKnee(exposure.radiographs, exposure.rig, exposure.bones)


def told_wrongly(rig: Rig, pose: Array) -> Rig:
    """The rig with its second view where a belief has it that is wrong by `pose` (6,), POSE_NAMES about the view's own axes."""
    view, center = rig.views[1], np.array(rig.field_of_view.center)
    moved = view.transformed(np.linalg.inv(pose_matrix(pose, pose_axes(view), center)))
    return _with_second(rig, moved)


def run_trial(knee: TrialKnee, kind: str, model: Model, seed: int) -> dict[str, Any]:
    """One knee with its second view told wrongly.

    Parameters
    ----------
    kind: one of KINDS: where the bones' shape comes from.
    seed: of the wrong pose.

    Returns arrays: before, outline_error, error (6,), information, parameter_sd, slices and spread; or before and `refused`, the
    sentence; or before and `other_bones`, where the shape model does not fit and the network's own bones decide.
    """
    wrong = believed(knee.rig, seed)
    before = {"before": away(wrong, knee.rig)}
    try:
        found = _estimated(kind, knee, wrong, model, seed)
    except InputError as error:
        return {**before, "refused": str(error)}
    if found.bones != kind:
        return {**before, "other_bones": np.array(True)}
    return {
        **before,
        "error": away(found.rig, knee.rig, wrong),
        "outline_error": away(_with_second(wrong, moved_view(wrong, found.outline_pose)), knee.rig, wrong),
        "slices": found.slices,
        "information": found.information,
        "parameter_sd": found.parameter_sd,
        "spread": found.start_spread,
    }


def run_effect(knee: TrialKnee, trial: Trial, model: Model, seed: int) -> dict[str, Array]:
    """What a trial's pose does to a reconstruction.

    Returns `effect` (3, 2): mean exact ASSD in mm over the bones, with the rig as believed, as estimated and as it is; the bones where
    they are, and moved onto the true knee as a whole, since both views shifted alike put the knee elsewhere and leave it as it is.
    """
    wrong, truth = believed(knee.rig, seed), knee.rig.views[1]
    axes, center = pose_axes(wrong.views[1]), np.array(knee.rig.field_of_view.center)
    estimated = truth.transformed(np.linalg.inv(pose_matrix(trial["error"], axes, center)))
    rigs = (wrong, _with_second(knee.rig, estimated), knee.rig)
    return {"effect": np.array([_distances(knee, rig, model) for rig in rigs])}


def _with_second(rig: Rig, view: View) -> Rig:
    return Rig((rig.views[0], view), rig.field_of_view, rig.provenance)


def believed(rig: Rig, seed: int) -> Rig:
    """The rig as it is told, wrongly by a draw from the belief."""
    prior = np.array([DEFAULT_TURN_SD] * 3 + [DEFAULT_SHIFT_SD] * 3)
    return told_wrongly(rig, np.random.default_rng(seed).normal(0.0, prior))


def away(rig: Rig, true: Rig, frame: Rig | None = None) -> Array:
    """(6,) from a rig's second view to the true one, about the axes of the second view of `frame` (of `rig` itself)."""
    axes = pose_axes((frame or rig).views[1])
    return pose_between(rig.views[1], true.views[1], axes, np.array(true.field_of_view.center))


def _estimated(kind: str, knee: TrialKnee, wrong: Rig, model: Model, seed: int) -> RelativePose:
    """The pose as `ssrkd calibrate pair` estimates it, whatever its uncertainty."""
    if kind == "known":
        images = {view.name: found.pixels for view, found in zip(knee.rig.views, knee.radiographs, strict=True)}
        return relative_pose(knee.bones, images, wrong, starts=1, seed=seed, height_limit_mm=np.inf)
    return pose_by_reconstruction(
        knee.radiographs,
        wrong,
        model,
        starts=1,
        seed=seed,
        height_limit_mm=np.inf,
        use_shape_model=kind == "shape_model",
    )


def _distances(knee: TrialKnee, rig: Rig, model: Model) -> tuple[float, float]:
    """Mean exact ASSD in mm over the bones that are found, the rig taken as given: in place, and aligned as a knee."""
    from SSRKDCore.evaluation.alignment import aligned
    from SSRKDCore.evaluation.exact_distances import surface_distances
    from SSRKDCore.reconstruction.pipeline import reconstruct

    result = reconstruct(knee.radiographs, rig, model, DEFAULT_RESOLUTION, check_view_order=False)
    box, margin = result.field_of_view.bounds, max(result.grid.spacing)
    found = {name: result.surfaces[name] for name in knee.bones if not result.surfaces[name].is_empty}
    moved, _ = aligned(found, knee.bones, "knee", box, margin)
    in_place, as_knee = (
        [surface_distances(surfaces[name], knee.bones[name], box, margin).assd for name in found] or [float("nan")]
        for surfaces in (found, moved)
    )
    return float(np.mean(in_place)), float(np.mean(as_knee))

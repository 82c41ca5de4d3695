"""The relative pose and the reconstruction improve each other: reconstruct, move the second view, reconstruct again.

Each round's pose comes from the shape model that the network's model brings (`shape_pose`), which a wrong pose does not fit; without one,
or where it does not fit the images, from the network's own bones (`relative_pose`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.calibration.pose_estimate import (
    DEFAULT_SHIFT_SD,
    DEFAULT_TURN_SD,
    HEIGHT_LIMIT_MM,
    RelativePose,
    check_belief,
    check_estimate,
)
from SSRKDCore.geometry.calibration.relative_pose import relative_pose
from SSRKDCore.geometry.rig import Rig

if TYPE_CHECKING:
    from SSRKDCore.networks.model_folder import Model
    from SSRKDCore.radiographs.radiograph import Radiograph

DEFAULT_ROUNDS = 3
DEFAULT_RESOLUTION = 96


def pose_by_reconstruction(
    radiographs: Sequence[Radiograph],
    rig: Rig,
    model: Model,
    rounds: int = DEFAULT_ROUNDS,
    resolution: int = DEFAULT_RESOLUTION,
    device: str = "auto",
    turn_sd: float = DEFAULT_TURN_SD,
    shift_sd: float = DEFAULT_SHIFT_SD,
    starts: int = 4,
    seed: int = 0,
    height_limit_mm: float = HEIGHT_LIMIT_MM,
    progress: Callable[[float, str], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    side: str | None = None,
    use_shape_model: bool = True,
) -> RelativePose:
    """The pose of the second view from the network's own reconstruction, renewed with each better pose.

    The belief about the pose stays centred on `rig` in all rounds: what the images do not tell does not drift away. Restarts are
    made in the last round. Parameters as in `relative_pose`; radiographs in the order of the rig's views.

    side: "right" or "left", where the bones do not show it; None: what the radiographs say.
    use_shape_model: False leaves out the model's shape prior, so that the network's own bones decide.
    """
    from SSRKDCore.geometry.calibration.shape_pose import shape_pose
    from SSRKDCore.reconstruction.pipeline import reconstruct
    from SSRKDCore.refinement.shape_prior import shape_prior_of

    if not 1 <= rounds <= 10:
        raise InputError(f"{rounds} rounds of reconstruction were asked for: use 1 to 10.")
    check_belief(rig, turn_sd, shift_sd)
    prior = shape_prior_of(model) if use_shape_model else None
    images = {view.name: radiograph.pixels for view, radiograph in zip(rig.views, radiographs, strict=True)}
    current, pose = rig, np.zeros(6)

    def shape_model_pose(starts: int) -> RelativePose | None:
        if prior is None:
            return None
        found = reconstruct(radiographs, current, model, resolution, device, cancelled=cancelled,
                            check_view_order=False, refine=False)  # fmt: skip
        shown = found.side or side or found.declared_side
        if shown is None:
            return None
        belief = prior, turn_sd, shift_sd, pose
        return shape_pose(found.surfaces, radiographs, rig, shown, *belief, starts, seed, cancelled)

    index = 0
    while True:
        last = index == rounds - 1

        def tell(fraction: float, words: str, index: int = index) -> None:
            if progress is not None:
                progress((index + fraction) / rounds, words)

        def fitting(fraction: float, words: str, tell: Callable[[float, str], None] = tell) -> None:
            tell(0.6 + 0.4 * fraction, words)

        tell(0.0, "reconstructing, and matching the shape model's outlines in both views")
        result = shape_model_pose(starts if last else 0)
        if result is not None:
            check_estimate(result, height_limit_mm, last)
        else:
            tell(0.4, "reconstructing")
            found = reconstruct(radiographs, current, model, resolution, device, cancelled=cancelled,
                                check_view_order=False)  # fmt: skip
            result = relative_pose(
                found.surfaces, images, rig, turn_sd, shift_sd, False, starts if last else 0, seed, height_limit_mm, pose, fitting,
                cancelled, last,
            )  # fmt: skip
        if last:
            return result
        current, pose, index = result.rig, result.pose, index + 1

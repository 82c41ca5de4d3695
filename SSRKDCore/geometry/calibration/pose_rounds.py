"""The relative pose and the reconstruction improve each other: reconstruct, move the second view, reconstruct again.

Each round's pose comes from the shape model that the network's model brings (`shape_pose`), which a wrong pose does not fit; without one,
or where it does not fit the images, from the network's own bones (`relative_pose`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

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
    from SSRKDCore.reconstruction.pipeline import Reconstruction

Array = NDArray[np.float64]

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

    def estimated(current: Rig, pose: Array, last: bool, tell: Callable[[float, str], None]) -> RelativePose:
        """From a reconstruction with the rig as it is known so far, at this pose."""
        given_starts = starts if last else 0

        def found(refine: bool) -> Reconstruction:
            return reconstruct(radiographs, current, model, resolution, device, cancelled=cancelled,
                               check_view_order=False, refine=refine)  # fmt: skip

        if prior is not None:
            tell(0.0, "reconstructing, and matching the shape model's outlines in both views")
            seen = found(refine=False)
            shown = seen.side or side or seen.declared_side
            belief = turn_sd, shift_sd, pose
            by_shape = None
            if shown is not None:
                by_shape = shape_pose(
                    seen.surfaces, radiographs, rig, shown, prior, *belief, given_starts, seed, cancelled
                )
            if by_shape is not None:
                check_estimate(by_shape, height_limit_mm, last)
                return by_shape
        tell(0.4, "reconstructing")
        return relative_pose(
            found(refine=True).surfaces, images, rig, turn_sd, shift_sd, False, given_starts, seed, height_limit_mm, pose,
            lambda fraction, words: tell(0.6 + 0.4 * fraction, words), cancelled, last,
        )  # fmt: skip

    def teller(index: int) -> Callable[[float, str], None]:
        return lambda fraction, words: progress((index + fraction) / rounds, words) if progress is not None else None

    result = estimated(rig, np.zeros(6), rounds == 1, teller(0))
    for index in range(1, rounds):
        result = estimated(result.rig, result.pose, index == rounds - 1, teller(index))
    return result

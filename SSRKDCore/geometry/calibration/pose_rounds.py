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
    check_starts,
)
from SSRKDCore.geometry.calibration.pose_progress import Tell, part, stoppable
from SSRKDCore.geometry.calibration.relative_pose import relative_pose
from SSRKDCore.geometry.rig import Rig

if TYPE_CHECKING:
    from SSRKDCore.networks.model_folder import Model
    from SSRKDCore.radiographs.radiograph import Radiograph
    from SSRKDCore.reconstruction.pipeline import Reconstruction

Array = NDArray[np.float64]

DEFAULT_ROUNDS = 3
DEFAULT_RESOLUTION = 96
# Of a round's progress, where the network's own bones may still have to decide after the shape model.
_BY_SHAPE = 0.8


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
    made in the last round, which takes the longer by them. Parameters as in `relative_pose`; radiographs in the order of the rig's views.

    side: "right" or "left", where the bones do not show it; None: what the radiographs say.
    use_shape_model: False leaves out the model's shape prior, so that the network's own bones decide.
    """
    from SSRKDCore.geometry.calibration.shape_pose import shape_pose
    from SSRKDCore.reconstruction.pipeline import reconstruct
    from SSRKDCore.refinement.shape_prior import shape_prior_of

    if not 1 <= rounds <= 10:
        raise InputError(f"{rounds} rounds of reconstruction were asked for: use 1 to 10.")
    check_belief(rig, turn_sd, shift_sd)
    check_starts(starts)
    prior = shape_prior_of(model) if use_shape_model else None
    images = {view.name: radiograph.pixels for view, radiograph in zip(rig.views, radiographs, strict=True)}

    def estimated(current: Rig, pose: Array, last: bool, tell: Tell) -> RelativePose:
        """From a reconstruction with the rig as it is known so far, at this pose."""
        given_starts = starts if last else 0

        def found(refine: bool, told: Tell) -> Reconstruction:
            return reconstruct(radiographs, current, model, resolution, device, progress=told, cancelled=cancelled,
                               check_view_order=False, refine=refine)  # fmt: skip

        if prior is not None:
            first, tell = part(tell, 0.0, _BY_SHAPE), part(tell, _BY_SHAPE, 1.0)
            seen = found(False, part(first, 0.0, 0.4))
            shown = seen.side or side or seen.declared_side
            belief = turn_sd, shift_sd, pose
            by_shape = None
            if shown is not None:
                by_shape = shape_pose(
                    seen.surfaces, radiographs, rig, shown, prior, *belief, given_starts, seed, cancelled,
                    part(first, 0.4, 1.0),
                )  # fmt: skip
            if by_shape is not None:
                check_estimate(by_shape, height_limit_mm, last)
                return by_shape
        seen = found(True, part(tell, 0.0, 0.6))
        return relative_pose(
            seen.surfaces, images, rig, turn_sd, shift_sd, False, given_starts, seed, height_limit_mm, pose,
            part(tell, 0.6, 1.0), cancelled, last,
        )  # fmt: skip

    tell = stoppable(progress, cancelled)
    # Restarts make the last round about as much longer as there are of them beside the five other tasks of a round.
    last_share = (1.0 + starts / 5.0) / (rounds + starts / 5.0)
    begins = [*np.linspace(0.0, 1.0 - last_share, rounds).tolist(), 1.0]
    result = estimated(rig, np.zeros(6), rounds == 1, part(tell, 0.0, begins[1]))
    for index in range(1, rounds):
        last = index == rounds - 1
        result = estimated(result.rig, result.pose, last, part(tell, begins[index], begins[index + 1]))
    return result

"""The relative pose and the reconstruction improve each other: reconstruct, move the second view, reconstruct again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.calibration.relative_pose import (
    DEFAULT_SHIFT_SD,
    DEFAULT_TURN_SD,
    HEIGHT_LIMIT_MM,
    RelativePose,
    relative_pose,
)
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
) -> RelativePose:
    """The pose of the second view from the network's own reconstruction, renewed with each better pose.

    The belief about the pose stays centred on `rig` in all rounds: what the images do not tell does not drift away. Restarts are
    made in the last round. Parameters as in `relative_pose`; radiographs in the order of the rig's views.
    """
    from SSRKDCore.reconstruction.pipeline import reconstruct

    if not 1 <= rounds <= 10:
        raise InputError(f"{rounds} rounds of reconstruction were asked for: use 1 to 10.")
    images = {view.name: radiograph.pixels for view, radiograph in zip(rig.views, radiographs, strict=True)}
    current, pose = rig, None
    for index in range(rounds):
        last = index == rounds - 1

        def tell(fraction: float, words: str, index: int = index) -> None:
            if progress is not None:
                progress((index + fraction) / rounds, words)

        def fitting(fraction: float, words: str, tell: Callable[[float, str], None] = tell) -> None:
            tell(0.4 + 0.6 * fraction, words)

        tell(0.0, "reconstructing")
        found = reconstruct(
            radiographs,
            current,
            model,
            resolution=resolution,
            device=device,
            cancelled=cancelled,
            check_view_order=False,
        )
        result = relative_pose(
            found.surfaces,
            images,
            rig,
            turn_sd,
            shift_sd,
            False,
            starts if last else 0,
            seed,
            height_limit_mm,
            pose,
            fitting,
            cancelled,
            last,
        )
        current, pose = result.rig, result.pose
    return result

"""An estimated pose of a second view: what it is, how well it is known, and when it is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.calibration.image_consistency import Consistency, consistency, contradiction, unconfirmed
from SSRKDCore.geometry.calibration.magnification import COVERAGE_FACTOR
from SSRKDCore.geometry.calibration.pose_edges import PoseEdges, PoseQuality
from SSRKDCore.geometry.calibration.pose_parameters import POSE_NAMES, moved_view
from SSRKDCore.geometry.calibration.slice_alignment import aligned_pose
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

DEFAULT_TURN_SD = 3.0
DEFAULT_SHIFT_SD = 8.0
#: A direction keeps more than this share of its prior width: the images do not tell it.
UNKNOWN_SHARE = 0.7
#: The height of the second view (along its rows) is what misplaces joint lines; beyond this (95 %, mm) the pose is refused.
HEIGHT_LIMIT_MM = 3.0
#: How many times larger errors are than the least-squares problem alone states, by where the bones' shape comes from: fitted by
#: `pair_study` to some knees and checked on others (docs/measured/calibration). So few knees fit it that it is only ever raised.
WIDENING = {"known": 3.5, "reconstructed": 3.5, "shape_model": 2.0}
_LEAST_MATCHED = 0.4
# Outlines of a knee on noise reach 0.05 to 0.08 after the fit, on its own images 0.2 to 0.4.
_LEAST_BETTER = 0.13


@dataclass(frozen=True)
class RelativePose:
    """The second view's pose as estimated, against the rig's.

    Attributes
    ----------
    rig: with the second view moved.
    pose: (6,) POSE_NAMES.
    covariance: (6, 6), from the least-squares problem, bones marginalised, from how far restarts disagree, and from slices.
    start_spread: (6,) standard deviation over the restarts that fitted about as well.
    prior_sd: (6,).
    quality: how bones and pose agree with the images, before and after.
    surfaces: the bones as fitted.
    outline_pose: (6,) by outlines alone. slices: (6, 6) what slices through both sources add (see `slice_alignment`), an inverse
        covariance; zeros where they tell nothing.
    information: (P, P) inverse covariance of all parameters by outlines alone, before widening. parameter_sd: (P,) of their prior.
    consistency: what the images say of each other's scale and height with the moved view.
    bones: where the bones' shape comes from: "known" (a CT), "reconstructed" (the network's own) or "shape_model" (the most probable knee
        that fits the edges).
    """

    rig: Rig
    pose: Array
    covariance: Array
    start_spread: Array
    prior_sd: Array
    quality: PoseQuality
    surfaces: Mapping[str, Surface]
    outline_pose: Array
    slices: Array
    information: Array
    parameter_sd: Array
    consistency: Consistency
    bones: str

    @property
    def standard_uncertainty(self) -> Array:
        """(6,)."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def unknown(self) -> list[str]:
        """Names of the directions that the images do not tell."""
        share = self.standard_uncertainty / self.prior_sd
        return [name for name, value in zip(POSE_NAMES, share, strict=True) if value > UNKNOWN_SHARE]

    @property
    def weakest(self) -> dict[str, float]:
        """The combination of directions that the images tell least, as parts of a unit vector in prior widths."""
        whitened = self.covariance / np.outer(self.prior_sd, self.prior_sd)
        vector = np.linalg.eigh(whitened)[1][:, -1]
        vector = vector * np.sign(vector[np.argmax(np.abs(vector))])
        return {name: float(value) for name, value in zip(POSE_NAMES, vector, strict=True)}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        sd = self.standard_uncertainty
        return {
            "pose": {
                name: {
                    "value": float(self.pose[i]),
                    "standard_uncertainty": float(sd[i]),
                    "assumed_standard_deviation": float(self.prior_sd[i]),
                    "spread_of_restarts": float(self.start_spread[i]),
                    "from_the_images": name not in self.unknown,
                    "by_outlines_alone": float(self.outline_pose[i]),
                }
                for i, name in enumerate(POSE_NAMES)
            },
            "weakest_direction": self.weakest,
            "outline_distance_mm": {
                "before": list(self.quality.outline_mm[0]),
                "after": list(self.quality.outline_mm[1]),
            },
            "tangency_mismatch_mm": {"before": self.quality.tangency_mm[0], "after": self.quality.tangency_mm[1]},
            "matched_share": self.quality.matched,
            "better_than_chance": self.quality.better_than_chance,
            "image_consistency": asdict(self.consistency),
            "bones": self.bones,
        }


def pose_covariance(information: Array, parameter_sd: Array, widening: float) -> Array:
    """(6, 6) of the pose, everything else marginalised.

    information: (P, P) by the images alone. parameter_sd: (P,) of the prior. widening: how many times larger errors of the images'
        part are than that says.
    """
    prior = np.diag(1 / parameter_sd**2)
    return np.asarray(np.linalg.inv(information / widening**2 + prior)[:6, :6], dtype=np.float64)


@dataclass(frozen=True)
class OutlineFit:
    """What a fit of outlines found.

    Attributes
    ----------
    pose: (6,) POSE_NAMES. spread: (6,) standard deviation over the restarts that fitted about as well.
    information, parameter_sd: as of `RelativePose`.
    before, after: the bones as they were and as fitted, LPS mm. table: edges of their meshes, see `mesh_edge_table`.
    bones: as of `RelativePose`.
    """

    pose: Array
    spread: Array
    information: Array
    parameter_sd: Array
    before: Mapping[str, Surface]
    after: Mapping[str, Surface]
    table: Mapping[str, NDArray[np.int64]]
    bones: str


def estimate_of(
    fit: OutlineFit,
    images: Mapping[str, NDArray[np.floating]],
    rig: Rig,
    edges: PoseEdges,
    progress: Callable[[float], None] = lambda fraction: None,
) -> RelativePose:
    """The estimate that outlines lead to, made better by slices through both sources.

    images: view name -> line integrals [row, column]. rig: where the second view is believed to be. edges: of these images and this rig.
    progress: receives a fraction 0..1.
    """
    covariance = pose_covariance(fit.information, fit.parameter_sd, WIDENING[fit.bones]) + np.diag(fit.spread**2)
    pose, slices = aligned_pose(
        [images[view.name] for view in rig.views], rig, fit.pose, covariance, lambda done: progress(0.9 * done)
    )
    progress(0.9)
    view = moved_view(rig, pose)
    moved = Rig((rig.views[0], view), rig.field_of_view, dict(rig.provenance))
    return RelativePose(
        moved,
        pose,
        with_slices(covariance, slices),
        fit.spread,
        fit.parameter_sd[:6],
        edges.quality(fit.before, fit.after, fit.table, view),
        fit.after,
        fit.pose,
        slices,
        fit.information,
        fit.parameter_sd,
        consistency(images, moved),
        fit.bones,
    )


def with_slices(covariance: Array, slices: Array) -> Array:
    """(6, 6) covariance of the estimate by outlines together with what slices add."""
    return np.asarray(np.linalg.inv(np.linalg.inv(covariance) + slices), dtype=np.float64)


def best_of_restarts(poses: Sequence[Array], costs: Sequence[float]) -> tuple[int, Array]:
    """Which of several fits is the most probable, and the standard deviations (6,) of those that are about as good.

    poses: (6,) each. costs: twice the negative logarithms of the posterior.
    """
    best = int(np.argmin(costs))
    # As good: within what the restarts' costs differ by when they end at one place.
    limit = costs[best] + max(2.0, 0.02 * costs[best])
    good = [pose[:6] for pose, cost in zip(poses, costs, strict=True) if cost <= limit]
    return best, np.std(np.array(good), axis=0) if len(good) > 1 else np.zeros(6)


def check_belief(rig: Rig, turn_sd: float, shift_sd: float) -> None:
    """Raises InputError for a rig without two views, and for a belief (standard deviations, degrees and mm) too wide to search in."""
    if len(rig.views) != 2:
        raise InputError(f"A relative pose is between two views, and the rig has {len(rig.views)}: give two.")
    if not (0 < turn_sd <= 15 and 0 < shift_sd <= 60):
        raise InputError("The assumed pose must be known to 15 degrees and 60 mm: give smaller standard deviations.")


def check_starts(starts: int) -> None:
    """Raises InputError for a number of restarts below none."""
    if starts < 0:
        raise InputError(f"{starts} restarts were asked for: give 0 or more.")


def check_estimate(found: RelativePose, height_limit_mm: float, last: bool) -> None:
    """Raises InputError when outlines do not find edges or the height stays too uncertain; for the last of several estimates also when the
    images contradict it, or cannot confirm one whose bones come from these very images."""
    quality = found.quality
    if quality.matched < _LEAST_MATCHED or quality.better_than_chance < _LEAST_BETTER:
        raise InputError(
            f"The bones' outlines do not lie on edges of the images ({100 * quality.better_than_chance:.0f} % better than chance), "
            "so the pose between the two radiographs cannot be known from them: calibrate with a ball or an object."
        )
    height = COVERAGE_FACTOR * float(found.standard_uncertainty[5])
    if height > height_limit_mm:
        raise InputError(
            f"The images leave the second view's height open by {height:.1f} mm (95 %), more than {height_limit_mm:g} mm: "
            "calibrate with a ball or an object, or accept more with --height-limit."
        )
    words = contradiction(found.consistency)
    if words is None and found.bones != "known":
        words = unconfirmed(found.consistency)
    if last and words is not None:
        raise InputError(words)

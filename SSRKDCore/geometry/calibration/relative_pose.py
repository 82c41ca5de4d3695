"""Where the second radiograph was taken relative to the first, from the bones themselves.

Two radiographs taken one after the other share no frame. The bones do: the outlines of one set of surfaces must fall on the bone
edges of both images. The second view's pose, the knee's place, and a small affine error of each bone (so that what the
reconstruction got wrong is not taken for a pose) are estimated together by Gauss-Newton steps on the distances from projected contours
to edges along their normals, and on the heights of frontier points (see `epipolar_tangency`), with a prior on everything: a bundle
adjustment with contours in place of points.

What the images cannot tell keeps its prior: the estimate stays near what the rig said, and the uncertainty says so. Shifts along the
beam change only the magnification (0.1 % a mm), and shifts along the other view's beam only that of the other view.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.geometry.calibration.epipolar_tangency import FrontierPoints, frontier_points
from SSRKDCore.geometry.calibration.magnification import COVERAGE_FACTOR
from SSRKDCore.geometry.calibration.outline_edges import OutlineEdges, mesh_edge_table, outline_edges
from SSRKDCore.geometry.calibration.pose_parameters import POSE_NAMES, PoseProblem
from SSRKDCore.geometry.calibration.slice_profiles import ProfileMatch, profile_match
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.surface import Surface

if TYPE_CHECKING:
    from SSRKDCore.trust.view_scales import ScaleDisagreement

Array = NDArray[np.float64]

DEFAULT_TURN_SD = 3.0
DEFAULT_SHIFT_SD = 8.0
#: A direction keeps more than this share of its prior width: the images do not tell it.
UNKNOWN_SHARE = 0.7
#: The height of the second view (along its rows) is what misplaces joint lines; beyond this (95 %, mm) the pose is refused.
HEIGHT_LIMIT_MM = 3.0
_LEAST_MATCHED = 0.4
# Outlines of a knee on noise reach 0.05 to 0.08 after the fit, on its own images 0.2 to 0.4.
_LEAST_BETTER = 0.13
_ITERATIONS = 12
_CONVERGED_MM = 0.02
_ROBUST = 2.0
# Slices through both sources that weaken the two images differently, or look different there, contradict the pose: by so much scale (%) or
# height (mm), the limits of the trust light's red, where profiles correlate well enough to say so, and where the network can tell.
_CONTRADICTION_PERCENT, _CONTRADICTION_MM, _LEAST_CORRELATION = 3.0, 3.0, 0.6
# Neighbouring contour points share their errors: about one in this many tells something new.
_DEPENDENT_POINTS = 20.0
#: How many times larger errors are than the least-squares problem alone states, with known and with reconstructed bones: fitted by
#: `pair_study` to some synthetic knees and checked on others (docs/measured/calibration). So few knees fit it that it is only ever raised.
WIDENING = {"known": 3.5, "reconstructed": 3.5}
# How much less outlines count that were reconstructed from the same images.
_OWN_OUTLINES = 10.0
# Standard deviation of a frontier point's height over that of a contour point.
_FRONTIER_NOISE = 0.8


@dataclass(frozen=True)
class _Stage:
    """Scale of the edges (mm), how far they may lie (mm), standard deviation of a contour point (mm)."""

    blur_mm: float
    reach_mm: float
    noise_mm: float


_COARSE = _Stage(2.0, 14.0, 3.0)
_FINE = (_Stage(1.5, 8.0, 1.5), _Stage(0.8, 4.0, 0.8))


@dataclass(frozen=True)
class Consistency:
    """What two images say of each other's scale and height in a rig, whatever the bones are; None where they cannot tell.

    profiles: of slices' line integrals, see `slice_profiles`, which turns of a view disturb too. rows: of how slices look, see
    `trust.view_scales`, which images for a screen tell as well.
    """

    profiles: ProfileMatch | None
    rows: ScaleDisagreement | None


@dataclass(frozen=True)
class RelativePose:
    """The second view's pose as estimated, against the rig's.

    Attributes
    ----------
    rig: with the second view moved.
    pose: (6,) POSE_NAMES.
    covariance: (6, 6), from the least-squares problem, bones marginalised, and from how far restarts disagree.
    start_spread: (6,) standard deviation over the restarts that fitted about as well.
    prior_sd: (6,).
    outline_mm: mean distance of contours from edges (first, second view), before and after.
    matched: share of contour points that found an edge, after.
    better_than_chance: 0..1, by how much smaller the misfit is than that of the same outlines on the images turned upside down.
    tangency_mm: root mean square mismatch of the frontier points' heights, before and after; NaN where none was seen.
    surfaces: the bones as fitted.
    information: (P, P) inverse covariance of all parameters by the images alone, before widening. parameter_sd: (P,) of their prior.
    consistency: what the images say of each other's scale and height with the moved view.
    """

    rig: Rig
    pose: Array
    covariance: Array
    start_spread: Array
    prior_sd: Array
    outline_mm: tuple[tuple[float, float], tuple[float, float]]
    matched: float
    better_than_chance: float
    tangency_mm: tuple[float, float]
    surfaces: Mapping[str, Surface]
    information: Array
    parameter_sd: Array
    consistency: Consistency

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
                }
                for i, name in enumerate(POSE_NAMES)
            },
            "weakest_direction": self.weakest,
            "outline_distance_mm": {"before": list(self.outline_mm[0]), "after": list(self.outline_mm[1])},
            "tangency_mismatch_mm": {"before": self.tangency_mm[0], "after": self.tangency_mm[1]},
            "matched_share": self.matched,
            "better_than_chance": self.better_than_chance,
            "image_consistency": None if self.consistency is None else asdict(self.consistency),
        }


def pose_covariance(information: Array, parameter_sd: Array, widening: float) -> Array:
    """(6, 6) of the pose, everything else marginalised.

    information: (P, P) by the images alone. parameter_sd: (P,) of the prior. widening: how many times larger errors of the images'
        part are than that says.
    """
    prior = np.diag(1 / parameter_sd**2)
    return np.asarray(np.linalg.inv(information / widening**2 + prior)[:6, :6], dtype=np.float64)


def relative_pose(
    surfaces: Mapping[str, Surface],
    images: Mapping[str, NDArray[np.floating]],
    rig: Rig,
    turn_sd: float = DEFAULT_TURN_SD,
    shift_sd: float = DEFAULT_SHIFT_SD,
    bones_known: bool = True,
    starts: int = 4,
    seed: int = 0,
    height_limit_mm: float = HEIGHT_LIMIT_MM,
    begin: NDArray[np.floating] | None = None,
    progress: Callable[[float, str], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    last: bool = True,
) -> RelativePose:
    """Estimate the pose of the rig's second view; the first one stays.

    Parameters
    ----------
    surfaces: bone name -> surface, LPS mm, outward winding, such as a network reconstructs with the rig as it is.
    images: view name -> line integrals [row, column].
    rig: two views; where the second one is believed to be.
    turn_sd, shift_sd: how well that is believed, standard deviations in degrees and mm.
    bones_known: the surfaces come from elsewhere (a CT); False: from these very images with this very rig. A network bends the bones so
        that their outlines fit even a wrong rig, so that these outlines then count a tenth, and frontier points decide.
    starts: from how many poses drawn from that belief the fit is started as well as from `begin`.
    height_limit_mm: the pose is refused when its height is less certain (95 %).
    begin: (6,) pose to start from, POSE_NAMES; None starts where the rig has the view.
    last: False where a better pose is still to come, so that images that contradict this one, or cannot confirm it, are no reason to
        refuse it.

    Raises InputError when the outlines do not find edges, the height stays too uncertain, the images contradict the pose, or they cannot
    confirm one that bones reconstructed from them led to; Cancelled.
    """
    if len(rig.views) != 2:
        raise InputError(f"A relative pose is between two views, and the rig has {len(rig.views)}: give two.")
    if not (0 < turn_sd <= 15 and 0 < shift_sd <= 60):
        raise InputError("The assumed pose must be known to 15 degrees and 60 mm: give smaller standard deviations.")
    present = {name: surfaces[name] for name in BONE_NAMES if name in surfaces and not surfaces[name].is_empty}
    if not present:
        raise InputError("There are no bones to compare with the images: reconstruct them first.")
    center = np.array(rig.field_of_view.center)
    problem = PoseProblem(rig.views[0], rig.views[1], center, present, turn_sd, shift_sd)
    fitter = _Fitter(problem, images, rig, _DEPENDENT_POINTS * (1.0 if bones_known else _OWN_OUTLINES))
    generator = np.random.default_rng(seed)
    zero = np.zeros(problem.count)
    begins = [zero.copy()]
    if begin is not None:
        begins[0][:6] = begin
    for _ in range(starts):
        drawn = zero.copy()
        drawn[:6] = generator.normal(0.0, problem.prior_sd[:6])
        begins.append(drawn)
    solutions = []
    for index, begin in enumerate(begins):
        if cancelled is not None and cancelled():
            raise Cancelled("The calibration was cancelled.")
        if progress is not None:
            progress(index / len(begins), "matching outlines in both views")
        solutions.append(fitter.solve(begin))
    costs = np.array([cost for _, cost in solutions])
    best = int(costs.argmin())
    # As good: within what the restarts' costs differ by when they end at one place.
    good = [solutions[i][0][:6] for i in np.flatnonzero(costs <= costs[best] + max(2.0, 0.02 * costs[best]))]
    spread = np.std(np.array(good), axis=0) if len(good) > 1 else np.zeros(6)
    parameters = solutions[best][0]
    information = fitter.information(parameters)
    widening = WIDENING["known" if bones_known else "reconstructed"]
    covariance = pose_covariance(information, problem.prior_sd, widening) + np.diag(spread**2)
    before, after = fitter.edges(zero, _FINE[-1]), fitter.edges(parameters, _FINE[-1])
    view = problem.moved_view(parameters)
    moved = Rig((rig.views[0], view), rig.field_of_view, dict(rig.provenance))
    result = RelativePose(
        moved,
        parameters[:6],
        covariance,
        spread,
        problem.prior_sd[:6],
        (before.mean_distances(), after.mean_distances()),
        after.matched,
        1 - fitter.misfit(parameters) / max(fitter.misfit(parameters, upside_down=True), 1e-9),
        (
            frontier_points(before, problem.fixed, problem.moving, rig.field_of_view).rms,
            frontier_points(after, problem.fixed, view, rig.field_of_view).rms,
        ),
        problem.moved_surfaces(parameters),
        information,
        problem.prior_sd,
        consistency(images, moved),
    )
    _refuse(result, height_limit_mm)
    words = contradiction(result.consistency)
    if words is None and not bones_known:
        words = unconfirmed(result.consistency)
    if last and words is not None:
        raise InputError(words)
    return result


def consistency(images: Mapping[str, NDArray[np.floating]], rig: Rig) -> Consistency:
    """What the two images of a rig say of it. Raises InputError as `scale_disagreement`."""
    from SSRKDCore.trust.view_scales import scale_disagreement

    given = [images[view.name] for view in rig.views], list(rig.views), rig.field_of_view
    return Consistency(profile_match(*given), scale_disagreement(*given))


def contradiction(found: Consistency) -> str | None:
    """The sentence that refuses a pose which the images contradict; None where they do not, or cannot tell."""
    profiles, rows = found.profiles, found.rows
    # What is said of scale and height, and beyond what it counts.
    said: list[tuple[float, float, float, float]] = []
    if profiles is not None and profiles.correlation >= _LEAST_CORRELATION:
        said.append((profiles.percent, profiles.shift_mm, _CONTRADICTION_PERCENT, _CONTRADICTION_MM))
    if rows is not None:
        limits = max(_CONTRADICTION_PERCENT, rows.known_to_percent), max(_CONTRADICTION_MM, rows.known_to_mm)
        said.append((rows.percent, rows.shift_mm, *limits))
    for percent, shift_mm, most_percent, most_mm in said:
        if abs(percent) > most_percent or abs(shift_mm) > most_mm:
            return (
                f"The two images contradict the pose that the bones' outlines led to (by {abs(percent):.1f} % in scale and "
                f"{abs(shift_mm):.1f} mm in height), so it cannot be known from them: calibrate with a ball or an object, "
                "or give known --bones."
            )
    return None


def unconfirmed(found: Consistency) -> str | None:
    """The sentence that refuses a pose which the images cannot confirm; None where they can, or contradict it.

    Only known bones hold a pose by themselves: bones that were reconstructed from the same images fit a wrong one as well.
    """
    profiles, rows = found.profiles, found.rows
    if profiles is not None and profiles.correlation >= _LEAST_CORRELATION:
        return None
    if rows is not None and rows.known_to_percent <= _CONTRADICTION_PERCENT and rows.known_to_mm <= _CONTRADICTION_MM:
        return None
    return (
        "Slices through both sources show the two images too little alike to confirm the pose that the network's bones led to, so it is "
        "not known from them: calibrate with a ball or an object, or give known --bones."
    )


def _refuse(result: RelativePose, height_limit_mm: float) -> None:
    if result.matched < _LEAST_MATCHED or result.better_than_chance < _LEAST_BETTER:
        raise InputError(
            f"The bones' outlines do not lie on edges of the images ({100 * result.better_than_chance:.0f} % better than chance), "
            "so the pose between the two radiographs cannot be known from them: calibrate with a ball or an object."
        )
    height = COVERAGE_FACTOR * float(result.standard_uncertainty[5])
    if height > height_limit_mm:
        raise InputError(
            f"The images leave the second view's height open by {height:.1f} mm (95 %), more than {height_limit_mm:g} mm: "
            "calibrate with a ball or an object, or accept more with --height-limit."
        )


class _Fitter:
    """Gauss-Newton steps on one problem, with the edges of both images at each scale."""

    def __init__(
        self, problem: PoseProblem, images: Mapping[str, NDArray[np.floating]], rig: Rig, dependent: float
    ) -> None:
        from SSRKDCore.shape_fit.silhouette_edges import EdgeImage

        self._problem, self._rig, self._dependent = problem, rig, dependent
        self._table = {name: mesh_edge_table(surface) for name, surface in problem.surfaces.items()}
        self._edges = {
            stage: [
                EdgeImage.of(images[view.name], np.ones(images[view.name].shape), view, _on_detector(stage, view, rig))
                for view in rig.views
            ]
            for stage in (_COARSE, *_FINE)
        }
        if any(image.strong <= 0 for found in self._edges.values() for image in found):
            raise InputError("A radiograph shows no edges: check the image and the rig.")

    def edges(self, parameters: Array, stage: _Stage, upside_down: bool = False) -> OutlineEdges:
        views = (self._problem.fixed, self._problem.moved_view(parameters))
        images = self._edges[stage]
        if upside_down:
            images = [replace(image, down=-image.down[::-1], across=image.across[::-1]) for image in images]
        surfaces = self._problem.moved_surfaces(parameters)
        return outline_edges(surfaces, self._table, views, images, stage.reach_mm, self._rig.field_of_view)

    def solve(self, start: Array) -> tuple[Array, float]:
        parameters = start
        for stage in (_COARSE, *_FINE):
            for _ in range(_ITERATIONS):
                normal, right, rows = self._normal(parameters, stage)
                step = np.linalg.solve(normal, right)
                parameters = parameters + step
                if len(rows) == 0 or np.abs(rows @ step).max() < _CONVERGED_MM:
                    break
        return parameters, self._cost(parameters)

    def information(self, parameters: Array) -> Array:
        """(P, P) what contours and frontier points alone tell of all parameters."""
        normal, _, _ = self._normal(parameters, _FINE[-1])
        return np.asarray(normal - np.diag(1 / self._problem.prior_sd**2), dtype=np.float64)

    def _normal(self, parameters: Array, stage: _Stage) -> tuple[Array, Array, Array]:
        found = self.edges(parameters, stage)
        rows = np.concatenate(
            [
                self._problem.rows(part.bone, part.points, part.normals, part.view == 1)
                for part in found.parts
            ]
        )  # fmt: skip
        distance, weight = found.distance, found.weight
        weight = weight / (1 + (distance / (_ROBUST * stage.noise_mm)) ** 2) / (stage.noise_mm**2 * self._dependent)
        inverse = 1 / self._problem.prior_sd**2
        normal = rows.T @ (weight[:, None] * rows) + np.diag(inverse)
        right = rows.T @ (weight * distance) - inverse * parameters
        # Frontier points hold whatever the bones' shape is, and so tie the pose alone.
        frontier = self._frontier(found, parameters)
        noise = _FRONTIER_NOISE * stage.noise_mm
        heights = self._problem.frontier_rows(frontier.points, frontier.up)
        weight = 1 / noise**2 / (1 + (frontier.mismatch / (_ROBUST * noise)) ** 2)
        normal += heights.T @ (weight[:, None] * heights)
        return normal, right + heights.T @ (weight * frontier.mismatch), rows

    def misfit(self, parameters: Array, upside_down: bool = False) -> float:
        """Robust mean square distance in mm^2 in both images, a point without an edge counted as one at the reach."""
        stage = _FINE[-1]
        found = self.edges(parameters, stage, upside_down)
        scale = _ROBUST * stage.noise_mm
        penalty = scale**2 * np.log1p((np.abs(found.distance) / scale) ** 2)
        full = scale**2 * np.log1p((stage.reach_mm / scale) ** 2)
        return float((found.weight * penalty + (1 - found.weight) * full).mean()) if len(found.weight) else float(full)

    def _cost(self, parameters: Array) -> float:
        """Twice the negative logarithm of the posterior."""
        stage = _FINE[-1]
        found = self.edges(parameters, stage)
        frontier = self._frontier(found, parameters)
        noise, scale = _FRONTIER_NOISE * stage.noise_mm, _ROBUST
        heights = scale**2 * np.log1p((frontier.mismatch / noise / scale) ** 2).sum()
        data = self.misfit(parameters) * len(found.weight) / (stage.noise_mm**2 * self._dependent)
        return float(data + heights + ((parameters / self._problem.prior_sd) ** 2).sum())

    def _frontier(self, found: OutlineEdges, parameters: Array) -> FrontierPoints:
        return frontier_points(
            found, self._problem.fixed, self._problem.moved_view(parameters), self._rig.field_of_view
        )


def _on_detector(stage: _Stage, view: Any, rig: Rig) -> float:
    return float(stage.blur_mm * view.magnification(rig.field_of_view.center))

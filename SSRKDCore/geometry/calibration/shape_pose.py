"""Where the second radiograph was taken relative to the first, from the radiographs' edges and from what knees look like.

A network bends its bones until they fit a wrong pose as well; a shape model's knee cannot (see `refinement.free_view`). The joint fit of
refinement gives a knee for the pose as it is known so far; then knee and pose are estimated together from the edges of both images alone,
with the belief about the pose and the shape model as priors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.calibration.pose_edges import FINE as FINE_EDGES
from SSRKDCore.geometry.calibration.pose_edges import PoseEdges
from SSRKDCore.geometry.calibration.pose_estimate import (
    OutlineFit,
    RelativePose,
    best_of_restarts,
    check_belief,
    check_starts,
    estimate_of,
)
from SSRKDCore.geometry.calibration.pose_parameters import moved_view, pose_axes, pose_matrix
from SSRKDCore.geometry.calibration.pose_progress import Tell, part, stoppable, with_words
from SSRKDCore.geometry.mirror import MIRROR
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.population.shape_model import KneeShapeModel
from SSRKDCore.radiographs.radiograph import Radiograph
from SSRKDCore.refinement.free_view import FreeViewFit, FreeViewSearch, ViewFreedom, fit_with_free_view
from SSRKDCore.refinement.joint_fit import WITH_EDGES, JointFit, fit_jointly
from SSRKDCore.refinement.network_bones import network_bones
from SSRKDCore.refinement.refine import MODES
from SSRKDCore.refinement.seen_images import edge_images, seen_images
from SSRKDCore.shape_fit.contour_fit import FINE
from SSRKDCore.shape_fit.contour_match import template_edges
from SSRKDCore.shape_fit.fitted_knee import FittedKnee, KneeState
from SSRKDCore.shape_fit.silhouette_edges import EdgeImage
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

_WORDS = "matching the shape model's outlines in both views"
_SEARCH = FreeViewSearch(FINE, 12, 0.02)
# Of a pose that has lost the knee, whatever was believed: degrees and mm.
_LOST = np.array([45.0] * 3 + [150.0] * 3)


def shape_pose(
    surfaces: Mapping[str, Surface],
    radiographs: Sequence[Radiograph],
    rig: Rig,
    side: str,
    prior: KneeShapeModel,
    turn_sd: float,
    shift_sd: float,
    begin: Array,
    starts: int = 0,
    seed: int = 0,
    cancelled: Callable[[], bool] | None = None,
    progress: Tell | None = None,
) -> RelativePose | None:
    """Estimate the pose of the rig's second view; None where the shape model's outlines do not lie on edges (an implant, a knee unlike
    those that it knows), so that it tells nothing.

    Parameters
    ----------
    surfaces: the network's bones by name with the second view at `begin`, LPS mm.
    radiographs: line integrals, in the order of the rig's two views.
    rig: where the second view is believed to be.
    side: "right" or "left".
    prior: shape model of right knees.
    turn_sd, shift_sd: how well that is believed, standard deviations in degrees and mm.
    begin: (6,) pose to start from, POSE_NAMES.
    starts: from how many poses drawn from the belief the fit is started as well.
    progress: receives a fraction 0..1 and words. cancelled: asked whenever progress is told.

    Raises InputError for a belief too wide to search in, or restarts that are no number of them; Cancelled.
    """
    check_belief(rig, turn_sd, shift_sd)
    check_starts(starts)
    found = {name: surface for name, surface in surfaces.items() if not surface.is_empty}
    if not found:
        return None
    tell = stoppable(progress, cancelled)
    # The joint fit, each search from a start, and the estimate take about as long.
    tasks = [part(tell, index / (starts + 3), (index + 1) / (starts + 3)) for index in range(starts + 3)]
    widths = np.array([turn_sd] * 3 + [shift_sd] * 3)
    problem = _ShapeProblem(found, radiographs, rig, side, prior, widths, begin, with_words(tasks[0], _WORDS))
    if problem.fit is None:
        return None
    generator = np.random.default_rng(seed)
    begins = [begin, *(generator.normal(0.0, problem.freedom.spread) for _ in range(starts))]
    fits = []
    for start, task in zip(begins, tasks[1:-1], strict=True):
        fitted = problem.solved(start, with_words(task, _WORDS))
        if fitted is not None:
            fits.append(fitted)
    if not fits:
        return None
    best, spread = best_of_restarts([fitted.motion for fitted in fits], [fitted.cost for fitted in fits])
    chosen = fits[best]
    images = {view.name: radiograph.pixels for view, radiograph in zip(rig.views, radiographs, strict=True)}
    found_fit = OutlineFit(
        chosen.motion,
        spread,
        chosen.information / chosen.further**2,
        chosen.spread,
        problem.surfaces(problem.fit.state),
        problem.surfaces(chosen.state),
        problem.edges,
        "shape_model",
    )
    edges = PoseEdges(images, rig, FINE_EDGES[-1])
    return estimate_of(found_fit, images, rig, edges, with_words(tasks[-1], _WORDS))


class _ShapeProblem:
    """The knee of a joint fit with the second view at `begin`, all of a right knee, and the second view's freedom about where it is
    believed to be. `fit` is None where an image shows no edges, or the shape model does not come near the network's bones."""

    def __init__(
        self,
        found: Mapping[str, Surface],
        radiographs: Sequence[Radiograph],
        rig: Rig,
        side: str,
        prior: KneeShapeModel,
        spread: Array,
        begin: Array,
        progress: Callable[[float], None],
    ) -> None:
        progress(0.0)
        self._mirrored = side == "left"
        self._names = list(found)
        current = self._as_right(Rig((rig.views[0], moved_view(rig, begin)), rig.field_of_view))
        self._field_of_view = current.field_of_view
        center = np.array(self._field_of_view.center)
        self.edges = template_edges(prior)
        self._knee = FittedKnee(prior, center, MODES)
        axes = pose_axes(rig.views[1])
        shifts = axes @ MIRROR[:3, :3] if self._mirrored else axes
        # A mirrored turn goes the other way about the mirrored axis.
        self.freedom = ViewFreedom(center, -shifts if self._mirrored else shifts, shifts, False, spread, _LOST)
        scales = {stage.blur_mm for stage in (*WITH_EDGES, *_SEARCH.stages)}
        self.fit: JointFit | None = None
        try:
            images = edge_images(seen_images(radiographs, current), scales)
        except InputError:
            return
        back = np.linalg.inv(pose_matrix(begin, axes, np.array(rig.field_of_view.center)))
        if self._mirrored:
            back = MIRROR @ back @ MIRROR
        self._images: dict[float, list[EdgeImage]] = {
            scale: [first, replace(second, view=second.view.transformed(back))]
            for scale, (first, second) in images.items()
        }
        bones = network_bones({name: self._side_changed(surface) for name, surface in found.items()})
        with suppress(InputError):
            self.fit = fit_jointly(self._knee, bones, images, self.edges, self._field_of_view, progress)

    def solved(self, begin: Array, progress: Callable[[float], None]) -> FreeViewFit | None:
        """From a pose (6,); None where the knee is lost."""
        if self.fit is None:
            return None
        return fit_with_free_view(
            self._knee,
            self.fit,
            self._names,
            self._images,
            self.edges,
            self._field_of_view,
            self.freedom,
            _SEARCH,
            begin,
            progress,
        )

    def surfaces(self, state: KneeState) -> dict[str, Surface]:
        """The bones that were found, on their own side, LPS mm."""
        fitted = self._knee.surfaces(state)
        return {name: self._side_changed(fitted[name]) for name in self._names}

    def _as_right(self, rig: Rig) -> Rig:
        return rig.transformed(MIRROR) if self._mirrored else rig

    def _side_changed(self, surface: Surface) -> Surface:
        return surface.transformed(MIRROR) if self._mirrored else surface

"""Where the network's bones contradict every knee that the shape model can be, the radiographs' edges decide alone.

A network that is asked something it has hardly been trained for (two views close to one another, say) places bones some millimetres
beside where they are seen, and a fit that believes it is held back. A knee fitted to the edges alone is then tried from where the joint
fit ended. It replaces the network's bones only where the radiographs themselves speak for it: where its outlines lie clearly better on
their edges.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.refinement.joint_fit import JointFit
from SSRKDCore.shape_fit.contour_fit import FINE, LEAST_MATCHED, contour_costs, fit_finely, judged_contours
from SSRKDCore.shape_fit.contour_match import grazed_points, mesh_edges
from SSRKDCore.shape_fit.fitted_knee import FittedKnee, KneeState
from SSRKDCore.shape_fit.silhouette_edges import EdgeImage
from SSRKDCore.surface import Surface

Indices = NDArray[np.int64]

#: Mean distance (mm) from the network's surface to the nearest knee of the shape model, above which the network is doubted. Chosen on knees
#: that the model card does not use: 0.7 to 1.0 where views were 90 degrees apart, 1.05 to 1.9 where they were 60 and less.
DOUBTED_MM = 1.0
#: By how much of the reach outlines must lie nearer to edges, on average, to say that one bone is clearly the better one.
CLEARLY = 0.1
#: Of a knee that is clearly better as a whole, a bone may be no worse than this.
_NO_WORSE = 0.02
#: The fibula, which the shape model knows least, has to be better by this.
_FIBULA = 0.05
# Outlines this near (mm) to the field of view's faces belong to the cut there.
_CUT_MM = 3.0


def fit_on_edges(
    knee: FittedKnee,
    fit: JointFit,
    images: Mapping[float, Sequence[EdgeImage]],
    edges: Mapping[str, Indices],
    field_of_view: FieldOfView,
    progress: Callable[[float], None] = lambda fraction: None,
) -> KneeState | None:
    """The knee fitted to edges alone, from where a joint fit ended, or the joint fit's own if its outlines lie nearer to edges; None where
    too few of its outlines lie on edges to believe them rather than the network.

    Parameters
    ----------
    images: EdgeImages of all views, at every scale of `contour_fit.FINE`.
    edges: of the templates, see `template_edges`.
    progress: receives a fraction 0..1.
    """
    last = FINE[-1]
    joint = judged_contours(knee, fit.state, fit.start, images[last.blur_mm], edges, field_of_view, last)
    alone = fit_finely(knee, fit.state, fit.start, images, edges, field_of_view, FINE, progress)
    better = alone if alone.cost < joint.cost else joint
    return better.state if better.matched_share >= LEAST_MATCHED else None


def outline_cost(
    surface: Surface, edges: Indices, images: Sequence[EdgeImage], field_of_view: FieldOfView
) -> float | None:
    """How far a bone's outlines lie from edges in all views, as a mean share (0..1) of the last stage's reach; None without an outline.

    surface: LPS mm. edges: (E, 2) of its mesh, see `mesh_edges`. images: at the last stage's scale.
    """
    low, high = np.array(field_of_view.bounds[0]) + _CUT_MM, np.array(field_of_view.bounds[1]) - _CUT_MM
    costs = []
    for image in images:
        points = grazed_points(surface, edges, np.array(image.view.source), field_of_view)
        inner = ((points.positions > low) & (points.positions < high)).all(axis=1)
        found = image.along_normals(points.positions[inner], points.normals[inner], FINE[-1].reach_mm)
        costs.append(contour_costs(*found, FINE[-1].reach_mm))
    every = np.concatenate(costs)
    return float(every.mean()) if len(every) else None


@dataclass(frozen=True)
class Evidence:
    """What the radiographs say of each bone, as the network saw it and as fitted to edges: `outline_cost`, by bone name."""

    network: Mapping[str, float]
    fitted: Mapping[str, float]

    @classmethod
    def of(
        cls,
        seen: Mapping[str, Surface],
        fitted: Mapping[str, Surface],
        edges: Mapping[str, Indices],
        images: Sequence[EdgeImage],
        field_of_view: FieldOfView,
    ) -> Evidence:
        """Of bones by name, both LPS mm of a right knee. edges: of the fitted bones' meshes."""
        network, other = {}, {}
        for name, surface in seen.items():
            own = outline_cost(surface, mesh_edges(surface.faces, len(surface.vertices)), images, field_of_view)
            its = outline_cost(fitted[name], edges[name], images, field_of_view)
            if own is not None and its is not None:
                network[name], other[name] = own, its
        return cls(network, other)

    @property
    def knee_is_better(self) -> bool:
        """Whether the fitted knee as a whole lies clearly better on edges than the network's."""
        gains = [self.network[name] - self.fitted[name] for name in self.network]
        return bool(gains) and float(np.mean(gains)) >= CLEARLY

    def speaks_for(self, name: str) -> bool:
        """Whether a fitted bone may replace the network's, however far it lies from it."""
        if name not in self.network:
            return False
        gain = self.network[name] - self.fitted[name]
        if name == "fibula":
            return self.knee_is_better and gain >= _FIBULA
        return gain >= CLEARLY or (self.knee_is_better and gain >= -_NO_WORSE)

"""Refinement of a network's bones with a shape prior: the same knee, with outlines on the radiographs' edges and bone-like surfaces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.mirror import MIRROR
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.grid import Grid
from SSRKDCore.population.shape_model import KneeShapeModel
from SSRKDCore.radiographs.radiograph import Radiograph
from SSRKDCore.reconstruction.field_evaluation import SparseOccupancy
from SSRKDCore.refinement.anchor_features import PlacedBone
from SSRKDCore.refinement.doubted_network import DOUBTED_MM, Evidence, fit_on_edges
from SSRKDCore.refinement.joint_fit import WITH_EDGES, chosen_vertices, fit_jointly
from SSRKDCore.refinement.local_deformation import deformed
from SSRKDCore.refinement.network_bones import NetworkBone, network_bones
from SSRKDCore.refinement.refined_volume import RefinedBone, refined_occupancy
from SSRKDCore.refinement.seen_images import edge_images, seen_images
from SSRKDCore.refinement.surface_correction import SurfaceCorrection
from SSRKDCore.refinement.view_motion import ViewMotion, view_motion, view_motions
from SSRKDCore.shape_fit.contour_fit import FINE
from SSRKDCore.shape_fit.contour_match import template_edges
from SSRKDCore.shape_fit.fitted_knee import FittedKnee
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

#: Of the shape model that may vary.
MODES = 40
#: A bone that refinement would move further than this on average (mm) is not a knee as the shape model knows them.
LARGEST_MEAN_MOVE_MM = 3.0
#: A bone of which less of the network's surface than this finds the model's beside it is not the model's either.
LEAST_SHARE_NEAR = 0.75
_NEAR_MM = 6.0
#: The fibula takes part in the fit and stays as the network saw it, unless the radiographs speak against the network's: too few are in the
#: shape model, which made the fibulae of legs that it had not seen worse.
REFINED = ("patella", "femur", "tibia")
# Shafts run along z: where each bone with one goes on, away from the joint.
_AWAY = {"femur": 1.0, "tibia": -1.0, "fibula": -1.0}


@dataclass(frozen=True)
class Refinement:
    """Refined bones.

    Attributes
    ----------
    occupancy: labels and depths on the grid, of which surfaces are made.
    moved_mm: bone -> mean distance of the network's surface from the refined one.
    kept: bone -> why the network's own bone stays, in words.
    overruled: bones that are fitted to the radiographs' edges, because the network's lie beside these (see `doubted_network`).
    corrected_mm: bone -> by how much its correction moved it on average, in the field of view; those that are corrected.
    motion: how the second of two views seems to be turned, beyond what the rig says; None where edges and shape model cannot tell.
    pair_motions: of three or more views, likewise: (name of the one that stays, name of the other) -> how the other seems to be turned.
    """

    occupancy: SparseOccupancy
    moved_mm: Mapping[str, float]
    kept: Mapping[str, str]
    overruled: tuple[str, ...] = ()
    corrected_mm: Mapping[str, float] = field(default_factory=dict)
    motion: ViewMotion | None = None
    pair_motions: Mapping[tuple[str, str], ViewMotion] = field(default_factory=dict)


def refine(
    surfaces: Mapping[str, Surface],
    radiographs: Sequence[Radiograph],
    rig: Rig,
    side: str,
    prior: KneeShapeModel,
    grid: Grid,
    progress: Callable[[float], None] = lambda fraction: None,
    correction: SurfaceCorrection | None = None,
    placed: Callable[[str, PlacedBone], None] | None = None,
) -> Refinement:
    """Refine what a network saw.

    Parameters
    ----------
    surfaces: the network's bones by name, closed, LPS mm; empty ones stay empty.
    radiographs: line integrals, one a view of the rig, in its order.
    rig: the views and the field of view, LPS mm.
    side: "right" or "left".
    prior: shape model of right knees.
    grid: of the label volume, LPS mm.
    progress: receives a fraction 0..1.
    correction: moves the deformed bones by what this model is known to get wrong; None leaves it out.
    placed: receives each bone by name before its correction, of a right knee; those too that refinement leaves as the network saw them.

    Raises InputError where the radiographs show no edges or the shape model does not come near the network's bones: nothing is refined.
    """
    found = {name: surface for name, surface in surfaces.items() if not surface.is_empty}
    mirrored = side == "left"
    right_rig = rig.transformed(MIRROR) if mirrored else rig
    bones = network_bones({n: s.transformed(MIRROR) if mirrored else s for n, s in found.items()})
    knee = FittedKnee(prior, np.array(right_rig.field_of_view.center), MODES)
    seen = seen_images(radiographs, right_rig)
    images = edge_images(seen, {stage.blur_mm for stage in (*WITH_EDGES, *FINE)})
    edges = template_edges(prior)
    field_of_view = right_rig.field_of_view
    fit = fit_jointly(knee, bones, images, edges, field_of_view, lambda done: progress(0.4 * done))
    given = (knee, fit, list(bones), images, edges, field_of_view)
    motion, of_pairs = view_motion(*given), {}
    if len(rig.views) > 2:
        names = [view.name for view in rig.views]
        of_pairs = {(names[i], names[j]): found for (i, j), found in view_motions(*given).items()}
    fitted, chosen = knee.surfaces(fit.state), chosen_vertices(knee)
    finest = images[WITH_EDGES[-1].blur_mm]
    evidence = None
    if fit.network_distance_mm > DOUBTED_MM:
        on_edges = fit_on_edges(knee, fit, images, edges, field_of_view, lambda done: progress(0.4 + 0.2 * done))
        if on_edges is not None:
            fitted = knee.surfaces(on_edges)
            right = {n: s.transformed(MIRROR) if mirrored else s for n, s in found.items()}
            evidence = Evidence.of(right, fitted, edges, finest, field_of_view)
    volumes: dict[str, RefinedBone] = {}
    moved: dict[str, float] = {}
    kept: dict[str, str] = {}
    overruled = []
    corrected: dict[str, float] = {}
    for index, name in enumerate(BONE_NAMES):
        progress(0.6 + 0.08 * index)
        if name not in bones:
            continue
        surface = fitted[name]
        if name in REFINED or placed is not None:
            surface = deformed(surface, chosen[name], edges[name], bones[name], finest, field_of_view)
            bone = PlacedBone(surface, fitted[name], bones[name], seen, field_of_view)
            if placed is not None:
                placed(name, bone)
            if correction is not None:
                surface = correction.corrected(name, bone)
                if name in correction.anchors:
                    corrected[name] = _mean_move(bone.surface, surface, field_of_view)
        move, reason = _judged(surface, bones[name])
        doubted = evidence is not None and (bool(reason) or evidence.knee_is_better)
        if doubted and evidence is not None and evidence.speaks_for(name):
            # What the radiographs contradict is no data for the bone that replaces it.
            surface = deformed(fitted[name], chosen[name], edges[name], None, finest, field_of_view)
            if np.isfinite(surface.vertices).all():
                overruled.append(name)
                corrected.pop(name, None)
                move, reason = _mean_gap(surface, bones[name]), ""
        if name in REFINED or name in overruled:
            moved[name] = move
            if reason:
                kept[name] = f"The {name} is the network's own, without refinement: {reason}."
        taken = name in moved and name not in kept
        refined = (surface.transformed(MIRROR) if mirrored else surface) if taken else found[name]
        volumes[name] = _ended(name, refined, found[name])
    taken_over = {name: value for name, value in corrected.items() if name in moved and name not in kept}
    return Refinement(refined_occupancy(volumes, grid), moved, kept, tuple(overruled), taken_over, motion, of_pairs)


def _mean_move(before: Surface, after: Surface, field_of_view: FieldOfView) -> float:
    """Mean distance (mm) between the same vertices of both, those in the field of view; 0 where none is."""
    low, high = field_of_view.bounds
    inside = ((before.vertices >= low) & (before.vertices <= high)).all(axis=1)
    moves = np.linalg.norm(after.vertices[inside] - before.vertices[inside], axis=1)
    return float(moves.mean()) if len(moves) else 0.0


def _mean_gap(surface: Surface, bone: NetworkBone) -> float:
    """Mean distance (mm) of the network's surface from the nearest point of the refined one, however far."""
    gap, _ = NetworkBone.of(surface).tree.query(bone.vertices[:: max(1, len(bone.vertices) // 4000)])
    return float(gap.mean())


def _judged(surface: Surface, bone: NetworkBone) -> tuple[float, str]:
    """Mean distance (mm) of the network's surface from the refined one, and why it should not be used, or no words."""
    refined = NetworkBone.of(surface)
    sample = bone.vertices[:: max(1, len(bone.vertices) // 4000)]
    gap, nearest = refined.tree.query(sample)
    near = gap < _NEAR_MM
    # Along the normal: the vertices next to one another are some millimetres apart.
    distance = np.abs(np.einsum("ij,ij->i", sample - refined.vertices[nearest], refined.normals[nearest]))
    mean = float(distance[near].mean()) if near.any() else float("inf")
    if not np.isfinite(surface.vertices).all() or mean > LARGEST_MEAN_MOVE_MM:
        return mean, f"the shape model would move it by {mean:.1f} mm on average"
    if near.mean() < LEAST_SHARE_NEAR:
        return mean, f"{100 * (1 - near.mean()):.0f} % of it is not shaped like the shape model's knees"
    return mean, ""


def _ended(name: str, refined: Surface, seen: Surface) -> RefinedBone:
    """The refined bone up to where the network saw it end: a shape model would go on with shafts that a specimen lacks."""
    away = _AWAY.get(name)
    if away is None:
        return RefinedBone(refined, np.array([0.0, 0.0, 1.0]), float("inf"))
    return RefinedBone(refined, np.array([0.0, 0.0, away]), float((away * seen.vertices[:, 2]).max()))

"""What is known of the error at each place of a reconstructed surface without the truth.

The surface is where a bone's logit equals the largest other one. The margin between them, over its slope along the normal, is a length:
how far the level would move if the margin changed by one. Small changes of what is uncertain anyway, the geometry of the room and the
exposure of the images, move the level by such lengths; the spread of these is test-time augmentation (Wang et al., "Aleatoric
uncertainty estimation with test-time augmentation for medical image segmentation", Neurocomputing 338, 2019) at the surface, in mm.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from SSRKDCore.anatomy import BONES
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.view import View
from SSRKDCore.networks.xray_network import XrayReconstructionNetwork
from SSRKDCore.population.rigid_transforms import rotation_about, translation
from SSRKDCore.reconstruction.encoding import encode_images
from SSRKDCore.reconstruction.feature_tables import FeatureTables
from SSRKDCore.reconstruction.network_input import NetworkInput
from SSRKDCore.reconstruction.sampler import PointSampler, logits_of_each
from SSRKDCore.surface import Surface
from SSRKDCore.vertex_normals import vertex_normals

Array = NDArray[np.float64]

#: mm each: margin over slope at the surface; 1 / slope; spread under changed geometry; spread under changed images; distance of the
#: bone's outlines to the image edges; nearness to a face of the field of view.
TERM_NAMES = ("level", "softness", "geometry", "exposure", "outline", "rim")
SAMPLES_A_BONE = 500
_STEP_MM = 0.75
LARGEST_MM = 10.0
# A margin that hardly changes over a millimetre has no level to speak of.
_LEAST_SLOPE = 0.05
# What a calibrated room leaves open, one standard deviation: position (mm) and turn (degrees) of each view, and magnification.
_SHIFT_MM = 0.7
_TURN_DEGREES = 0.4
_SCALE = 0.006
_GEOMETRY_CHANGES = 4
_NOISE = 0.06
_GAMMAS = (0.85, 1.18)
_RIM_MM = 12.0


def sampled_vertices(surface: Surface, count: int = SAMPLES_A_BONE) -> NDArray[np.int64]:
    """Indices of at most `count` vertices, evenly through the surface."""
    total = len(surface.vertices)
    return np.unique(np.linspace(0, total - 1, min(count, total)).astype(np.int64)) if total else np.zeros(0, np.int64)


def vertex_terms(
    network: XrayReconstructionNetwork,
    given: NetworkInput,
    features: list[Tensor],
    field_of_view: FieldOfView,
    surfaces: Mapping[str, Surface],
    vertices: Mapping[str, NDArray[np.int64]],
    outlines: Mapping[str, float],
    seed: int = 0,
    needed: Mapping[str, Collection[str]] | None = None,
    normals: Mapping[str, Array] | None = None,
    tables: FeatureTables | None = None,
) -> dict[str, Array]:
    """(N, 6) of TERM_NAMES by bone at the given vertices.

    Parameters
    ----------
    network, given, features: on one device, as they made the reconstruction.
    field_of_view: the cube.
    surfaces, vertices: by bone; a bone without vertices is left out.
    outlines: mean outline distance in mm by bone; a bone without one takes the largest value.
    seed: of the changes, which are the same for every case.
    needed: names of the terms that are asked for, by bone; None asks for all. The spreads, which take most of the time, are 0 where they
        are not.
    normals, tables: (V, 3) of `vertex_normals` by bone, and the tables of these feature maps, for whoever has them; None computes them.
    """
    bones = [bone for bone in BONES if len(vertices.get(bone.name, ()))]
    if not bones:
        return {}
    points = [surfaces[bone.name].vertices[vertices[bone.name]] for bone in bones]
    of_all = normals or {
        bone.name: vertex_normals(surfaces[bone.name].vertices, surfaces[bone.name].faces) for bone in bones
    }
    ends = np.cumsum([len(part) for part in points])[:-1]
    everything = np.concatenate(points)
    direction = np.concatenate([of_all[bone.name][vertices[bone.name]] for bone in bones])
    labels = np.concatenate([np.full(len(part), bone.label) for part, bone in zip(points, bones, strict=True)])

    def asked(term: str) -> NDArray[np.int64]:
        """Indices of the points whose bone is asked for a term."""
        wanted = [needed is None or term in needed.get(bone.name, ()) for bone in bones]
        return np.flatnonzero(np.repeat(wanted, [len(part) for part in points]))

    sampler = PointSampler(network, features, given.views, field_of_view, tables=tables)
    # A vertex's places side by side: they read the same pixels.
    around = np.stack([everything + step * direction for step in (0.0, _STEP_MM, -_STEP_MM)], axis=1).reshape(-1, 3)
    here, outside, inside = _margins(sampler, around, np.repeat(labels, 3)).reshape(-1, 3).T
    slope = np.maximum((inside - outside) / (2 * _STEP_MM), _LEAST_SLOPE)
    generator = np.random.default_rng(seed)
    at = asked("geometry")
    changed_views = [[_moved(view, field_of_view, generator) for view in given.views] for _ in range(_GEOMETRY_CHANGES)]
    moved: list[Array] = []
    if at.size:
        samplers = [
            PointSampler(network, features, views, field_of_view, tables=sampler.tables) for views in changed_views
        ]
        answers = logits_of_each(samplers, everything[at])
        moved = [_margins_of(logits, labels[at]) for logits in answers]
    geometry = _spread(moved, here, at)
    at = asked("exposure")
    changed = []
    for gamma in _GAMMAS if at.size else ():
        images = _exposed(given.images, gamma, generator)
        maps = encode_images(network, images, features[0].device, features[0].dtype)
        changed.append(_margins(PointSampler(network, maps, given.views, field_of_view), everything[at], labels[at]))
    exposure = _spread(changed, here, at)
    low, high = field_of_view.bounds
    depth = np.minimum(everything - low, high - everything).min(axis=1)
    columns = [
        np.abs(here) / slope,
        1.0 / slope,
        geometry / slope,
        exposure / slope,
        np.concatenate([np.full(len(p), outlines.get(b.name, np.inf)) for p, b in zip(points, bones, strict=True)]),
        np.maximum(_RIM_MM - depth, 0.0),
    ]
    terms = np.clip(np.stack(columns, axis=1), 0.0, LARGEST_MM)
    return {bone.name: part for bone, part in zip(bones, np.split(terms, ends), strict=True)}


def _margins(sampler: PointSampler, points: Array, labels: NDArray[np.int64]) -> Array:
    """(N,): at each point the logit of a class minus the largest of the others."""
    return _margins_of(sampler.logits(points), labels)


def _margins_of(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Array:
    """The margins of logits (N, classes), which are changed."""
    own = labels[:, None]
    value = np.take_along_axis(logits, own, axis=1)[:, 0].astype(np.float64)
    np.put_along_axis(logits, own, -np.inf, axis=1)
    return value - logits.max(axis=1)


def _spread(changed: Sequence[Array], here: Array, at: NDArray[np.int64]) -> Array:
    """(N,) root mean square of the changes of the margins `here` at some of the points; 0 at the others."""
    spread = np.zeros(len(here))
    if changed:
        spread[at] = np.sqrt(np.mean([(margin - here[at]) ** 2 for margin in changed], axis=0))
    return spread


def _moved(view: View, field_of_view: FieldOfView, generator: np.random.Generator) -> View:
    """The view after an error of calibration about the centre of the field of view."""
    center = np.array(field_of_view.center)
    turn = rotation_about(generator.normal(size=3), float(generator.normal(0.0, _TURN_DEGREES)), center)
    matrix = translation(generator.normal(0.0, _SHIFT_MM, 3)) @ turn
    spacing = float(np.exp(generator.normal(0.0, _SCALE)))
    moved = view.transformed(matrix)
    middle = moved.pixel_position((moved.rows - 1) / 2, (moved.columns - 1) / 2)
    origin = middle + spacing * (np.array(moved.detector_origin) - middle)
    return replace(
        moved,
        detector_origin=tuple(origin),
        pixel_spacing=(moved.pixel_spacing[0] * spacing, moved.pixel_spacing[1] * spacing),
    )


def _exposed(images: Tensor, gamma: float, generator: np.random.Generator) -> Tensor:
    """Standardised images under another display curve and with more noise; what is 0 in all channels (not seen) stays so."""
    source = torch.Generator().manual_seed(int(generator.integers(2**31)))
    low, high = images.amin(dim=(3, 4), keepdim=True), images.amax(dim=(3, 4), keepdim=True)
    span = (high - low).clamp(min=1e-6)
    curve = low + span * ((images - low) / span) ** gamma
    noise = _NOISE * torch.randn(images[:, :, :1].shape, generator=source)
    seen = (images != 0).any(dim=2, keepdim=True)
    return torch.where(seen, curve + noise, torch.zeros(()))

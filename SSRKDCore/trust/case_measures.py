"""Everything that is measured of a reconstruction in order to judge it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.evaluation.outline_distance import OutlineDistance, distances_of, outline_samples
from SSRKDCore.geometry.known_geometry import GeometryDoubt, geometry_doubts
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.networks.model_folder import Model
from SSRKDCore.networks.xray_network import XrayReconstructionNetwork
from SSRKDCore.radiographs.radiograph import Radiograph
from SSRKDCore.reconstruction.feature_tables import FeatureTables
from SSRKDCore.reconstruction.network_input import NetworkInput
from SSRKDCore.reconstruction.pipeline import Reconstruction
from SSRKDCore.reconstruction.swapped_views import WARNING
from SSRKDCore.refinement.view_motion import ViewMotion
from SSRKDCore.side_by_side import side_by_side
from SSRKDCore.surface import Surface
from SSRKDCore.trust.bone_shadows import BrightParts, bright_parts, growth_plate_contrast
from SSRKDCore.trust.bone_sizes import bone_sizes
from SSRKDCore.trust.image_features import image_features
from SSRKDCore.trust.several_views import PairScale, pairs_apart
from SSRKDCore.trust.stated_geometry import Contradiction, largest_contradiction
from SSRKDCore.trust.vertex_terms import SAMPLES_A_BONE, sampled_vertices, vertex_terms
from SSRKDCore.trust.view_scales import ScaleDisagreement, scale_disagreement
from SSRKDCore.vertex_normals import vertex_normals

Array = NDArray[np.float64]
#: View name, or "all", -> bone name, or "all" -> distances; see `distances_of`.
Outlines = dict[str, dict[str, OutlineDistance]]


@dataclass(frozen=True)
class CaseMeasures:
    """Measures of one reconstruction.

    Attributes
    ----------
    features: (F,) of `image_features`.
    sizes: mm by name, see `bone_sizes`; of the network's bones where the radiographs overruled it: a shape model's are always a knee's.
    missing: bones that were not found.
    pieces: share of a bone's volume that was dropped as loose pieces, the largest of the bones.
    scale: what the two views that are farthest from parallel say of each other's scale; None where they cannot tell.
    contradiction: of the rig to the files' own statements, the largest; None where they make none.
    outlines: by view and bone, and under "all".
    metal_cm2: area of metal, of the views the largest.
    one_brightness: share of a view that is nearly as bright as its brightest part, of the views the largest.
    growth_plate: contrast of a dark band, or None.
    swapped: whether the views look exchanged.
    other_side: whether the bones are those of the other side than declared.
    vertices: by bone, indices at which `terms` are known. terms: (N, 6) by bone, see `vertex_terms`.
    doubts: what of the rig is not known well enough, from its provenance.
    overruled: bones that were placed by the radiographs' edges against the network.
    motion: how the second of two views seems to be turned, beyond what the rig says; None where it was not refined, or nothing tells.
    views: names, in the rig's order.
    pair_scales, pair_motions: of three or more views, what each two whose beams are apart say of each other (see `several_views`).
    """

    features: Array
    sizes: dict[str, float]
    missing: tuple[str, ...]
    pieces: float
    scale: ScaleDisagreement | None
    contradiction: Contradiction | None
    outlines: Outlines
    metal_cm2: float
    growth_plate: float | None
    swapped: bool
    other_side: bool
    vertices: dict[str, NDArray[np.int64]]
    terms: dict[str, Array]
    doubts: tuple[GeometryDoubt, ...] = ()
    overruled: tuple[str, ...] = ()
    one_brightness: float = 0.0
    motion: ViewMotion | None = None
    views: tuple[str, ...] = ()
    pair_scales: tuple[PairScale, ...] = ()
    pair_motions: Mapping[tuple[str, str], ViewMotion] = field(default_factory=dict)


@dataclass(frozen=True)
class Encoded:
    """What the network was given, its feature maps, one a view, and their tables, where the reconstruction handed them on."""

    given: NetworkInput
    features: list[Tensor]
    tables: FeatureTables | None = None

    def with_tables(self, tables: FeatureTables) -> Encoded:
        """The same with the tables of these feature maps."""
        return replace(self, tables=tables)


def case_measures(
    radiographs: Sequence[Radiograph],
    rig: Rig,
    model: Model,
    result: Reconstruction,
    encoded: Encoded,
    samples_a_bone: int = SAMPLES_A_BONE,
    needed_terms: Mapping[str, Collection[str]] | None = None,
) -> CaseMeasures:
    """Measure a reconstruction.

    Parameters
    ----------
    radiographs, rig, model: what `reconstruct` was given. result: what it returned.
    encoded: what it told its `encoded` and `tabled` callbacks.
    samples_a_bone: vertices at which uncertainty is measured.
    needed_terms: names of the terms of uncertainty that are asked for, by bone; see `vertex_terms`.
    """
    network = cast(XrayReconstructionNetwork, model.network)
    surfaces: dict[str, Surface] = dict(result.surfaces)
    box = result.field_of_view
    images = {view.name: radiograph.pixels for view, radiograph in zip(rig.views, radiographs, strict=True)}
    threads = torch.get_num_threads()
    present = {name: surface for name, surface in surfaces.items() if not surface.is_empty}
    jobs = [partial(vertex_normals, surface.vertices, surface.faces) for surface in present.values()]
    normals = dict(zip(present, side_by_side(jobs, threads), strict=True))
    plain = [encoded.given.images[0, index, -1].cpu().numpy() for index in range(len(encoded.given.views))]
    vertices = {name: sampled_vertices(surface, samples_a_bone) for name, surface in present.items()}
    outlines = distances_of(outline_samples(surfaces, images, rig, box, normals=normals, threads=threads))
    mean = {name: found.mean_mm for name, found in outlines["all"].items() if found.mean_mm is not None}
    home, place = next(network.parameters()).device, encoded.features[0].device
    try:
        if home != place:
            network.to(place)
        given = (network, encoded.given, encoded.features, box, surfaces, vertices, mean)
        terms = vertex_terms(*given, needed=needed_terms, normals=normals, tables=encoded.tables)
    finally:
        if home != place:
            network.to(home)

    def scales() -> tuple[ScaleDisagreement | None, tuple[PairScale, ...]]:
        if len(rig.views) < 2:
            return None, ()
        found = {
            (first, second): scale_disagreement(
                [images[first], images[second]], [rig.view(first), rig.view(second)], box
            )
            for first, second in {widest_pair(rig): None, **dict.fromkeys(pairs_apart(rig))}
        }
        pairs = tuple(PairScale(*pair, found[pair]) for pair in pairs_apart(rig))
        return found[widest_pair(rig)], pairs if len(rig.views) > 2 else ()

    def features_brightness_sizes_and_plate() -> tuple[Array, list[BrightParts], dict[str, float], float | None]:
        plate = growth_plate_contrast(plain[0], encoded.given.views[0], box, surfaces)
        bright = [bright_parts(image, view, box) for image, view in zip(plain, encoded.given.views, strict=True)]
        seen = (result.network_surfaces or surfaces) if result.overruled else surfaces
        return image_features(encoded.given.images, encoded.features), bright, bone_sizes(seen), plate

    # Neither keeps more than one core busy.
    both: list[Callable[[], Any]] = [scales, features_brightness_sizes_and_plate]
    (scale, pair_scales), (features, bright, sizes, plate) = side_by_side(both, threads)
    return CaseMeasures(
        features=features,
        sizes=sizes,
        missing=tuple(name for name in BONE_NAMES if surfaces.get(name, Surface.empty()).is_empty),
        pieces=max(
            (count.removed_voxels / max(count.removed_voxels + count.kept_voxels, 1))
            for count in result.pieces.values()
        ),
        scale=scale,
        contradiction=largest_contradiction(radiographs, rig),
        outlines=outlines,
        metal_cm2=max(found.metal_cm2 for found in bright),
        growth_plate=plate,
        swapped=WARNING in result.warnings,
        other_side=bool(result.side and result.declared_side and result.side != result.declared_side),
        vertices=vertices,
        terms=terms,
        doubts=tuple(geometry_doubts(rig)),
        overruled=result.overruled,
        one_brightness=max(found.one_brightness for found in bright),
        motion=result.motion,
        views=tuple(view.name for view in rig.views),
        pair_scales=pair_scales,
        pair_motions=result.pair_motions,
    )


def widest_pair(rig: Rig) -> tuple[str, str]:
    """Names of the two views that are farthest from parallel."""
    pairs = [(i, j) for i in range(len(rig.views)) for j in range(i + 1, len(rig.views))]
    angle = {pair: rig.separation_degrees(*pair) for pair in pairs}
    first, second = max(pairs, key=lambda pair: min(angle[pair], 180.0 - angle[pair]))
    return rig.views[first].name, rig.views[second].name

"""One training case seen as a user's case would be: exposed, reconstructed, measured, and compared with its truth."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.cases import Case, find_cases
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.exact_distances import signed_distances
from SSRKDCore.evaluation.field_of_view import DEFAULT_MARGIN_MM, inside_by, scoring_box, without_cut_faces
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.networks.model_folder import Model
from SSRKDCore.radiographs.radiograph import VIEW_NAMES, Radiograph
from SSRKDCore.radiographs.reader import read_radiograph
from SSRKDCore.reconstruction.network_input import prepare_network_input
from SSRKDCore.reconstruction.pipeline import Reconstruction, reconstruct
from SSRKDCore.surface import Surface
from SSRKDCore.training.case_volume import CaseVolume, load_case_volume
from SSRKDCore.training.whole_persons import subject_entry
from SSRKDCore.trust.bone_sizes import size_vector
from SSRKDCore.trust.case_measures import CaseMeasures, Encoded, case_measures
from SSRKDCore.trust.training_images import TrainingExposure, exposure_of_volume

Array = NDArray[np.float64]

RESOLUTION = 128
#: Goes up when what is kept of a case changes: records of an earlier number are not gone on from.
MEASURES = 4
_ATTEMPTS = 5


def observation(folder: Path, model: Model, seed: int, index: int, device: str = "cpu") -> dict[str, Any]:
    """What is kept of a training case, plain values.

    One exposure is reconstructed and measured, in every second case after the changes that training makes to images; the images of two
    more, one as it is and one changed, are described.

    Parameters
    ----------
    folder: a case with a CT and a reference. model: an X-ray model. seed, index: of all randomness.
    """
    volume = load_case_volume(folder, True)
    generator = np.random.default_rng([seed, index])
    features: list[Array] = []
    for changed in (index % 2 == 1, True, False):
        exposure = _readable_exposure(volume, generator, changed, model)
        if not features:
            result, measures = measured(exposure.radiographs, exposure.rig, exposure.side, model, device)
            errors = vertex_errors(measures, result, exposure.bones)
            features.append(measures.features)
        else:
            features.append(described(exposure.radiographs, exposure.rig, model, device))
    return {
        "case": folder.name,
        **subject_entry(volume.case),
        "changed": index % 2 == 1,
        "metal": stated_metal(volume.case.provenance),
        "features": np.stack(features),
        "sizes": size_vector(measures.sizes),
        "pieces": measures.pieces,
        "metal_cm2": measures.metal_cm2,
        "growth_plate": measures.growth_plate,
        "outline": measures.outlines["all"]["all"].mean_mm,
        "terms": measures.terms,
        "errors": errors,
    }


def measured(
    radiographs: Sequence[Radiograph],
    rig: Rig,
    side: str | None,
    model: Model,
    device: str = "cpu",
    needed_terms: Mapping[str, Collection[str]] | None = None,
) -> tuple[Reconstruction, CaseMeasures]:
    """A reconstruction of RESOLUTION samples along the cube, and its measures.

    radiographs, rig, side, model, device: as `reconstruct` takes them. needed_terms: as `case_measures` does. Raises as `reconstruct`.
    """
    kept: list[Encoded] = []
    result = reconstruct(
        radiographs, rig, model, RESOLUTION, device, side=side,
        encoded=lambda given, maps: kept.append(Encoded(given, maps)),
    )  # fmt: skip
    return result, case_measures(radiographs, rig, model, result, kept[-1], needed_terms=needed_terms)


def labelled_folders(cases: Path) -> list[Path]:
    """The folders of a population's labelled cases, in order. Raises InputError as `find_cases`."""
    return [folder for folder in find_cases(cases) if not folder.name.startswith("unlabelled")]


def _readable_exposure(
    volume: CaseVolume, generator: np.random.Generator, changed: bool, model: Model
) -> TrainingExposure:
    """An exposure that a model reads: now and then training's changes leave nothing of an image, which a user would be refused."""
    left = _ATTEMPTS
    while True:
        exposure, left = exposure_of_volume(volume, generator, changed), left - 1
        try:
            prepare_network_input(exposure.radiographs, exposure.rig, model)
        except InputError:
            if not left:
                raise
        else:
            return exposure


def stated_metal(provenance: Mapping[str, Any]) -> str:
    """Which metal a synthetic case was given, by its provenance; "none" where it does not say."""
    tissue = provenance.get("tissue")
    return str(tissue.get("metal", "none")) if isinstance(tissue, Mapping) else "none"


def described(radiographs: Any, rig: Any, model: Model, device: str) -> Array:
    """`image_features` of radiographs that are not reconstructed."""
    from typing import cast

    from SSRKDCore.networks.xray_network import XrayReconstructionNetwork
    from SSRKDCore.reconstruction.devices import choose_device
    from SSRKDCore.reconstruction.encoding import encode_images
    from SSRKDCore.trust.image_features import image_features

    given = prepare_network_input(radiographs, rig, model)
    network = cast(XrayReconstructionNetwork, model.network)
    return image_features(given.images, encode_images(network, given.images, choose_device(device)))


def case_images(case: Case) -> list[Radiograph]:
    """The radiographs of a case folder, in the order of its rig's views. Raises InputError when one cannot be read."""
    images = []
    for view in case.rig.views:
        known = view.name if view.name in VIEW_NAMES else None
        images.append(replace(read_radiograph(case.radiographs[view.name], known, case.intensity), view=view.name))
    return images


def vertex_errors(
    measures: CaseMeasures, result: Reconstruction, truth: Mapping[str, Surface], extent: Any = None
) -> dict[str, Array]:
    """(N,) absolute distance in mm from the measured vertices to the true bone, by bone; NaN at the cut and where nothing is scored.

    truth: LPS mm. extent: bone -> (lowest z, highest z) between which the truth is known.
    """
    margin = max(DEFAULT_MARGIN_MM, result.grid.spacing[0])
    found = {}
    for name in BONE_NAMES:
        if name not in measures.vertices or name not in truth or truth[name].is_empty:
            continue
        box = scoring_box(result.field_of_view.bounds, (extent or {}).get(name))
        points = result.surfaces[name].vertices[measures.vertices[name]]
        inner = inside_by(box, margin)
        scored = ((points >= inner[0]) & (points <= inner[1])).all(axis=1)
        values = np.abs(signed_distances(points, without_cut_faces(truth[name], box, margin)))
        found[name] = np.where(scored, values, np.nan)
    return found

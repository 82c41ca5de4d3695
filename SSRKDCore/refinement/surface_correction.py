"""What refinement still gets wrong, learnt from knees whose bones are known, and taken away.

The file beside a model (`surface_correction.safetensors`) belongs to its weights and its shape prior: it knows where, on bones in that
prior's vertices, surfaces made of that network's bones usually lie beside the truth, and by how much when radiographs and network look
like this. `training.fit_surface_correction` makes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.errors import InputError
from SSRKDCore.networks.surface_corrector import SurfaceCorrector
from SSRKDCore.population.template import Template
from SSRKDCore.refinement.anchor_features import FEATURES, VIEWS, Anchors, PlacedBone, anchor_features
from SSRKDCore.refinement.companion_files import ADVICE, checked_sha256, read_with_card, write_with_card
from SSRKDCore.surface import Surface
from SSRKDCore.vertex_normals import vertex_normals

if TYPE_CHECKING:
    from SSRKDCore.networks.model_folder import Model

SCHEMA = "ssrkd-surface-correction/1"
#: No bone is moved further (mm) at any place: larger errors are none that a knee usually has.
LARGEST_MM = 3.0
#: Some hundred thousand weights.
MAXIMUM_BYTES = 16 * 1024**2
_PLACE_TOLERANCE_MM = 1e-2


@dataclass(frozen=True)
class SurfaceCorrection:
    """anchors: of the bones that are corrected, by name. network: tells their errors, in eval mode. card: how it came about."""

    anchors: Mapping[str, Anchors]
    network: SurfaceCorrector
    card: Mapping[str, Any]

    def errors_mm(self, name: str, described: NDArray[np.float32]) -> NDArray[np.float64]:
        """(A,) mm by which the bone's surface is expected further outwards at its anchors, of `anchor_features`."""
        with torch.inference_mode():
            found = self.network(name, torch.from_numpy(described), torch.arange(len(described)))
        return np.clip(found.numpy().astype(np.float64), -LARGEST_MM, LARGEST_MM)

    def corrected(self, name: str, placed: PlacedBone) -> Surface:
        """The bone where it is expected, LPS mm; as it is for a bone that is not corrected, or another number of views."""
        anchors = self.anchors.get(name)
        if anchors is None or len(placed.images) != VIEWS:
            return placed.surface
        described = anchor_features(placed, anchors)
        if not np.isfinite(described).all():
            return placed.surface
        surface = placed.surface
        outwards = anchors.spread @ self.errors_mm(name, described)
        return Surface(
            surface.vertices + outwards[:, None] * vertex_normals(surface.vertices, surface.faces), surface.faces
        )


def write_surface_correction(path: Path, correction: SurfaceCorrection) -> None:
    """Write a correction; the file appears only when it is complete. Raises InputError when it cannot be written."""
    arrays: dict[str, NDArray[Any]] = {
        name: values.numpy().astype(np.float16) for name, values in correction.network.state_dict().items()
    }
    if not all(np.isfinite(values).all() for values in arrays.values()):
        raise InputError("The correction has weights that are too large to be stored: fit it again.")
    for name, anchors in correction.anchors.items():
        arrays[f"{name}.vertices"] = anchors.vertices.astype(np.int32)
        arrays[f"{name}.places"] = anchors.places.astype(np.float32)
    write_with_card(path, arrays, {"schema": SCHEMA, **correction.card})


def read_surface_correction(path: Path, templates: Mapping[str, Template]) -> SurfaceCorrection:
    """Read what `write_surface_correction` wrote, for bones in the vertices of these templates, by name.

    Raises InputError when the file is missing, damaged, something else, or of other templates.
    """
    arrays, card = read_with_card(path, SCHEMA, "surface correction", MAXIMUM_BYTES)
    try:
        return _correction_of(arrays, card, templates)
    except (KeyError, ValueError, IndexError, RuntimeError) as error:
        raise InputError(f"{path} is damaged, or of another shape prior than the model's: {ADVICE}.") from error


def _correction_of(
    arrays: dict[str, NDArray[Any]], card: Mapping[str, Any], templates: Mapping[str, Template]
) -> SurfaceCorrection:
    found = {}
    for name in BONE_NAMES:
        if f"{name}.vertices" not in arrays:
            continue
        vertices, places = arrays.pop(f"{name}.vertices").astype(np.int64), arrays.pop(f"{name}.places")
        template = templates[name].vertices
        if vertices.ndim != 1 or not len(vertices) or vertices.min() < 0 or vertices.max() >= len(template):
            raise ValueError("anchors that the template does not have")
        if not np.allclose(template[vertices], places, rtol=0.0, atol=_PLACE_TOLERANCE_MM):
            raise ValueError("anchors of another template")
        found[name] = Anchors.of(templates[name], vertices)
    network = SurfaceCorrector({name: len(anchors.vertices) for name, anchors in found.items()}, FEATURES)
    values = {name: torch.from_numpy(array.astype(np.float32)) for name, array in arrays.items()}
    if not found or not all(bool(torch.isfinite(value).all()) for value in values.values()):
        raise ValueError("nothing, or values that are not finite")
    network.load_state_dict(values)
    return SurfaceCorrection(found, network.eval().requires_grad_(False), card)


def surface_correction_of(model: Model, templates: Mapping[str, Template]) -> SurfaceCorrection | None:
    """The correction that a model folder brings, read once; None where it brings none.

    templates: of the shape prior that the model brings. Raises InputError when the file is not the one that model.json describes.
    """
    from SSRKDCore.networks.model_folder import SHAPE_PRIOR_ENTRY, SURFACE_CORRECTION_ENTRY, surface_correction_path

    path = surface_correction_path(model)
    if path is None:
        return None
    sha256 = checked_sha256(model, path, SURFACE_CORRECTION_ENTRY, "surface correction", MAXIMUM_BYTES)
    # Of another prior's templates it is refused, or has other weights at their vertices.
    key = (str(path), sha256, str(model.card.get(SHAPE_PRIOR_ENTRY)))
    found = _read.get(key)
    if found is None:
        found = read_surface_correction(path, templates)
        _read.clear()
        _read[key] = found
    # Not what is kept by now: another thread may have another model.
    return found


# The correction that was read last: a set of cases is reconstructed with one model.
_read: dict[tuple[str, str, str], SurfaceCorrection] = {}

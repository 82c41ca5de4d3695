"""The shape prior of a model folder: the part of a knee shape model that refinement needs, as one safetensors file.

Modes are kept as float16: a mode moves a vertex by some millimetres, so that rounding moves it by some micrometres. The Gaussian process
of the shape model is not kept; refinement makes a smoother one of its own (`local_deformation`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.errors import InputError
from SSRKDCore.population.joint_features import JointFeatures
from SSRKDCore.population.partial_pca import PartialPca
from SSRKDCore.population.shape_model import KneeShapeModel
from SSRKDCore.population.template import Template
from SSRKDCore.refinement.companion_files import ADVICE, checked_sha256, read_with_card, write_with_card

if TYPE_CHECKING:
    from SSRKDCore.networks.model_folder import Model

SCHEMA = "ssrkd-shape-prior/1"
#: A shape model has some ten thousand vertices and 40 modes: 3 MB.
MAXIMUM_BYTES = 64 * 1024**2
_CARD_FIELDS = ("knees", "people", "excluded_subjects", "modes")


def write_shape_prior(model: KneeShapeModel, path: Path) -> None:
    """Write what refinement needs of a shape model. Raises InputError when the file cannot be written, or a mode is too large."""
    modes = model.pca.modes.astype(np.float16)
    if not np.isfinite(modes).all():
        raise InputError("The shape model has modes that are too large to be stored: make it again.")
    arrays: dict[str, NDArray[Any]] = {
        "mean": model.pca.mean.astype(np.float32),
        "modes": modes,
        "noise": np.array([model.pca.noise], dtype=np.float32),
    }
    for name in BONE_NAMES:
        arrays[f"{name}.template"] = model.templates[name].vertices.astype(np.float32)
        arrays[f"{name}.reference"] = model.features.reference[name].astype(np.float32)
        arrays[f"{name}.faces"] = model.templates[name].faces.astype(np.int32)
        arrays[f"{name}.rim"] = model.templates[name].rim.astype(np.int32)
    card = {key: model.card[key] for key in _CARD_FIELDS if key in model.card}
    write_with_card(path, arrays, {"schema": SCHEMA, **card})


def read_shape_prior(path: Path) -> KneeShapeModel:
    """The shape model of a prior's file, without Gaussian process. Raises InputError when it is missing, damaged or something else."""
    arrays, card = read_with_card(path, SCHEMA, "shape prior", MAXIMUM_BYTES)
    try:
        return _model_of(arrays, card)
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(f"{path} is damaged or not a shape prior: {ADVICE}.") from error


def shape_prior_of(model: Model) -> KneeShapeModel | None:
    """The shape prior that a model folder brings, read once; None where it brings none.

    Raises InputError when the file is not the one that model.json describes.
    """
    from SSRKDCore.networks.model_folder import SHAPE_PRIOR_ENTRY, shape_prior_path

    path = shape_prior_path(model)
    if path is None:
        return None
    key = (str(path), checked_sha256(model, path, SHAPE_PRIOR_ENTRY, "shape prior", MAXIMUM_BYTES))
    found = _read.get(key)
    if found is None:
        found = read_shape_prior(path)
        _read.clear()
        _read[key] = found
    # Not what is kept by now: another thread may have another model.
    return found


# The prior that was read last: a set of cases is reconstructed with one model.
_read: dict[tuple[str, str], KneeShapeModel] = {}


def _model_of(arrays: dict[str, NDArray[Any]], card: dict[str, Any]) -> KneeShapeModel:
    templates = {}
    for name in BONE_NAMES:
        vertices, faces, rim = (arrays[f"{name}.{part}"] for part in ("template", "faces", "rim"))
        if len(faces) == 0 or faces.min() < 0 or faces.max() >= len(vertices):
            raise ValueError("faces without vertices")
        if len(rim) and (rim.min() < 0 or rim.max() >= len(vertices)):
            raise ValueError("a rim without vertices")
        templates[name] = Template(vertices.astype(np.float64), faces.astype(np.int64), rim.astype(np.int64))
    features = JointFeatures({name: arrays[f"{name}.reference"].astype(np.float64) for name in BONE_NAMES})
    mean, modes = arrays["mean"].astype(np.float64), arrays["modes"].astype(np.float64)
    if modes.ndim != 2 or modes.shape[1] != features.length or mean.shape != (features.length,):
        raise ValueError("modes and templates do not belong together")
    if not (np.isfinite(mean).all() and np.isfinite(modes).all()):
        raise ValueError("values that are not finite")
    basis = {name: np.zeros((len(features.reference[name]), 0)) for name in BONE_NAMES}
    return KneeShapeModel(templates, features, PartialPca(mean, modes, float(arrays["noise"][0])), basis, card)

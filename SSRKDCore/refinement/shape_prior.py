"""The shape prior of a model folder: the part of a knee shape model that refinement needs, as one safetensors file.

Modes are kept as float16: a mode moves a vertex by some millimetres, so that rounding moves it by some micrometres. The Gaussian process
of the shape model is not kept; refinement makes a smoother one of its own (`local_deformation`).
"""

from __future__ import annotations

import json
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

if TYPE_CHECKING:
    from SSRKDCore.networks.model_folder import Model

SCHEMA = "ssrkd-shape-prior/1"
#: A shape model has some ten thousand vertices and 40 modes: 3 MB.
MAXIMUM_BYTES = 64 * 1024**2
_CARD_FIELDS = ("knees", "people", "excluded_subjects", "modes")


def write_shape_prior(model: KneeShapeModel, path: Path) -> None:
    """Write what refinement needs of a shape model. Raises InputError when the file cannot be written, or a mode is too large."""
    from safetensors.numpy import save

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
    beside = path.with_name(f".{path.name}.part")
    try:
        beside.write_bytes(
            save(
                {k: np.ascontiguousarray(v) for k, v in arrays.items()},
                {"card": json.dumps({"schema": SCHEMA, **card})},
            )
        )
        beside.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}): choose another folder.") from error
    finally:
        beside.unlink(missing_ok=True)


def read_shape_prior(path: Path) -> KneeShapeModel:
    """The shape model of a prior's file, without Gaussian process. Raises InputError when it is missing, damaged or something else."""
    advice = "get the model folder again, or reconstruct with --no-refine"
    if not path.is_file():
        raise InputError(f"{path} does not exist: {advice}.")
    if path.stat().st_size > MAXIMUM_BYTES:
        raise InputError(
            f"{path} is larger than {MAXIMUM_BYTES // 1024**2} MiB, too large for a shape prior: {advice}."
        )
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            card = json.loads((file.metadata() or {}).get("card", "{}"))
            if not isinstance(card, dict) or card.get("schema") != SCHEMA:
                raise InputError(f"{path} is no shape prior of this version ({SCHEMA}): {advice}.")
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dictionary
        return _model_of(arrays, card)
    except (SafetensorError, OSError, KeyError, ValueError, IndexError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged or not a shape prior: {advice}.") from error


def shape_prior_of(model: Model) -> KneeShapeModel | None:
    """The shape prior that a model folder brings, read once; None where it brings none.

    Raises InputError when the file is not the one that model.json describes.
    """
    from SSRKDCore.networks.model_folder import SHAPE_PRIOR_ENTRY, SHAPE_PRIOR_NAME, shape_prior_path
    from SSRKDCore.networks.weights_file import sha256_of

    path = shape_prior_path(model)
    if path is None:
        return None
    described = model.card[SHAPE_PRIOR_ENTRY]
    good = isinstance(described, dict) and described.get("file") == SHAPE_PRIOR_NAME and path.is_file()
    if not good or path.stat().st_size > MAXIMUM_BYTES or sha256_of(path) != described.get("sha256"):
        raise InputError(
            f"{path} is not the shape prior that model.json describes: get the model folder again, or use --no-refine."
        )
    key = (str(path), described["sha256"])
    if key not in _read:
        _read.clear()
        _read[key] = read_shape_prior(path)
    return _read[key]


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

"""A trained volume CNN as a folder: volume_cnn.json and weights.safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.baselines.volume_network import VolumeNetwork
from SSRKDCore.json_files import read_json, write_json
from SSRKDCore.networks.weights_file import fill, read_weights, sha256_of, write_weights
from SSRKDCore.output_folder import complete_folder

SCHEMA = "ssrkd-volume-cnn/1"
MODEL_FILE = "volume_cnn.json"
WEIGHTS_FILE = "weights.safetensors"


@dataclass(frozen=True)
class VolumeModel:
    """A trained volume CNN.

    Attributes
    ----------
    network: in eval mode, on the CPU.
    views: how many radiographs it reads. voxels: along each side of the cube.
    standardisation: see `radiographs.standardise`.
    name: what people call it. path: its folder.
    """

    network: VolumeNetwork
    views: int
    voxels: int
    standardisation: Mapping[str, Any]
    name: str
    path: Path


def save_volume_model(
    folder: Path,
    network: VolumeNetwork,
    settings: Any,
    views: int,
    name: str,
    licence: str,
    training: Mapping[str, Any],
) -> Path:
    """Write a model folder, replacing an older one; returns it.

    settings: the `VolumeTraining` that it was trained with. training: the record of its training.
    """
    with complete_folder(folder, overwrite=True) as beside:
        write_weights(beside / WEIGHTS_FILE, network.eval(), "float32")
        value = {
            "schema": SCHEMA,
            "name": name,
            "licence": licence,
            "views": views,
            "voxels": settings.voxels,
            "filters": settings.filters,
            "levels": settings.levels,
            "standardisation": settings.input_standardisation(),
            "weights": {"file": WEIGHTS_FILE, "sha256": sha256_of(beside / WEIGHTS_FILE)},
            "training": dict(training),
        }
        write_json(beside / MODEL_FILE, value)
    return folder


def load_volume_model(folder: str | Path) -> VolumeModel:
    """Read a model folder. Raises InputError when it is not one, or is damaged."""
    folder = Path(folder)
    path = folder / MODEL_FILE
    if not path.is_file():
        raise InputError(f"{folder} holds no {MODEL_FILE}: name the model folder of a trained volume CNN.")
    value = read_json(path, "a volume CNN")
    if value.get("schema") != SCHEMA:
        raise InputError(f"{path} has schema {value.get('schema')!r}, not {SCHEMA!r}: get the model folder again.")
    try:
        views, voxels, filters, levels = (int(value[key]) for key in ("views", "voxels", "filters", "levels"))
        known = 1 <= views <= 16 and 1 <= levels <= 6 and 4 <= filters <= 256 and filters % 4 == 0
        if not known or not 8 <= voxels <= 256 or voxels % 2**levels:
            raise ValueError("sizes out of range")
        standardisation, name = dict(value["standardisation"]), str(value["name"])
        checksum = str(value["weights"]["sha256"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}): get the model folder again.") from error
    weights = folder / WEIGHTS_FILE
    if not weights.is_file() or sha256_of(weights) != checksum:
        raise InputError(
            f"{weights} is missing or is not the file that {MODEL_FILE} names: get the model folder again."
        )
    network = VolumeNetwork(views, filters, levels)
    fill(network, read_weights(weights, network, "float32"))
    return VolumeModel(network, views, voxels, standardisation, name, folder)

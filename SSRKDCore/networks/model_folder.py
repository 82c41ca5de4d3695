"""Model folders: `model.json` (what it is), `weights.safetensors` (its numbers) and `MODEL_CARD.md` (for people).

A folder is believed only as a whole: schema, kind, architecture, the hash of the weights, and every tensor's name,
shape and type must fit, or the folder is refused with the reason. A network that reads the bone-enhanced image brings
the network that makes it as a nested model folder, `segmenter/`; a model whose bones are to be refined brings
`shape_prior.safetensors`, and what is known of the errors that are left then, `surface_correction.safetensors` (see refinement); one whose
training images others can be matched to brings `style.json` (see matched_style).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import torch
from torch import nn

from SSRKDCore.errors import InputError
from SSRKDCore.json_files import read_json, write_json
from SSRKDCore.networks.build import KINDS, build_network, config_from_dict, kind_of, use_channels_last
from SSRKDCore.networks.config import NetworkConfig
from SSRKDCore.networks.model_card import card_text
from SSRKDCore.networks.weights_file import (
    MAXIMUM_WEIGHTS_BYTES,
    STORAGE_DTYPES,
    fill,
    read_weights,
    sha256_of,
    write_weights,
)
from SSRKDCore.output_folder import complete_folder
from SSRKDCore.resource_files import DEFAULT_MODEL, models_folder

SCHEMA = "ssrkd-model/1"
DESCRIPTION_NAME = "model.json"
WEIGHTS_NAME = "weights.safetensors"
CARD_NAME = "MODEL_CARD.md"
SEGMENTER_FOLDER = "segmenter"
SHAPE_PRIOR_NAME = "shape_prior.safetensors"
SHAPE_PRIOR_ENTRY = "shape_prior"
SURFACE_CORRECTION_NAME = "surface_correction.safetensors"
SURFACE_CORRECTION_ENTRY = "surface_correction"
STYLE_REFERENCE_NAME = "style.json"
STYLE_REFERENCE_ENTRY = "style_reference"

#: A model.json is a few kilobytes.
MAXIMUM_DESCRIPTION_BYTES = 1024 * 1024

_DESCRIPTION_FIELDS = ("schema", "name", "kind", "architecture", "input", "weights", "training", "licence", "created")
_AGAIN = "get the model folder again"


@dataclass(frozen=True)
class ModelInput:
    """What an image must be before the network sees it; size and channels are in the configuration.

    Attributes:
        intensity_scale: factor on the (standardised) image, last of all (6 for the published networks).
        background_weight: weight of what the segmenter calls background in the bone-enhanced channel.
        standardisation: how intensities were standardised in training, by the names of the code that does it, so that
            inference does the same; empty for none.
    """

    intensity_scale: float = 1.0
    background_weight: float = 0.5
    standardisation: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """A network with all that is known of it.

    Attributes:
        network: in eval mode, float32.
        config: its architecture.
        kind: "xray", "ct", "segmenter" or "style".
        name: what people call it.
        path: the folder it came from.
        card: the content of model.json.
        input: what its images must be.
        segmenter: the model of the bone-enhanced channel, if the folder brings one.
    """

    network: nn.Module
    config: NetworkConfig
    kind: str
    name: str
    path: Path
    card: dict[str, Any]
    input: ModelInput
    segmenter: Model | None = None

    @property
    def intensity_scale(self) -> float:
        """Factor on the standardised image, see `ModelInput`."""
        return self.input.intensity_scale

    @property
    def standardisation(self) -> dict[str, Any]:
        """How intensities were standardised in training, see `ModelInput`."""
        return self.input.standardisation

    def require_segmenter(self) -> Model:
        """The segmenter. Raises InputError with the way to get it if the folder brings none."""
        if self.segmenter is None:
            raise InputError(
                f"The model {self.name} reads a bone-enhanced image and {self.path} has no {SEGMENTER_FOLDER} folder to"
                " make it; import it again with `ssrkd import-weights ... --segmenter bone_seg.pth`."
            )
        return self.segmenter


def bundled_model_path() -> Path:
    """The model that is used when none is named. Raises InputError if it is not installed."""
    path = models_folder() / DEFAULT_MODEL
    if not (path / DESCRIPTION_NAME).is_file():
        raise InputError(f"The bundled model is missing at {path}; install SSRKDCore again, or name a model folder.")
    return path


def resolve_model_path(path_or_name: str | Path | None) -> Path:
    """A model folder by path, or by the name of a bundled model; None is the default model.

    Raises:
        InputError: there is no such folder.
    """
    if path_or_name is None:
        return bundled_model_path()
    path = Path(path_or_name)
    if path.exists():
        return path
    text = str(path_or_name)
    if path.name == text and text not in (".", "..") and (models_folder() / text / DESCRIPTION_NAME).is_file():
        return models_folder() / text
    raise InputError(f"There is no model folder {path}; give a folder with {DESCRIPTION_NAME} or leave it out.")


def load_model(
    path_or_name: str | Path | None = None, device: str | torch.device = "cpu", max_bytes: int = MAXIMUM_WEIGHTS_BYTES
) -> Model:
    """Loads a model folder.

    Args:
        path_or_name: the folder, the name of a bundled model, or None for the default model.
        device: where the network is put.
        max_bytes: larger weights are refused unread.

    Raises:
        InputError: the folder is incomplete, damaged or of another version, the weights are not the ones that
            model.json describes, or the device is not there.
    """
    folder = resolve_model_path(path_or_name)
    model = _load_folder(folder, device, max_bytes)
    nested = folder / SEGMENTER_FOLDER
    if model.kind != "xray" or not nested.exists():
        return model
    segmenter = _load_folder(nested, device, max_bytes)
    if segmenter.kind != "segmenter":
        raise InputError(f"{nested} is a model of kind {segmenter.kind}, not a segmenter; {_AGAIN}.")
    return replace(model, segmenter=segmenter)


def _load_folder(folder: Path, device: str | torch.device, max_bytes: int) -> Model:
    if not folder.is_dir():
        raise InputError(f"{folder} is not a model folder; give the folder that holds {DESCRIPTION_NAME}.")
    description_path = folder / DESCRIPTION_NAME
    description = read_json(description_path, "a model description", MAXIMUM_DESCRIPTION_BYTES)
    _check_description(description_path, description)
    kind = description["kind"]
    try:
        config = config_from_dict(kind, description["architecture"])
    except InputError as error:
        raise InputError(f"{description_path}: {error}") from error
    model_input = _read_input(description_path, description["input"])
    weights = description["weights"]
    weights_path = _weights_path(folder, description_path, weights)
    if not (folder / CARD_NAME).is_file():
        raise InputError(f"{folder} has no {CARD_NAME}, so the model folder is incomplete; {_AGAIN}.")
    _check_weights_file(weights_path, weights["sha256"], max_bytes)
    with torch.device("meta"):
        network = build_network(config)
    fill(network, read_weights(weights_path, network, weights["dtype"]))
    try:
        network.to(device)
        if torch.device(device).type == "cpu":
            use_channels_last(network)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"The model cannot be put on the device {str(device)!r}; choose cpu or a device that is there."
        ) from error
    return Model(network, config, kind, description["name"], folder, description, model_input)


def _check_description(path: Path, description: Mapping[str, Any]) -> None:
    schema = description.get("schema")
    if schema != SCHEMA:
        raise InputError(
            f"{path} has the schema {str(schema)[:60]!r}, this version reads {SCHEMA}; update SSRKDCore or {_AGAIN}."
        )
    missing = [name for name in _DESCRIPTION_FIELDS if name not in description]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}; {_AGAIN}.")
    if not isinstance(description["kind"], str) or description["kind"] not in KINDS:
        raise InputError(
            f"{path} has the kind {str(description['kind'])[:60]!r}, this version knows {', '.join(KINDS)}; {_AGAIN}."
        )
    if not isinstance(description["name"], str) or not description["name"].strip():
        raise InputError(f"{path} does not name its model; {_AGAIN}.")
    weights = description["weights"]
    if not isinstance(weights, dict) or any(
        not isinstance(weights.get(key), str) for key in ("file", "sha256", "dtype")
    ):
        raise InputError(f"{path} does not describe its weights by file, sha256 and dtype; {_AGAIN}.")
    if not re.fullmatch("[0-9a-f]{64}", weights["sha256"]):
        raise InputError(f"{path} has no usable sha256 of its weights; {_AGAIN}.")
    if weights["dtype"] not in STORAGE_DTYPES:
        raise InputError(
            f"{path} stores weights as {weights['dtype'][:60]!r}, not {' or '.join(STORAGE_DTYPES)}; {_AGAIN}."
        )


def _read_input(path: Path, values: Any) -> ModelInput:
    problem = f"{path} does not describe the input by intensity_scale, background_weight and standardisation; {_AGAIN}."
    if not isinstance(values, dict) or not isinstance(values.get("standardisation"), dict):
        raise InputError(problem)
    numbers = []
    for name in ("intensity_scale", "background_weight"):
        value = values.get(name)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1e6:
            raise InputError(problem)
        numbers.append(float(value))
    return ModelInput(numbers[0], numbers[1], values["standardisation"])


def _weights_path(folder: Path, description_path: Path, weights: Mapping[str, str]) -> Path:
    name = weights["file"]
    # Neither kind of separator, drive or parent: model folders travel between systems.
    plain = name == PurePosixPath(name).name == PureWindowsPath(name).name and "\0" not in name
    path = folder / name if plain else folder
    if not plain or path.resolve().parent != folder.resolve():
        raise InputError(
            f"{description_path} names weights outside its folder ({name[:60]!r}), which is never followed; {_AGAIN}."
        )
    return path


def _check_weights_file(path: Path, sha256: str, max_bytes: int) -> None:
    if not path.is_file():
        raise InputError(f"{path} is missing, so the model folder is incomplete; {_AGAIN}.")
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise InputError(f"{path} is {size} bytes, more than the {max_bytes} that are read; give another model.")
        found = sha256_of(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); check its permissions.") from error
    if found != sha256:
        raise InputError(
            f"{path} is not the file that model.json describes: its sha256 differs (cut short or changed); {_AGAIN}."
        )


def save_model(
    folder: str | Path,
    network: nn.Module,
    config: NetworkConfig,
    *,
    name: str,
    model_input: ModelInput | None = None,
    training: Mapping[str, Any] | None = None,
    licence: str = "MIT",
    dtype: str = "float32",
    card: str | None = None,
    segmenter: Model | None = None,
    shape_prior: Path | None = None,
    surface_correction: Path | None = None,
    style_reference: Path | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes a model folder; it appears only when complete.

    Args:
        folder: where; an existing one is refused unless `overwrite`.
        network: the trained network; config: its architecture.
        name: what people call it.
        model_input: what its images must be.
        training: a summary of how it was trained and how well it does, JSON-able.
        licence: of the weights (an SPDX identifier).
        dtype: storage of the weights, "float32" or "float16"; they are loaded as float32 either way.
        card: the text of MODEL_CARD.md; written from the other arguments if None.
        segmenter: for a network with two input channels, the model that makes the bone-enhanced one.
        shape_prior: a file of `refinement.shape_prior` that goes with the model, so that its bones are refined.
        surface_correction: a file of `refinement.surface_correction` that belongs to these weights and this prior.
        style_reference: a file of `radiographs.style_matching` that tells how its training images look.

    Returns:
        The folder.

    Raises:
        InputError: the folder cannot be written, or the weights are not finite.
    """
    folder = Path(folder)
    if dtype not in STORAGE_DTYPES:
        raise InputError(f"Weights can be stored as {' or '.join(STORAGE_DTYPES)}, not {dtype!r}.")
    if segmenter is not None and segmenter.kind != "segmenter":
        raise InputError(f"The model {segmenter.name} is of kind {segmenter.kind} and cannot serve as a segmenter.")
    model_input = model_input or ModelInput()
    if not all(
        math.isfinite(value) and value >= 0 for value in (model_input.intensity_scale, model_input.background_weight)
    ):
        raise InputError("A model's intensity scale and background weight must be finite and not negative.")
    with complete_folder(folder, overwrite=overwrite) as unfinished:
        _write(unfinished, network, config, name, model_input, dict(training or {}), licence, dtype, card)
        if shape_prior is not None:
            _add_file(unfinished, shape_prior, SHAPE_PRIOR_ENTRY, SHAPE_PRIOR_NAME, "shape prior")
        if surface_correction is not None:
            add_surface_correction(unfinished, surface_correction)
        if style_reference is not None:
            add_style_reference(unfinished, style_reference)
        if segmenter is not None:
            nested = unfinished / SEGMENTER_FOLDER
            nested.mkdir()
            _write(
                nested,
                segmenter.network,
                segmenter.config,
                segmenter.name,
                segmenter.input,
                segmenter.card.get("training", {}),
                segmenter.card.get("licence", licence),
                segmenter.card.get("weights", {}).get("dtype", "float32"),
                None,
            )
    return folder


def shape_prior_path(model: Model) -> Path | None:
    """The shape prior's file in a model folder; None where the folder brings none."""
    return model.path / SHAPE_PRIOR_NAME if SHAPE_PRIOR_ENTRY in model.card else None


def surface_correction_path(model: Model) -> Path | None:
    """The surface correction's file in a model folder; None where the folder brings none."""
    return model.path / SURFACE_CORRECTION_NAME if SURFACE_CORRECTION_ENTRY in model.card else None


def style_reference_path(model: Model) -> Path | None:
    """The style reference's file in a model folder; None where the folder brings none."""
    return model.path / STYLE_REFERENCE_NAME if STYLE_REFERENCE_ENTRY in model.card else None


def add_surface_correction(folder: Path, source: Path) -> None:
    """Put a surface correction into a model folder, in place of the one that is there. Raises InputError where that is impossible."""
    _add_file(folder, source, SURFACE_CORRECTION_ENTRY, SURFACE_CORRECTION_NAME, "surface correction")


def add_style_reference(folder: Path, source: Path) -> None:
    """Put a style reference into a model folder, in place of the one that is there. Raises InputError where that is impossible."""
    _add_file(folder, source, STYLE_REFERENCE_ENTRY, STYLE_REFERENCE_NAME, "style reference")


def _add_file(folder: Path, source: Path, entry: str, name: str, what: str) -> None:
    """Copy a file that goes with a model into its folder, and describe it in model.json."""
    target = folder / name
    description = read_json(folder / DESCRIPTION_NAME, "a model description")
    try:
        target.write_bytes(source.read_bytes())
    except OSError as error:
        raise InputError(f"The {what} {source} cannot be copied ({error.strerror}): check the path.") from error
    description[entry] = {"file": name, "sha256": sha256_of(target)}
    write_json(folder / DESCRIPTION_NAME, description)


def _write(
    folder: Path,
    network: nn.Module,
    config: NetworkConfig,
    name: str,
    model_input: ModelInput,
    training: Mapping[str, Any],
    licence: str,
    dtype: str,
    card: str | None,
) -> None:
    weights_path = folder / WEIGHTS_NAME
    write_weights(weights_path, network, dtype)
    description = {
        "schema": SCHEMA,
        "name": name,
        "kind": kind_of(config),
        "architecture": config.to_dict(),
        "input": {
            "intensity_scale": model_input.intensity_scale,
            "background_weight": model_input.background_weight,
            "standardisation": model_input.standardisation,
        },
        "weights": {"file": WEIGHTS_NAME, "sha256": sha256_of(weights_path), "dtype": dtype},
        "training": dict(training),
        "licence": licence,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(folder / DESCRIPTION_NAME, description)
    (folder / CARD_NAME).write_text(card if card is not None else card_text(description), encoding="utf-8")

"""Files of arrays with a card that go with a model and its network: written whole, believed only as model.json describes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError

if TYPE_CHECKING:
    from SSRKDCore.networks.model_folder import Model

ADVICE = "get the model folder again, or reconstruct with --no-refine"
_LARGEST_CARD = 1024**2


def write_with_card(path: Path, arrays: Mapping[str, NDArray[Any]], card: Mapping[str, Any]) -> None:
    """Write a safetensors file; it appears only when it is complete. Raises InputError when it cannot be written."""
    from safetensors.numpy import save

    beside = path.with_name(f".{path.name}.part")
    try:
        contiguous = {key: np.ascontiguousarray(value) for key, value in arrays.items()}
        beside.write_bytes(save(contiguous, {"card": json.dumps(dict(card))}))
        beside.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}): choose another folder.") from error
    finally:
        beside.unlink(missing_ok=True)


def read_with_card(
    path: Path, schema: str, what: str, maximum_bytes: int
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays and card of a file.

    what: what it should be ("shape prior"). Raises InputError when it is missing, too large, of another schema, or damaged.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise InputError(f"{path} does not exist: {ADVICE}.")
    if path.stat().st_size > maximum_bytes:
        raise InputError(f"{path} is larger than {maximum_bytes // 1024**2} MiB, too large for a {what}: {ADVICE}.")
    try:
        with safe_open(str(path), framework="numpy") as file:
            text = (file.metadata() or {}).get("card", "{}")
            card = json.loads(text) if len(text) < _LARGEST_CARD else {}
            if isinstance(card, dict) and card.get("schema") == schema:
                return {key: file.get_tensor(key) for key in file.keys()}, card  # noqa: SIM118 - not a dictionary
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path} is damaged or not a {what}: {ADVICE}.") from error
    raise InputError(f"{path} is no {what} of this version ({schema}): {ADVICE}.")


def checked_sha256(model: Model, path: Path, entry: str, what: str, maximum_bytes: int) -> str:
    """The SHA-256 of a file beside a model. Raises InputError when it is not the one that model.json describes under `entry`."""
    from SSRKDCore.networks.weights_file import sha256_of

    described = model.card[entry]
    good = isinstance(described, dict) and described.get("file") == path.name and path.is_file()
    if not good or path.stat().st_size > maximum_bytes or sha256_of(path) != described.get("sha256"):
        raise InputError(
            f"{path} is not the {what} that model.json describes: get the model folder again, or use --no-refine."
        )
    return str(described["sha256"])

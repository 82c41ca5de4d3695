"""The trained `HeightMatcher` and how well it knows, as the package brings them; they belong to no model, as only images are looked at."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from SSRKDCore.errors import InputError
from SSRKDCore.json_files import read_json, write_json
from SSRKDCore.networks.height_matching import SCALES, SHIFTS_MM, HeightMatcher
from SSRKDCore.networks.weights_file import read_weights, sha256_of, write_weights
from SSRKDCore.resource_files import resource_folder

SCHEMA = "ssrkd-view-scales/1"
FOLDER_NAME, WEIGHTS_NAME, CARD_NAME = "ViewScales", "weights.safetensors", "card.json"
_DTYPE = "float16"
_FACTORS = ("scale_factors", "shift_factors", "profile_scale_factors", "profile_shift_factors")
_AGAIN = "get the package again, or train it again with python -m SSRKDCore.trust.fit_view_scales"


@dataclass(frozen=True)
class Matched:
    """Scale and shift (mm) of second views against the first, the means of what is possible, and the deviations from them, (N,) each."""

    scale: NDArray[np.float64]
    scale_spread: NDArray[np.float64]
    shift_mm: NDArray[np.float64]
    shift_spread_mm: NDArray[np.float64]


@dataclass(frozen=True)
class ViewScaleMatcher:
    """A trained network, and what is known by it and by profiles of line integrals, see `known_spreads`.

    Attributes
    ----------
    network. scale_factors, shift_factors: what its spreads of scale (shares) and shift (mm) are worth.
    profile_scale_factors, profile_shift_factors: likewise of `slice_profiles`, whose spread is `profile_spread`.
    """

    network: HeightMatcher
    scale_factors: NDArray[np.float64]
    shift_factors: NDArray[np.float64]
    profile_scale_factors: NDArray[np.float64]
    profile_shift_factors: NDArray[np.float64]


def matched(log_likelihoods: Tensor) -> Matched:
    """What a `HeightMatcher` says (N, S, T), every scale and shift being as likely before."""
    values = log_likelihoods.detach().double()
    probability = values.flatten(1).softmax(dim=1).view_as(values)
    found: list[NDArray[np.float64]] = []
    for places, share in ((SCALES.double(), probability.sum(dim=2)), (SHIFTS_MM.double(), probability.sum(dim=1))):
        mean = (share * places).sum(dim=1)
        variance = (share * (places - mean[:, None]) ** 2).sum(dim=1)
        found += [mean.numpy(), np.sqrt(np.maximum(variance.numpy(), 0.0))]
    return Matched(*found)


@torch.no_grad()
def match(network: HeightMatcher, first: Tensor, second: Tensor) -> Matched:
    """`matched` of rows (N, H, W), see `geometry.epipolar_rows`."""
    return matched(network(first, second))


def profile_spread(correlation: float) -> float:
    """What profiles that correlate so well do not share, as a share of their slopes' deviation; errors grow about with it."""
    return float(np.sqrt(max(1.0 - max(correlation, 0.0) ** 2, 0.0)))


def matcher_folder() -> Path:
    """Where the package keeps it."""
    return resource_folder() / FOLDER_NAME


def save_matcher(folder: Path, matcher: ViewScaleMatcher, card: Mapping[str, Any]) -> None:
    """Write weights and card; each file appears only when it is complete, the card last. Raises InputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        beside = folder / f".{WEIGHTS_NAME}.part"
        write_weights(beside, matcher.network, _DTYPE)
        os.replace(beside, folder / WEIGHTS_NAME)
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror or error}): choose another folder.") from error
    known = {name: getattr(matcher, name).tolist() for name in _FACTORS}
    write_json(
        folder / CARD_NAME, {"schema": SCHEMA, "weights_sha256": sha256_of(folder / WEIGHTS_NAME), **known, **card}
    )


def load_matcher(folder: Path) -> ViewScaleMatcher:
    """Read what `save_matcher` wrote. Raises InputError when something is missing, damaged, or does not fit together."""
    card = read_json(folder / CARD_NAME, "the card of the view scales")
    if card.get("schema") != SCHEMA:
        raise InputError(f"{folder / CARD_NAME} is not of schema {SCHEMA!r}: {_AGAIN}.")
    weights = folder / WEIGHTS_NAME
    if not weights.is_file() or sha256_of(weights) != card.get("weights_sha256"):
        raise InputError(f"{weights} is missing or is not what its card says: {_AGAIN}.")
    try:
        factors = [np.array(card[name], dtype=np.float64).reshape(-1, 2) for name in _FACTORS]
    except (LookupError, TypeError, ValueError):
        factors = []
    if not factors or not all(
        len(rows) and rows[0, 0] == 0 and (rows[:, 1] > 0).all() and np.isfinite(rows).all() for rows in factors
    ):
        raise InputError(f"{folder / CARD_NAME} does not say how well scales are known: {_AGAIN}.")
    network = HeightMatcher()
    network.load_state_dict(read_weights(weights, network, _DTYPE))
    return ViewScaleMatcher(network.eval().requires_grad_(False), *factors)


@lru_cache(maxsize=1)
def bundled_matcher() -> ViewScaleMatcher:
    """The one that the package brings. Raises InputError as `load_matcher`."""
    return load_matcher(matcher_folder())

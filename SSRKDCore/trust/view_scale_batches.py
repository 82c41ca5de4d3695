"""Pairs with a scale and height misstated on purpose, and with what must not matter changed: batches for `fit_view_scales`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from SSRKDCore.geometry.epipolar_rows import ACROSS_MM, HEIGHTS_MM
from SSRKDCore.trust.view_scale_pairs import STORED_ACROSS_MM, STORED_HEIGHTS_MM, ViewPairs

#: How far scale and shift (mm) of the second view are misstated in training.
LARGEST_SCALE, LARGEST_SHIFT_MM = 0.11, 6.5
_OFF_CENTRE_MM = 12.0
_ROLL_RADIANS = 0.012
_WIDER = 0.07
_CUT_SHARE, _LARGEST_CUT = 0.4, 50
_BLADE_SHARE = 0.3
_GAMMA = 0.3
_NOISE = 0.04


@dataclass(frozen=True)
class MatchBatch:
    """first, second: rows (N, H, W) of the two views, NaN outside. scale, shift_mm: (N,) of the second against the first."""

    first: Tensor
    second: Tensor
    scale: Tensor
    shift_mm: Tensor


def training_batch(pairs: ViewPairs, chosen: NDArray[np.integer], generator: np.random.Generator) -> MatchBatch:
    """Pairs as misstated rigs would resample them, changed at random: place, roll, width, what of the leg is shown, tones, noise."""
    count = len(chosen)
    scale = generator.uniform(-LARGEST_SCALE, LARGEST_SCALE, count)
    shift = generator.uniform(-LARGEST_SHIFT_MM, LARGEST_SHIFT_MM, count)
    height = generator.uniform(-_OFF_CENTRE_MM, _OFF_CENTRE_MM, count)
    views = []
    for number in (0, 1):
        moved = _Moved(
            scale=scale if number else np.zeros(count),
            shift=shift if number else np.zeros(count),
            height=height,
            aside=generator.uniform(-_OFF_CENTRE_MM, _OFF_CENTRE_MM, count),
            roll=generator.normal(0.0, _ROLL_RADIANS, count),
            width=generator.uniform(1 - _WIDER, 1 + _WIDER, count) * generator.choice([-1.0, 1.0], count),
        )
        views.append(_changed(_resampled(pairs.rows[chosen, number], moved), generator))
    return MatchBatch(views[0], views[1], _tensor(scale), _tensor(shift))


def stated_batch(
    pairs: ViewPairs, chosen: NDArray[np.integer], scale: Sequence[float], shift_mm: Sequence[float]
) -> MatchBatch:
    """Pairs as rigs that misstate the second view by `scale` and `shift_mm` resample them, otherwise as they are."""
    none = np.zeros(len(chosen))
    still = _Moved(none, none, none, none, none, none + 1.0)
    moved = _Moved(np.asarray(scale), np.asarray(shift_mm), none, none, none, none + 1.0)
    first, second = _resampled(pairs.rows[chosen, 0], still), _resampled(pairs.rows[chosen, 1], moved)
    return MatchBatch(first, second, _tensor(scale), _tensor(shift_mm))


@dataclass(frozen=True)
class _Moved:
    """What is seen where, (N,) each: scale, shift (mm) of rows; the leg's height and place aside (mm); roll (radians); stretch across."""

    scale: NDArray[np.float64]
    shift: NDArray[np.float64]
    height: NDArray[np.float64]
    aside: NDArray[np.float64]
    roll: NDArray[np.float64]
    width: NDArray[np.float64]


def _tensor(values: object) -> Tensor:
    return torch.as_tensor(np.asarray(values), dtype=torch.float32)


def _resampled(rows: NDArray[np.float16], moved: _Moved) -> Tensor:
    """(N, H, W) at HEIGHTS_MM and ACROSS_MM of stored rows, NaN outside."""
    scale, shift, height, aside, roll, width = (_tensor(value)[:, None, None] for value in vars(moved).values())
    up = (_tensor(HEIGHTS_MM)[None, :, None] - shift) / (1 + scale)
    right = _tensor(ACROSS_MM)[None, None, :] * width / (1 + scale)
    up, right = up * torch.cos(roll) - right * torch.sin(roll) + height, right * torch.cos(roll) + up * torch.sin(roll)
    places = torch.stack([(right + aside) / STORED_ACROSS_MM[-1], up / STORED_HEIGHTS_MM[-1]], dim=3)
    stored = torch.from_numpy(rows.astype(np.float32))
    inside = torch.isfinite(stored)
    both = torch.stack([torch.where(inside, stored, torch.zeros(())), inside.float()], dim=1)
    found = functional.grid_sample(both, places, align_corners=True, padding_mode="zeros")
    return torch.where(found[:, 1] > 0.999, found[:, 0], torch.tensor(torch.nan))


def _changed(rows: Tensor, generator: np.random.Generator) -> Tensor:
    """Rows (N, H, W) with less of the leg, seen or behind blades, in other tones and with more noise."""
    count, height, width = rows.shape
    tone = _tensor(generator.uniform(-_GAMMA, _GAMMA, count))[:, None, None]
    noise = _tensor(generator.exponential(_NOISE, count))[:, None, None]
    rows = rows + tone * (rows.clamp(-3.0, 3.0) ** 2 - 1.0) + noise * _tensor(generator.normal(size=rows.shape))
    ends = [_cuts(count, size, generator) for size in (height, width)]
    shown = (ends[0][:, :, None]) & (ends[1][:, None, :])
    behind = np.where(generator.random(count) < _BLADE_SHARE, generator.uniform(-2.0, 4.0, count), np.nan)
    covered = torch.isfinite(rows) & ~shown
    return torch.where(covered, _tensor(behind)[:, None, None], rows)


def _cuts(count: int, size: int, generator: np.random.Generator) -> Tensor:
    """(N, size) bool: False at either end, in a share of them."""
    low, high = (
        np.where(generator.random(count) < _CUT_SHARE, generator.integers(0, _LARGEST_CUT, count), 0) for _ in (0, 1)
    )
    place = np.arange(size)[None]
    return torch.from_numpy((place >= low[:, None]) & (place < size - high[:, None]))

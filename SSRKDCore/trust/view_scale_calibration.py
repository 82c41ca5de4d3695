"""What the network that compares two views' heights knows, and profiles of line integrals, on pairs that it was not trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.geometry.calibration.slice_profiles import match_of_rows
from SSRKDCore.geometry.epipolar_rows import HEIGHTS_MM
from SSRKDCore.networks.height_matching import HeightMatcher
from SSRKDCore.trust.flags import SCALE_PERCENT
from SSRKDCore.trust.known_spreads import fit_factors, known_to
from SSRKDCore.trust.view_scale_batches import stated_batch
from SSRKDCore.trust.view_scale_matcher import ViewScaleMatcher, match, profile_spread
from SSRKDCore.trust.view_scale_pairs import LOOKS, ViewPairs

Array = NDArray[np.float64]

#: Percent to which a scale must be known to be checked.
CHECKED_PERCENT = SCALE_PERCENT[1]
# How far scales and shifts are misstated.
_STATED_SCALE, _STATED_SHIFT_MM = 0.06, 4.0
_AT_A_TIME = 16


@dataclass(frozen=True)
class StatedErrors:
    """Of pairs that are misstated at random, by network and by profiles: spreads and errors (N,), scales as shares, shifts in mm.

    Errors and spreads of profiles are infinite where they say nothing.
    """

    scale_spread: Array
    scale_error: Array
    shift_spread: Array
    shift_error: Array
    profile_spread: Array
    profile_scale_error: Array
    profile_shift_error: Array


def stated_errors(network: HeightMatcher, pairs: ViewPairs, seed: int) -> StatedErrors:
    """What is said of pairs whose second view is misstated at random, every third not at all."""
    generator = np.random.default_rng([seed, len(pairs.looks)])
    count = len(pairs.looks)
    scale = generator.uniform(-_STATED_SCALE, _STATED_SCALE, count)
    shift = generator.uniform(-_STATED_SHIFT_MM, _STATED_SHIFT_MM, count)
    scale[::3], shift[::3] = 0.0, 0.0
    rows: list[list[float]] = []
    for start in range(0, count, _AT_A_TIME):
        part = np.arange(start, min(start + _AT_A_TIME, count))
        batch = stated_batch(pairs, part, scale[part].tolist(), shift[part].tolist())
        found = match(network, batch.first, batch.second)
        for index, first, second in zip(part, batch.first.numpy(), batch.second.numpy(), strict=True):
            here = index - start
            row = [found.scale_spread[here], found.scale[here] - scale[index]]
            row += [found.shift_spread_mm[here], found.shift_mm[here] - shift[index]]
            seen = match_of_rows([first, second], HEIGHTS_MM)
            if seen is None:
                row += [np.inf] * 3
            else:
                spread = profile_spread(seen.correlation)
                row += [spread, seen.percent / 100.0 - scale[index], seen.shift_mm - shift[index]]
            rows.append(row)
    return StatedErrors(*np.array(rows, dtype=np.float64).T)


def calibrated(network: HeightMatcher, pairs: ViewPairs, seed: int) -> tuple[ViewScaleMatcher, dict[str, Any]]:
    """The network with what is known by it and by profiles on pairs that it was not trained on, and by look how well, for people.

    Raises InputError for too few pairs.
    """
    found = stated_errors(network, pairs, seed)
    seen = np.isfinite(found.profile_spread)
    matcher = ViewScaleMatcher(
        network,
        fit_factors(found.scale_spread, found.scale_error),
        fit_factors(found.shift_spread, found.shift_error),
        fit_factors(found.profile_spread[seen], found.profile_scale_error[seen]),
        fit_factors(found.profile_spread[seen], found.profile_shift_error[seen]),
    )
    of_network = np.array([known_to(matcher.scale_factors, spread) for spread in found.scale_spread])
    of_profiles = np.array([known_to(matcher.profile_scale_factors, spread) for spread in found.profile_spread])
    better = of_profiles < of_network
    error = 100 * np.abs(np.where(better, found.profile_scale_error, found.scale_error))
    known = 100 * np.minimum(of_network, of_profiles)
    looks = {}
    for look in LOOKS:
        here = pairs.looks == look
        if here.any():
            checked = here & (known <= CHECKED_PERCENT)
            looks[look] = {
                "pairs": int(here.sum()),
                "known_to_3_percent": int(checked.sum()),
                "of_those_by_profiles": int((checked & better).sum()),
                "within_what_is_known": int((here & (error <= known)).sum()),
                "largest_error_percent_of_those": float(error[checked].max()) if checked.any() else None,
                "median_error_percent": float(np.median(error[here])),
                "error_percent_of_90_percent": float(np.quantile(error[here], 0.9)),
                "error_mm_of_90_percent_by_network": float(np.quantile(np.abs(found.shift_error[here]), 0.9)),
            }
    return matcher, looks

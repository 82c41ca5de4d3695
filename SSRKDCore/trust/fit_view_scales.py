"""Train the network that compares the scale of two views: `python -m SSRKDCore.trust.fit_view_scales --cases DIR --held-out DIR`.

It learns from training cases in many rooms (`view_scale_pairs`), whose geometry is misstated on purpose. How far its own spread is to be
believed comes from other cases in the same kinds of rooms. Neither sees a site, a person or a case that trust is measured on.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from SSRKDCore.console import progress_bar, say
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.geometry.calibration.slice_profiles import match_of_rows
from SSRKDCore.geometry.epipolar_rows import HEIGHTS_MM
from SSRKDCore.networks.height_matching import SCALES, SHIFTS_MM, HeightMatcher
from SSRKDCore.training.code_version import command_of, made_by
from SSRKDCore.training.program import exit_code_of
from SSRKDCore.trust.known_spreads import fit_factors, known_to
from SSRKDCore.trust.training_observation import labelled_folders
from SSRKDCore.trust.view_scale_batches import MatchBatch, stated_batch, training_batch
from SSRKDCore.trust.view_scale_matcher import ViewScaleMatcher, match, matcher_folder, profile_spread, save_matcher
from SSRKDCore.trust.view_scale_pairs import LOOKS, ViewPairs, view_pairs

Array = NDArray[np.float64]
Progress = Callable[[float, str], None]

#: Percent to which a scale must be known to be checked, see `trust.flags`.
CHECKED_PERCENT = 3.0
# Deviation of the likelihood that is asked for: about the distance between neighbours.
_SCALE_SD, _SHIFT_SD_MM = 0.004, 0.4
_STATED_SCALE, _STATED_SHIFT_MM = 0.06, 4.0
_CHECKPOINT_STEPS = 200


@dataclass(frozen=True)
class MatcherTraining:
    """How it is trained: steps of `batch` pairs, the largest learning rate of one cycle, and the seed of all randomness."""

    steps: int = 3600
    batch: int = 12
    rate: float = 3e-3
    seed: int = 0


def loss_of(network: HeightMatcher, batch: MatchBatch) -> Tensor:
    """Cross entropy to a normal distribution about the true scale and shift."""
    values = network(batch.first, batch.second)
    scale, shift = SCALES[None] - batch.scale[:, None], SHIFTS_MM[None] - batch.shift_mm[:, None]
    wanted = (-0.5 * (scale[:, :, None] / _SCALE_SD) ** 2 - 0.5 * (shift[:, None] / _SHIFT_SD_MM) ** 2).flatten(1)
    return -(wanted.softmax(dim=1) * values.flatten(1).log_softmax(dim=1)).sum(dim=1).mean()


def train(
    pairs: ViewPairs,
    training: MatcherTraining,
    checkpoint: Path,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> HeightMatcher:
    """A trained network. checkpoint: a file from which the same call goes on. Raises InputError for a checkpoint of another training."""
    torch.manual_seed(training.seed)
    network = HeightMatcher()
    optimiser = torch.optim.AdamW(network.parameters(), training.rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, training.rate, total_steps=training.steps, pct_start=0.1)
    parts: Mapping[str, Any] = {"network": network, "optimiser": optimiser, "schedule": schedule}
    identity = {**vars(training), "pairs": len(pairs.looks), "first": str(pairs.cases[0])}
    step = _resumed(checkpoint, parts, identity)
    while step < training.steps:
        if cancelled is not None and cancelled():
            raise Cancelled("Training was cancelled.")
        # Numbers of a step depend on the step alone, so that a resumed training is the same training.
        generator = np.random.default_rng([training.seed, step])
        chosen = generator.choice(len(pairs.looks), training.batch, replace=len(pairs.looks) < training.batch)
        loss = loss_of(network, training_batch(pairs, chosen, generator))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        step += 1
        if progress is not None:
            progress(step / training.steps, f"step {step} of {training.steps}, loss {loss.item():.2f}")
        if step % _CHECKPOINT_STEPS == 0 or step == training.steps:
            _keep(checkpoint, parts, identity, step)
    return network.eval()


def _keep(file: Path, parts: Mapping[str, Any], identity: Mapping[str, Any], step: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(file.name + ".part")
    torch.save(
        {**{name: part.state_dict() for name, part in parts.items()}, "of": dict(identity), "step": step}, beside
    )
    os.replace(beside, file)


def _resumed(file: Path, parts: Mapping[str, Any], identity: Mapping[str, Any]) -> int:
    """The step at which a training goes on."""
    if not file.is_file():
        return 0
    try:
        kept = torch.load(file, weights_only=True)
        if kept["of"] != dict(identity):
            raise InputError(f"{file} is of a training with other settings or cases: give another --work.")
        for name, part in parts.items():
            part.load_state_dict(kept[name])
        return int(kept["step"])
    except InputError:
        raise
    except Exception as error:  # A damaged checkpoint fails in any way that reading can fail; each means the same here.
        raise InputError(f"{file} is damaged ({type(error).__name__}): delete it and call again.") from error


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
    for start in range(0, count, 16):
        part = np.arange(start, min(start + 16, count))
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
                "largest_error_percent_of_those": float(error[checked].max()) if checked.any() else None,
                "median_error_percent": float(np.median(error[here])),
                "error_percent_of_90_percent": float(np.quantile(error[here], 0.9)),
                "error_mm_of_90_percent_by_network": float(np.quantile(np.abs(found.shift_error[here]), 0.9)),
            }
    return matcher, looks


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Train the network that compares the scale of two views.")
    parser.add_argument("--cases", type=Path, required=True, help="folder of labelled training cases with CTs")
    parser.add_argument("--held-out", type=Path, required=True, help="folder of other such cases, to calibrate on")
    parser.add_argument("--pairs", type=_positive, default=8, help="pairs of radiographs of each case (8)")
    parser.add_argument("--held-out-pairs", type=_positive, default=24, help="likewise of the others (24)")
    parser.add_argument(
        "--steps", type=_positive, default=MatcherTraining.steps, help=f"of training ({MatcherTraining.steps})"
    )
    parser.add_argument("--seed", type=int, default=0, help="of all randomness (0)")
    parser.add_argument("--work", type=Path, help="folder to go on from (.view-scales.unfinished)")
    parser.add_argument("--out", type=Path, help="folder to write (the bundled one)")
    parsed = parser.parse_args(arguments)
    command = command_of("SSRKDCore.trust.fit_view_scales", arguments)
    return exit_code_of("fit_view_scales", lambda: _fit(parsed, command))


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return value


def _fit(parsed: argparse.Namespace, command: str) -> None:
    """Make pairs, train, calibrate, write and say; see `main`."""
    work = parsed.work or Path.cwd() / ".view-scales.unfinished"
    folders, others = labelled_folders(parsed.cases), labelled_folders(parsed.held_out)
    with progress_bar("Pairs to learn from") as progress:
        pairs = view_pairs(folders, parsed.pairs, work / "pairs", parsed.seed, progress)
    with progress_bar("Pairs to calibrate on") as progress:
        held_out = view_pairs(others, parsed.held_out_pairs, work / "held-out", parsed.seed + 1, progress)
    training = MatcherTraining(steps=parsed.steps, seed=parsed.seed)
    with progress_bar("Training") as progress:
        network = train(pairs, training, work / "last.ckpt", progress)
    matcher, looks = calibrated(network, held_out, parsed.seed)
    card = {
        **made_by(command),
        "training": {**vars(training), "cases": len(folders), "pairs": len(pairs.looks)},
        "held_out": {"cases": len(others), "pairs": len(held_out.looks), "looks": looks},
    }
    out = parsed.out or matcher_folder()
    save_matcher(out, matcher, card)
    for what, name in (("scales", "scale_factors"), ("heights", "shift_factors")):
        for whom, rows in (("network", getattr(matcher, name)), ("profiles", getattr(matcher, f"profile_{name}"))):
            words = ", ".join(f"{factor:.3g} from {start:.3g} on" for start, factor in rows)
            say(f"99 % of {what} are known by the {whom} to so many spreads: {words}")
    for look, row in looks.items():
        say(
            f"{look:<11} {row['known_to_3_percent']} of {row['pairs']} known to {CHECKED_PERCENT:.0f} %; error "
            f"{row['median_error_percent']:.2f} % in the middle, {row['error_percent_of_90_percent']:.2f} % at most of 90 %"
        )
    say(f"Written: {out}")


if __name__ == "__main__":
    sys.exit(main())

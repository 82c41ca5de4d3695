"""Train the network that compares the scale of two views: `python -m SSRKDCore.trust.fit_view_scales --cases DIR --held-out DIR`.

It learns from training cases in many rooms (`view_scale_pairs`), whose geometry is misstated on purpose. How far its own spread is to be
believed comes from other cases in the same kinds of rooms. Neither sees a site, a person or a case that trust is measured on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from SSRKDCore.console import progress_bar, say
from SSRKDCore.errors import InputError
from SSRKDCore.training.code_version import command_of, made_by
from SSRKDCore.training.program import exit_code_of, positive_number
from SSRKDCore.trust.known_spreads import FEWEST_IN_GROUP
from SSRKDCore.trust.training_observation import labelled_folders
from SSRKDCore.trust.view_scale_calibration import CHECKED_PERCENT, calibrated
from SSRKDCore.trust.view_scale_matcher import matcher_folder, save_matcher
from SSRKDCore.trust.view_scale_pairs import view_pairs
from SSRKDCore.trust.view_scale_training import MatcherTraining, train


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Train the network that compares the scale of two views.")
    parser.add_argument("--cases", type=Path, required=True, help="folder of labelled training cases with CTs")
    parser.add_argument("--held-out", type=Path, required=True, help="folder of other such cases, to calibrate on")
    parser.add_argument("--pairs", type=positive_number, default=8, help="pairs of radiographs of each case (8)")
    parser.add_argument("--held-out-pairs", type=positive_number, default=24, help="likewise of the others (24)")
    parser.add_argument(
        "--steps", type=positive_number, default=MatcherTraining.steps, help=f"of training ({MatcherTraining.steps})"
    )
    parser.add_argument("--seed", type=int, default=0, help="of all randomness (0)")
    parser.add_argument("--work", type=Path, help="folder to go on from (.view-scales.unfinished)")
    parser.add_argument("--out", type=Path, help="folder to write (the bundled one)")
    parsed = parser.parse_args(arguments)
    command = command_of("SSRKDCore.trust.fit_view_scales", arguments)
    return exit_code_of("fit_view_scales", lambda: _fit(parsed, command))


def _fit(parsed: argparse.Namespace, command: str) -> None:
    """Make pairs, train, calibrate, write and say; see `main`."""
    out = parsed.out or matcher_folder()
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: choose a folder for the network.")
    work = parsed.work or Path.cwd() / ".view-scales.unfinished"
    if parsed.cases.resolve() == parsed.held_out.resolve():
        raise InputError(f"{parsed.held_out} is what the network learns from: give other cases as --held-out.")
    folders, others = labelled_folders(parsed.cases), labelled_folders(parsed.held_out)
    if len(others) * parsed.held_out_pairs < FEWEST_IN_GROUP:
        raise InputError(
            f"{len(others)} held-out cases with {parsed.held_out_pairs} pairs each are too few to tell how well scales are known: give "
            f"{FEWEST_IN_GROUP} pairs by more cases or --held-out-pairs."
        )
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

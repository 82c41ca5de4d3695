"""`ssrkd bench`: the reconstruction against the published path, on this machine."""

from __future__ import annotations

import argparse
from typing import Any

from SSRKDCore.console import progress_bar, say
from SSRKDCore.errors import InputError

HELP = "measure speed, exactness and memory of the reconstruction against the published path"

_ARCHITECTURES = ("paper", "published", "compact")
_DEFAULT = ("paper", "published")
_NOTE = (
    "The networks have full size and random weights, but for a knee of capsules that is written into their feature maps and first "
    "classifier units: trained weights of that size are not at hand, and random ones alone would give surfaces everywhere."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--architecture", action="append", choices=_ARCHITECTURES, help="repeatable; paper and published unless given"
    )
    parser.add_argument(
        "--resolution", type=int, default=256, metavar="N", help="samples along a side of the cube (256)"
    )
    parser.add_argument(
        "--full-naive",
        action="store_true",
        help="time a whole naive pass (minutes) instead of extrapolating from a slice",
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    if not 32 <= args.resolution <= 512:
        raise InputError(f"The resolution is {args.resolution}: use a whole number from 32 to 512.")
    from SSRKDCore.reconstruction.benchmark import LOGIT_TOLERANCE, benchmark

    say(_NOTE)
    results: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(args.architecture or _DEFAULT):
        with progress_bar("Measuring") as progress:
            results[name] = benchmark(name, args.resolution, args.full_naive, progress)
        _say_result(results[name])
    peaks = [result["peak_memory_bytes"] for result in results.values() if result["peak_memory_bytes"] is not None]
    identical = all(result["labels_identical"] for result in results.values())
    difference = max(result["max_logit_difference"] for result in results.values())
    return {
        "speedup": min(result["speedup"] for result in results.values()),
        "labels_identical": identical,
        "max_logit_difference": difference,
        "peak_memory_bytes": max(peaks) if peaks else None,
        "seconds": {name: result["seconds"] for name, result in results.items()},
        "architectures": results,
        "setup": _NOTE,
        "exit_code": 0 if identical and difference <= LOGIT_TOLERANCE else 1,
    }


def _say_result(result: dict[str, Any]) -> None:
    seconds = result["seconds"]
    say(f"{result['architecture']}, {result['resolution']}^3 samples, {result['threads']} threads:")
    for stage, words in (
        ("encode", "encoder"),
        ("tables", "feature tables"),
        ("octree", f"octree, {100 * result['evaluated_share']:.1f} % of the samples evaluated"),
        ("components", "one piece a bone"),
        ("surfaces", "surfaces"),
    ):
        say(f"  {seconds[stage]:8.3f} s  {100 * seconds[stage] / seconds['total']:3.0f} %  {words}")
    how = "extrapolated from a slice" if result["naive_extrapolated"] else "one pass of four measured"
    say(f"  {seconds['total']:8.3f} s  in all")
    say(
        f"  to the logits: {result['fast_seconds']:.3f} s against {result['naive_seconds']:.0f} s naive ({how}), "
        f"{result['speedup']:.0f} times faster"
    )
    labels = "identical to dense" if result["labels_identical"] else f"DIFFER at {result['labels_differing']} samples"
    if result["labels_differing_within_rounding"]:
        labels += f" (but for {result['labels_differing_within_rounding']} ties within rounding)"
    peak = result["peak_memory_bytes"]
    memory = "unknown" if peak is None else f"{peak / 2**30:.2f} GiB"
    say(f"  labels {labels}; logits within {result['max_logit_difference']:.1e}; peak memory {memory}")

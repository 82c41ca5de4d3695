"""`ssrkd bench`: the reconstruction's speed on a device, and against the published path, on this machine."""

from __future__ import annotations

import argparse
from typing import Any

from SSRKDCore.console import progress_bar, say
from SSRKDCore.errors import InputError
from SSRKDCore.process_memory import keep_freed_memory
from SSRKDCore.reconstruction.search_tolerance import checked_tolerance

HELP = (
    "measure speed, exactness and memory of the reconstruction, by stage and precision, and against the published path"
)

_ARCHITECTURES = ("paper", "published", "compact")
_DEFAULT = ("paper", "published")
_NOTE = (
    "The networks have full size and random weights, but for a knee of capsules that is written into their feature maps and first "
    "classifier units: trained weights of that size are not at hand, and random ones alone would give surfaces everywhere."
)
_MOST_TURNS = 1000
#: Of the search with a tolerance, see `ssrkd reconstruct --surface-tolerance`.
TOLERANCE_MM = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--architecture", action="append", choices=_ARCHITECTURES, help="repeatable; paper and published unless given"
    )
    parser.add_argument(
        "--resolution", type=int, default=256, metavar="N", help="samples along a side of the cube (256)"
    )
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda", "mps"), default="cpu", help="where the network runs (cpu)"
    )
    parser.add_argument(
        "--precision",
        action="append",
        choices=("float32", "bfloat16"),
        help="repeatable, compared with float32; all that the device has unless given",
    )
    parser.add_argument(
        "--surface-tolerance",
        type=float,
        metavar="MM",
        default=TOLERANCE_MM,
        help="measure each precision with a search that interpolates within this, too; 0 does not (%(default)s)",
    )
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="turns of each precision that count (5)")
    parser.add_argument("--warm-up", type=int, default=1, metavar="N", help="turns before them that do not (1)")
    parser.add_argument(
        "--naive",
        action=argparse.BooleanOptionalAction,
        help="compare with the published path as well, always on the CPU in float32 (yes with --device cpu)",
    )
    parser.add_argument(
        "--full-naive",
        action="store_true",
        help="time a whole naive pass (minutes) instead of extrapolating from a slice",
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    if not 32 <= args.resolution <= 512:
        raise InputError(f"The resolution is {args.resolution}: use a whole number from 32 to 512.")
    if not 1 <= args.repeats <= _MOST_TURNS:
        raise InputError(f"The repeats are {args.repeats}: use a whole number from 1 to {_MOST_TURNS}.")
    if not 0 <= args.warm_up <= _MOST_TURNS:
        raise InputError(f"The warm-up turns are {args.warm_up}: use a whole number from 0 to {_MOST_TURNS}.")
    checked_tolerance(args.surface_tolerance)
    if args.full_naive and args.naive is False:
        raise InputError("--full-naive and --no-naive contradict each other: leave one of them out.")
    keep_freed_memory()
    from SSRKDCore.reconstruction.benchmark import LOGIT_TOLERANCE, benchmark
    from SSRKDCore.reconstruction.devices import choose_device
    from SSRKDCore.reconstruction.precision import choose_precision, supported_precisions
    from SSRKDCore.reconstruction.speed import measure_speed
    from SSRKDCore.training.code_version import commit, today

    device = choose_device(args.device)
    precisions = args.precision or supported_precisions(device)
    for precision in precisions:
        choose_precision(precision, device)
    naive = args.naive or args.full_naive or (args.naive is None and device.type == "cpu")
    say(_NOTE)
    missing = _not_run(device.type)
    speeds: dict[str, dict[str, Any]] = {}
    results: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(args.architecture or _DEFAULT):
        with progress_bar("Measuring") as progress:
            speeds[name] = measure_speed(
                name,
                args.resolution,
                device,
                precisions,
                args.repeats,
                args.warm_up,
                progress,
                args.surface_tolerance or None,
            )
        _say_speed(name, args.resolution, speeds[name])
        if naive:
            with progress_bar("Measuring") as progress:
                results[name] = benchmark(name, args.resolution, args.full_naive, progress)
            _say_result(results[name])
    for sentence in missing.values():
        say(sentence)
    return {
        "speed": speeds,
        "not_run": missing,
        "setup": _NOTE,
        "commit": commit(),
        "date": today(),
        "exit_code": 0,
        **_against_published(results, LOGIT_TOLERANCE),
    }


def _against_published(results: dict[str, dict[str, Any]], tolerance: float) -> dict[str, Any]:
    """The worst of all architectures, and all figures; nothing where nothing was compared."""
    if not results:
        return {}
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
        "exit_code": 0 if identical and difference <= tolerance else 1,
    }


def _not_run(device: str) -> dict[str, str]:
    """By device: a sentence for the GPU that was not measured."""
    from SSRKDCore.reconstruction.devices import available_devices

    if device == "cuda":
        return {}
    why = "ask for it by --device cuda" if "cuda" in available_devices() else "this machine has none"
    return {"cuda": f"No CUDA device was measured in this run: {why}."}


def _say_speed(name: str, resolution: int, speed: dict[str, Any]) -> None:
    turns = f"median of {speed['repeats']} turns after {speed['warm_up']} of warm-up (lowest to highest)"
    where = f"{speed['threads']} threads" if speed["device"] == "cpu" else speed["device_name"]
    say(f"{name}, {resolution}^3 samples, {speed['device']} ({where}), {turns}:")
    for precision, figures in speed["precisions"].items():
        say(f"  {precision}:")
        for stage in ("encode", "tables", "octree", "network", "components", "surfaces", "total"):
            values = figures["seconds"][stage]
            words = {"network": "up to the labels", "total": "in all"}.get(stage, stage)
            say(f"    {values['median']:8.3f} s  ({values['lowest']:.3f} to {values['highest']:.3f})  {words}")
        memory = figures["peak_memory_bytes"]
        kept = "unknown" if memory is None else f"{memory / 2**30:.2f} GiB"
        bound = figures["arithmetic_bound"]
        say(
            f"    {bound['seconds']['network']:8.3f} s  the arithmetic up to the labels alone: "
            f"{sum(bound['operations'].values()) / 1e9:.0f} GFLOP at the {bound['operations_per_second'] / 1e9:.0f} GFLOP/s "
            "of a large product"
        )
        say(f"    {figures['ratio_to_float32']:.2f} of float32's time in the same turn; peak memory {kept}")
        if precision != "float32":
            largest, mean = figures["largest_displacement_mm"], figures["mean_displacement_mm"]
            moved = (
                "a bone is absent in one of both"
                if largest is None
                else f"{mean:.3f} mm on average, {largest:.2f} mm at most"
            )
            say(
                f"    {figures['evaluated_points']} points evaluated; labels that differ from float32: {figures['labels_differing']} "
                f"({100 * figures['labels_differing_share']:.4f} %); between the surfaces: {moved}"
            )


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

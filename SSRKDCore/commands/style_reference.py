"""`ssrkd style-reference`: how the images of a training domain look, as a small file for `ssrkd reconstruct --style`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from SSRKDCore.console import progress_bar, say

HELP = "measure grey values and fineness of training samples, for --style"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "--samples", required=True, type=Path, metavar="DIR", help="samples that a model was trained on"
    )
    parser.add_argument(
        "--cases", type=int, default=100, metavar="N", help="at most so many cases, evenly spread (100)"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="the JSON file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Fits the style and writes it; returns what is in the file."""
    import numpy as np

    from SSRKDCore.errors import InputError
    from SSRKDCore.json_files import read_json
    from SSRKDCore.radiographs.style_matching import fitted_style
    from SSRKDCore.training.sample_store import SampleStore

    if args.cases < 1:
        raise InputError(f"--cases is {args.cases}: use at least 1.")
    if args.out.exists() and not args.overwrite:
        raise InputError(f"{args.out} exists: choose another file, or use --overwrite.")
    if not args.out.resolve().parent.is_dir():
        raise InputError(f"The folder of {args.out} does not exist: make it first.")
    store = SampleStore(args.samples)
    chosen = sorted({int(i) for i in np.linspace(0, len(store) - 1, min(args.cases, len(store)))})
    images = (image.astype(np.float64) for case in chosen for image in store.read(case, 0, teacher=False).images)
    with progress_bar("style") as progress:
        style = fitted_style(images, f"{len(chosen)} cases of samples {store.fingerprint}", progress, 2 * len(chosen))
    style.save(args.out)
    say(f"Written: {args.out}, the mean of {style.images} images.")
    return read_json(args.out, "a style reference")

"""`ssrkd style-reference`: how the images of a training domain look, as a small file for `ssrkd reconstruct --match-style`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from SSRKDCore.console import progress_bar, say

HELP = "measure grey values and fineness of training samples, for --match-style"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "--samples", required=True, type=Path, metavar="DIR", help="samples that a model was trained on"
    )
    parser.add_argument(
        "--cases", type=int, default=100, metavar="N", help="at most so many cases, evenly spread (100)"
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", type=Path, metavar="FILE", help="the JSON file to write")
    where.add_argument(
        "--model", type=Path, metavar="DIR", help="the model folder that shall bring it, for `--match-style model`"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file, or that of the model")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Fits the style and writes it; returns what is in the file."""
    import tempfile

    import numpy as np

    from SSRKDCore.errors import InputError
    from SSRKDCore.json_files import read_json
    from SSRKDCore.networks.model_folder import STYLE_REFERENCE_NAME, add_style_reference
    from SSRKDCore.radiographs.style_matching import fitted_style
    from SSRKDCore.training.sample_store import SampleStore

    if args.cases < 1:
        raise InputError(f"--cases is {args.cases}: use at least 1.")
    target = args.out if args.model is None else args.model / STYLE_REFERENCE_NAME
    if args.model is not None:
        _check_model(args.model)
    if target.exists() and not args.overwrite:
        raise InputError(f"{target} exists: choose another one, or use --overwrite.")
    if not target.resolve().parent.is_dir():
        raise InputError(f"The folder of {target} does not exist: make it first.")
    store = SampleStore(args.samples)
    chosen = sorted({int(i) for i in np.linspace(0, len(store) - 1, min(args.cases, len(store)))})
    images = (image.astype(np.float64) for case in chosen for image in store.read(case, 0, teacher=False).images)
    with progress_bar("style") as progress:
        style = fitted_style(images, f"{len(chosen)} cases of samples {store.fingerprint}", progress, 2 * len(chosen))
    if args.model is None:
        style.save(target)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            style.save(Path(scratch) / STYLE_REFERENCE_NAME)
            add_style_reference(args.model, Path(scratch) / STYLE_REFERENCE_NAME)
    say(f"Written: {target}, the mean of {style.images} images.")
    return read_json(target, "a style reference")


def _check_model(folder: Path) -> None:
    """Refuse a folder that is no X-ray model before anything is measured."""
    from SSRKDCore.errors import InputError
    from SSRKDCore.json_files import read_json
    from SSRKDCore.networks.model_folder import DESCRIPTION_NAME

    kind = read_json(folder / DESCRIPTION_NAME, "a model description").get("kind")
    if kind != "xray":
        raise InputError(
            f"{folder} is a model of kind {kind}, and only one of kind xray reads radiographs: name another."
        )

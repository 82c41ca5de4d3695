"""`ssrkd import-weights`: a released checkpoint (.pth) to a model folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SSRKDCore.console import say
from SSRKDCore.errors import InputError
from SSRKDCore.output_folder import check_output_folder

if TYPE_CHECKING:
    from SSRKDCore.networks.model_folder import Model, ModelInput
    from SSRKDCore.networks.published_import import PublishedNetwork

HELP = "turn a released SSR-KD checkpoint (.pth) into a model folder"

#: The rule of the reference: images scaled by 6 and background kept at weight 0.5.
_PUBLISHED_INTENSITY_SCALE = 6.0
_PUBLISHED_BACKGROUND_WEIGHT = 0.5
_PUBLISHED_HOUNSFIELD_WINDOW = (-400.0, 500.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("file", type=Path, metavar="FILE.pth", help="recon_xray, recon_ct or bone_seg, as released")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the model folder to write")
    parser.add_argument(
        "--segmenter",
        type=Path,
        metavar="bone_seg.pth",
        help="for recon_xray: the checkpoint that makes its first channel",
    )
    parser.add_argument("--peer", choices=("A", "B"), default="A", help="which of two peers to take (default A)")
    parser.add_argument(
        "--verify",
        type=Path,
        metavar="golden.npz",
        help="compare with these outputs; FILE.pth must hold the reference weights of --seed; exit code 1 above 1e-4",
    )
    parser.add_argument("--seed", type=int, help="seed of the reference weights and inputs (default 20260)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing folder")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Imports, verifies if asked to, and writes the model folder."""
    if args.seed is not None and args.verify is None:
        raise InputError("--seed belongs to --verify; give the golden.npz to compare with.")
    check_output_folder(args.out, args.overwrite)

    from SSRKDCore.networks.published_import import read_published

    published = read_published(args.file, args.peer)
    if args.segmenter is not None and published.layout.kind != "xray":
        raise InputError(f"{args.file} holds {published.layout.name}, which needs no segmenter; leave --segmenter out.")
    segmenter = _read_segmenter(args.segmenter) if args.segmenter is not None else None
    say(f"{args.file} holds {published.layout.name}" + (f", peer {published.peer}." if published.peer else "."))

    result: dict[str, Any] = {"network": published.layout.name, "kind": published.layout.kind, "peer": published.peer}
    if args.verify is not None:
        result.update(_verify(published, args))
        if not result["verified"]:
            say(f"Nothing was written to {args.out}.")
            return {**result, "folder": None, "exit_code": 1}
    _save(args, published, segmenter)
    result["folder"] = str(args.out)
    result["segmenter"] = segmenter is not None
    say(f"The model folder is {args.out}.")
    if published.layout.kind == "xray" and segmenter is None:
        say("It has no segmenter to make the bone-enhanced image it reads: import again with --segmenter bone_seg.pth.")
    return result


def _verify(published: PublishedNetwork, args: argparse.Namespace) -> dict[str, Any]:
    from SSRKDCore.networks.reference_check import DEFAULT_SEED, TOLERANCE, largest_difference, read_golden

    seed = DEFAULT_SEED if args.seed is None else args.seed
    if not 0 <= seed < 2**62:
        raise InputError(f"The seed {seed} is out of range; give the one the golden outputs were made with.")
    differences = largest_difference(published.network, read_golden(args.verify), seed)
    for name, difference in differences.items():
        say(f"{name}: largest difference {difference:.3g}")
    largest = max(differences.values())
    verified = largest <= TOLERANCE
    say(f"Largest difference {largest:.3g}, {'within' if verified else 'ABOVE'} {TOLERANCE:g}.")
    return {
        "seed": seed,
        "differences": differences,
        "largest_difference": largest,
        "tolerance": TOLERANCE,
        "verified": verified,
    }


def _read_segmenter(path: Path) -> Model:
    from SSRKDCore.networks.model_folder import Model
    from SSRKDCore.networks.published_import import read_published

    published = read_published(path)
    if published.layout.kind != "segmenter":
        raise InputError(f"{path} holds {published.layout.name}, not the segmenter bone_seg; give bone_seg.pth.")
    card = {"training": _provenance(published), "licence": "MIT", "weights": {"dtype": "float32"}}
    return Model(
        published.network, published.layout.config, "segmenter", _name(published), path, card, _input_of(published)
    )


def _save(args: argparse.Namespace, published: PublishedNetwork, segmenter: Model | None) -> None:
    from SSRKDCore.networks.model_folder import save_model

    save_model(
        args.out,
        published.network,
        published.layout.config,
        name=_name(published),
        model_input=_input_of(published),
        training=_provenance(published),
        licence="MIT",
        segmenter=segmenter,
        overwrite=args.overwrite,
    )


def _name(published: PublishedNetwork) -> str:
    return f"SSR-KD {published.layout.name} (published)"


def _input_of(published: PublishedNetwork) -> ModelInput:
    from SSRKDCore.networks.model_folder import ModelInput

    if published.layout.kind == "ct":
        return ModelInput(standardisation={"hounsfield_window": list(_PUBLISHED_HOUNSFIELD_WINDOW)})
    to_published_unit = {"method": "scale", "factor": published_unit()}
    if published.layout.kind == "xray":
        return ModelInput(_PUBLISHED_INTENSITY_SCALE, _PUBLISHED_BACKGROUND_WEIGHT, to_published_unit)
    return ModelInput(standardisation=to_published_unit)


def published_unit() -> float:
    """What a line integral (-log(I/I0)) is multiplied by to stand in for the released networks' pixel values.

    They were trained on integrals, over metres, of CT windowed from -400..500 HU to 0..1. The factor is right for water; bone above
    500 HU, which that window cuts off, comes out brighter than in their training.
    """
    from SSRKDCore.drr.attenuation import linear_attenuation

    low, high = _PUBLISHED_HOUNSFIELD_WINDOW
    windowed_water_per_mm = (0.0 - low) / (high - low) / 1000.0
    return windowed_water_per_mm / linear_attenuation("water")


def _provenance(published: PublishedNetwork) -> dict[str, Any]:
    source = {
        "source": f"the authors' released checkpoint {published.layout.name}",
        "file": published.source.name,
        "measured errors": "none by this project: the released weights are converted, not retrained",
    }
    return {**source, "peer": published.peer} if published.peer else source

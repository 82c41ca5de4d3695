"""What the remedies for real images cost, as shares of a reconstruction: `python -m SSRKDCore.reconstruction.remedy_cost --out FILE`.

In every turn one reconstruction of each kind and each remedy are timed one after the other, and shares are taken within a turn, so that
whatever else the machine does meets both. The first turn does not count.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from SSRKDCore.cases import load_case
from SSRKDCore.console import progress_bar, say
from SSRKDCore.errors import InputError
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.json_files import write_json
from SSRKDCore.networks.build import build_network
from SSRKDCore.networks.config import xray_config
from SSRKDCore.networks.model_folder import Model, ModelInput, load_model
from SSRKDCore.networks.style_config import style_config
from SSRKDCore.radiographs.radiograph import Radiograph
from SSRKDCore.radiographs.reader import read_radiograph
from SSRKDCore.radiographs.standardise import ROBUST, standardise
from SSRKDCore.radiographs.style_matching import fitted_style
from SSRKDCore.reconstruction.devices import choose_device
from SSRKDCore.reconstruction.network_input import resampled_radiograph, target_view, xray_config_of
from SSRKDCore.reconstruction.pipeline import reconstruct
from SSRKDCore.reconstruction.precision import supported_precisions
from SSRKDCore.reconstruction.speed import measure_speed
from SSRKDCore.reconstruction.style_transfer import translation
from SSRKDCore.resource_files import sample_case_folder
from SSRKDCore.training.program import exit_code_of
from SSRKDCore.trust.assessment import assess
from SSRKDCore.trust.case_measures import Encoded

SCHEMA = "ssrkd-remedy-cost/1"
#: The whole reconstruction with the bundled model, as `ssrkd reconstruct` does it, and without refinement.
REFINED, NETWORK = "bundled model, refined", "bundled model, network alone"
_REMEDIES = ("prepare", "match", "style network", "trust")
#: What one reconstruction may use of them: matching and a style network exclude each other.
_TOGETHER = {
    "prepare, match, trust": ("prepare", "match", "trust"),
    "prepare, style network, trust": ("prepare", "style network", "trust"),
}
_BLADE_SHARE, _TEXT_LINES, _SEED = 0.08, 2, 4

Turn = dict[str, float]


@dataclass(frozen=True)
class _Views:
    """Network views of the sample at one size, and what is done to them: (S, S) line integrals, coverage, standardised."""

    images: list[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]]
    style: Model


def remedy_cost(
    repeats: int, pixels: int, resolution: int, device: str, architecture: str = "paper",
    progress: Callable[[float, str], None] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Measure all remedies.

    Parameters
    ----------
    repeats: turns that count. pixels: side of the radiographs that are prepared, beside the sample's own. resolution, device: of the
    reconstructions; remedies run on the CPU, as `ssrkd reconstruct` runs them. architecture: of the large network, see `measure_speed`.

    Returns JSON-able figures: seconds of each job (median, lowest, highest), and each remedy as a share of each reconstruction.
    """
    tell = progress or (lambda fraction, words: None)
    place = choose_device(device)
    model, case = load_model(None), load_case(sample_case_folder())
    own = xray_config_of(model).input_size
    turns: list[Turn] = []
    load = _load_average()
    with tempfile.TemporaryDirectory() as folder:
        sample = [case.radiographs[view.name] for view in case.rig.views]
        shown = [read_radiograph(path, "ap" if index == 0 else "lateral") for index, path in enumerate(sample)]
        large = _written(Path(folder), shown, case.rig, pixels)
        views = {
            size: _views(shown, case.rig, size, preset)
            for size, preset in {own: "compact", xray_config(architecture).input_size: architecture}.items()
        }
        for number in range(repeats + 1):
            tell(number / (repeats + 1), "warming up" if number == 0 else f"turn {number}")
            turn: Turn = {}
            speed = measure_speed(architecture, resolution, place, supported_precisions(place), repeats=1, warm_up=0)
            for precision, figures in speed["precisions"].items():
                turn[f"{architecture} network, {precision}"] = figures["seconds"]["total"]["median"]
            _files(turn, f"{shown[0].pixels.shape[0]} pixels", sample)
            found = _files(turn, f"{pixels} pixels", large)
            for size, given in views.items():
                _network_views(turn, size, given)
            _bundled(turn, shown, case.rig, model, resolution, device)
            if number:
                turns.append(turn)
    return {
        "schema": SCHEMA, "unit": "s", "device": place.type, "threads": torch.get_num_threads(), "torch": torch.__version__,
        "load_average": {"before": load, "after": _load_average()}, "repeats": repeats, "resolution": resolution,
        "seconds": {name: _spread([turn[name] for turn in turns]) for name in turns[0]},
        "shares": _shares(turns, architecture, pixels, {NETWORK: own, REFINED: own}, xray_config(architecture).input_size),
        "prepared": list(found),
        "notes": [
            f"Both radiographs of the sample case; {pixels} pixels a side are the same enlarged, with a collimator and letters.",
            f"The {architecture} network has full size and the synthetic weights of `ssrkd bench`; its trust check is timed with the "
            "bundled model, which alone brings a reference.",
            "The style network is untrained, which takes as long; its check of edges is part of it.",
        ],
    }  # fmt: skip


def _written(folder: Path, shown: Sequence[Radiograph], rig: Rig, pixels: int) -> list[Path]:
    """The radiographs enlarged, collimated and lettered, as 16-bit DICOM files."""
    from scipy.ndimage import zoom

    from SSRKDCore.drr.clutter import blade_openness
    from SSRKDCore.evaluation.experiments.glyphs import with_letters
    from SSRKDCore.radiographs.dicom_writer import write_radiograph_dicom

    views = tuple(view.resampled(pixels, pixels) for view in rig.views)
    files = []
    for index, (radiograph, view) in enumerate(zip(shown, views, strict=True)):
        rows, columns = radiograph.pixels.shape
        image = zoom(radiograph.pixels, (pixels / rows, pixels / columns), order=1).astype(np.float32)
        open_part = blade_openness(
            torch.from_numpy(image)[None], torch.full((1, 4), _BLADE_SHARE), torch.zeros(1), torch.tensor([0.004])
        )[0].numpy()
        # Letters in the open field; behind the blades it is denser than the densest of them.
        inner = (slice(round(1.5 * _BLADE_SHARE * pixels), round((1 - 1.5 * _BLADE_SHARE) * pixels)),) * 2
        image[inner] = with_letters(image[inner], view, _TEXT_LINES, np.random.default_rng([_SEED, index]))
        image = (image * open_part + 1.1 * image.max() * (1 - open_part)).astype(np.float32)
        files.append(folder / f"{view.name}.dcm")
        write_radiograph_dicom(files[-1], image, view, replace(rig, views=views), "left")
    return files


def _views(shown: Sequence[Radiograph], rig: Rig, size: int, preset: str) -> _Views:
    config = style_config(preset if preset in ("paper", "compact") else "paper")
    network = build_network(config).eval()
    style = Model(network, config, "style", preset, Path(), {}, ModelInput(standardisation=dict(ROBUST)))
    images = []
    for radiograph, view in zip(shown, rig.views, strict=True):
        image, coverage = resampled_radiograph(radiograph, view, target_view(view, rig, size), view.name)
        images.append((image, coverage, standardise(image, coverage, ROBUST)))
    return _Views(images, style)


def _files(turn: Turn, name: str, files: Sequence[Path]) -> tuple[str, ...]:
    """Times reading and preparing; returns what preparing found."""
    turn[f"read, {name}"] = _seconds(lambda: [read_radiograph(path) for path in files])
    found: list[str] = []

    def prepared() -> None:
        for path in files:
            found.extend(
                step for step in read_radiograph(path, prepare=True).steps if "left out" in step or "filled" in step
            )

    turn[f"prepare, {name}"] = max(0.0, _seconds(prepared) - turn[f"read, {name}"])
    return tuple(found)


def _network_views(turn: Turn, size: int, given: _Views) -> None:
    look = fitted_style((image for image, _, _ in given.images), "the sample")

    def match() -> None:
        for image, coverage, _ in given.images:
            look.matched(image, coverage)

    def style() -> None:
        for _, coverage, image in given.images:
            translation(image, coverage, given.style)

    turn[f"match, {size} pixels"] = _seconds(match)
    turn[f"style network, {size} pixels"] = _seconds(style)


def _bundled(turn: Turn, shown: Sequence[Radiograph], rig: Rig, model: Model, resolution: int, device: str) -> None:
    kept: list[Encoded] = []
    start = time.perf_counter()
    result = reconstruct(
        shown, rig, model, resolution, device, encoded=lambda given, maps: kept.append(Encoded(given, maps))
    )
    turn[REFINED] = time.perf_counter() - start
    turn[NETWORK] = turn[REFINED] - result.timings.get("refine", 0.0)
    turn["trust"] = _seconds(lambda: assess(shown, rig, model, result, kept[-1]))


def _shares(
    turns: Sequence[Turn], architecture: str, pixels: int, bundled: Mapping[str, int], size: int
) -> dict[str, dict[str, float]]:
    """Reconstruction -> remedy -> median share of the same turn, of images of `pixels`; sizes of the network views by reconstruction."""
    references = {name: size for name in turns[0] if name.startswith(f"{architecture} network")} | dict(bundled)
    found: dict[str, dict[str, float]] = {}
    for reference, side in references.items():
        names = {
            "prepare": f"prepare, {pixels} pixels",
            "match": f"match, {side} pixels",
            "style network": f"style network, {side} pixels",
            "trust": "trust",
        }
        sums: dict[str, tuple[str, ...]] = {remedy: (names[remedy],) for remedy in _REMEDIES}
        sums.update({words: tuple(names[part] for part in parts) for words, parts in _TOGETHER.items()})
        found[reference] = {
            words: float(np.median([sum(turn[name] for name in parts) / turn[reference] for turn in turns]))
            for words, parts in sums.items()
        }
    return found


def _seconds(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": float(np.median(values)), "lowest": min(values), "highest": max(values)}


def _load_average() -> float | None:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def measure(arguments: argparse.Namespace) -> None:
    """Measure, write and say; see `main`."""
    if not 1 <= arguments.repeats <= 1000 or not 64 <= arguments.pixels <= 8192:
        raise InputError("Use 1 to 1000 repeats and 64 to 8192 pixels: correct --repeats or --pixels.")
    if not arguments.out.resolve().parent.is_dir():
        raise InputError(f"The folder of {arguments.out} does not exist: make it first.")
    with progress_bar("Measuring") as progress:
        found = remedy_cost(
            arguments.repeats,
            arguments.pixels,
            arguments.resolution,
            arguments.device,
            arguments.architecture,
            progress,
        )
    words = ["python", "-m", "SSRKDCore.reconstruction.remedy_cost", *sys.argv[1:]]
    write_json(arguments.out, {**found, "command": shlex.join(words)})
    for reference, shares in found["shares"].items():
        say(f"{reference}: {found['seconds'][reference]['median']:.2f} s; of that")
        for remedy, share in shares.items():
            say(f"  {100 * share:6.1f} %  {remedy}")
    say(f"Written: {arguments.out}")


def main() -> int:
    """Time every remedy and the reconstructions that it would be added to, and write the shares."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--repeats", type=int, default=7, help="turns that count (7)")
    parser.add_argument("--pixels", type=int, default=1760, help="side of the radiographs that are prepared (1760)")
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="cpu")
    parser.add_argument(
        "--architecture", choices=("paper", "compact"), default="paper", help="the large network (paper)"
    )
    arguments = parser.parse_args()
    return exit_code_of("remedy cost", lambda: measure(arguments))


if __name__ == "__main__":
    sys.exit(main())

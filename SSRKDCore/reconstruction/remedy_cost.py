"""What the remedies for real images cost, as shares of a reconstruction: `python -m SSRKDCore.reconstruction.remedy_cost --out FILE`.

In every turn one reconstruction of each kind and each remedy are timed one after the other, and shares are taken within a turn, so that
whatever else the machine does meets both. The first turn does not count.

What depends on the size of the radiographs, preparing and trust, is timed at the sample's own size and at that of a real detector; shares
are of the latter. Trust is that of each network: what it asks a network at points on the bones costs more of the large one.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from SSRKDCore.cases import load_case
from SSRKDCore.console import progress_bar, say
from SSRKDCore.errors import InputError
from SSRKDCore.geometry.network_view import resample_to_view
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.json_files import write_json
from SSRKDCore.networks.config import xray_config
from SSRKDCore.networks.model_folder import Model, load_model
from SSRKDCore.networks.xray_network import XrayReconstructionNetwork
from SSRKDCore.process_memory import keep_freed_memory
from SSRKDCore.radiographs.radiograph import Radiograph
from SSRKDCore.radiographs.reader import read_radiograph
from SSRKDCore.radiographs.style_matching import fitted_style
from SSRKDCore.reconstruction.devices import choose_device
from SSRKDCore.reconstruction.encoding import ready_to_encode
from SSRKDCore.reconstruction.network_input import target_view, xray_config_of
from SSRKDCore.reconstruction.pipeline import reconstruct
from SSRKDCore.reconstruction.precision import DEFAULT_PRECISION, PRECISIONS, supported_precisions
from SSRKDCore.reconstruction.remedy_scenes import NetworkViews, TrustScene, network_views, trust_scene
from SSRKDCore.reconstruction.speed import measure_speed
from SSRKDCore.reconstruction.style_transfer import precision_of_style, translation
from SSRKDCore.reconstruction.swapped_views import unsureness_with_one_exchanged
from SSRKDCore.resource_files import sample_case_folder
from SSRKDCore.side_by_side import side_by_side
from SSRKDCore.training.code_version import command_of, made_by
from SSRKDCore.training.program import exit_code_of
from SSRKDCore.trust.assessment import assess
from SSRKDCore.trust.case_measures import Encoded, case_measures
from SSRKDCore.trust.nearby_values import at_vertices_of_all
from SSRKDCore.trust.reference import reference_of

SCHEMA = "ssrkd-remedy-cost/1"
#: The whole reconstruction with the bundled model, as `ssrkd reconstruct` does it, and without refinement.
REFINED, NETWORK = "bundled model, refined", "bundled model, network alone"
_REMEDIES = ("prepare", "match", "style network", "trust")
_TRUST_OF = "trust of the {} network, {}"
_STYLE = "style network, {} pixels, {}"
_TRUST_OF_BUNDLED = "trust of the bundled model"
#: What one reconstruction may use of them: matching and a style network exclude each other.
_TOGETHER = {
    "prepare, match, trust": ("prepare", "match", "trust"),
    "prepare, style network, trust": ("prepare", "style network", "trust"),
}
_BLADE_SHARE, _TEXT_LINES, _SEED = 0.08, 2, 4

Turn = dict[str, float]


def remedy_cost(
    repeats: int, pixels: int, resolution: int, device: str, architecture: str = "paper",
    progress: Callable[[float, str], None] | None = None, tolerance_mm: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Measure all remedies.

    Parameters
    ----------
    repeats: turns that count. pixels: side of the radiographs that are prepared, beside the sample's own. resolution, device: of the
    reconstructions; remedies run on the CPU, as `ssrkd reconstruct` runs them. architecture: of the large network, tolerance_mm: of its
    search, see `measure_speed`.

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
        size = xray_config(architecture).input_size
        views = {
            side: network_views(shown, case.rig, side, preset)
            for side, preset in {own: "compact", size: architecture}.items()
        }
        judged = trust_scene(shown, case.rig, pixels, views[size], architecture, place)
        for number in range(repeats + 1):
            tell(number / (repeats + 1), "warming up" if number == 0 else f"turn {number}")
            turn: Turn = {}
            speed = measure_speed(
                architecture,
                resolution,
                place,
                supported_precisions(place),
                repeats=1,
                warm_up=0,
                tolerance_mm=tolerance_mm,
            )
            for precision, figures in speed["precisions"].items():
                turn[f"{architecture} network, {precision}"] = figures["seconds"]["total"]["median"]
            _files(turn, f"{shown[0].pixels.shape[0]} pixels", sample)
            found = _files(turn, f"{pixels} pixels", large)
            turn[f"prepare, {pixels} pixels"] += _coverage(large, judged.rig, size)
            for side, given in views.items():
                _matches(turn, side, given)
            for precision in supported_precisions(place):
                for side, given in views.items():
                    _translations(turn, side, given, precision)
            _bundled(turn, shown, case.rig, model, resolution, device, judged)
            if number:
                turns.append(turn)
    return {
        "schema": SCHEMA, "unit": "s", "device": place.type, "threads": torch.get_num_threads(), "torch": torch.__version__,
        "load_average": {"before": load, "after": _load_average()}, "repeats": repeats, "resolution": resolution,
        "seconds": {name: _spread([turn[name] for turn in turns]) for name in turns[0]},
        "shares": _shares(turns, architecture, pixels, {NETWORK: own, REFINED: own}, size),
        "prepared": list(found),
        "notes": [
            f"Both radiographs of the sample case; {pixels} pixels a side are the same enlarged; a collimator and letters to prepare.",
            f"Shares are of preparing and trust at {pixels} pixels, and of matching and style network at what the network reads. "
            "Preparing includes resampling what the collimator leaves open.",
            f"The {architecture} network has full size and the synthetic weights of `ssrkd bench`. Its trust is timed with what it "
            "encodes of the sample, the bundled model's bones, and the terms of uncertainty that the bundled model's reference asks for.",
            "Shares of trust are of the network's own; beside them stand those of the bundled model's, which alone brings a reference.",
            "Trust includes the question whether the views are exchanged, as it is answered where they are not.",
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


def _files(turn: Turn, name: str, files: Sequence[Path]) -> tuple[str, ...]:
    """Times reading and preparing; returns what preparing found."""
    turn[f"read, {name}"] = _seconds(lambda: _read(files, prepare=False))
    found: list[str] = []

    def prepared() -> None:
        for radiograph in _read(files, prepare=True):
            found.extend(step for step in radiograph.steps if "left out" in step or "filled" in step)

    turn[f"prepare, {name}"] = max(0.0, _seconds(prepared) - turn[f"read, {name}"])
    return tuple(found)


def _read(files: Sequence[Path], prepare: bool) -> list[Radiograph]:
    reads = [partial(read_radiograph, path, prepare=prepare) for path in files]
    return side_by_side(reads, None if torch.get_num_threads() > 1 else 1)


def _coverage(files: Sequence[Path], rig: Rig, size: int) -> float:
    """Seconds of resampling what collimators leave open to what a network reads."""
    prepared = _read(files, prepare=True)
    targets = [target_view(view, rig, size) for view in rig.views]
    resamplings = [
        partial(resample_to_view, radiograph.coverage.astype(np.float32), view, target)
        for radiograph, view, target in zip(prepared, rig.views, targets, strict=True)
        if radiograph.coverage is not None
    ]
    # As `prepare_network_input` does them.
    return _seconds(lambda: side_by_side(resamplings, torch.get_num_threads()))


def _matches(turn: Turn, size: int, given: NetworkViews) -> None:
    # Images within the usual are left alone: the reference is one that these lie outside of.
    look = fitted_style((image for image, _, _ in given.images), "the sample")
    look = replace(look, values=1.3 * look.values, log_power=look.log_power + 1.0)
    matches = [partial(look.matched, image, coverage) for image, coverage, _ in given.images]
    # As `prepare_network_input` does them, and translations likewise.
    turn[f"match, {size} pixels"] = _seconds(lambda: side_by_side(matches, torch.get_num_threads()))


def _translations(turn: Turn, size: int, given: NetworkViews, precision: str) -> None:
    asked = precision_of_style(given.style, precision)
    styles = [partial(translation, image, coverage, given.style, asked) for _, coverage, image in given.images]
    turn[_STYLE.format(size, precision)] = _seconds(lambda: side_by_side(styles, torch.get_num_threads()))


def _bundled(
    turn: Turn, shown: Sequence[Radiograph], rig: Rig, model: Model, resolution: int, device: str, judged: TrustScene
) -> None:
    kept: list[Encoded] = []
    start = time.perf_counter()
    result = reconstruct(
        shown,
        rig,
        model,
        resolution,
        device,
        encoded=lambda given, maps: kept.append(Encoded(given, maps)),
        tabled=lambda tables: kept.append(kept[-1].with_tables(tables)),
    )
    # Whether the views are exchanged is a question of trust, which `reconstruct` asks on its way.
    view_order = result.timings.get("view order", 0.0)
    turn[REFINED] = time.perf_counter() - start - view_order
    turn[NETWORK] = turn[REFINED] - result.timings.get("refine", 0.0)
    asked = reference_of(model).needed_terms

    def assessed(radiographs: Sequence[Radiograph], rig: Rig) -> None:
        found = assess(radiographs, rig, model, result, kept[-1])
        if "failed" in found.figures:
            raise InputError(f"{found.reasons[0]} Nothing was measured: correct the model folder.")

    def measured(reader: XrayReconstructionNetwork, encoded: Encoded) -> None:
        unsureness_with_one_exchanged(reader, encoded.given, judged.rig.field_of_view, encoded.features)
        found = case_measures(judged.radiographs, judged.rig, judged.model, result, encoded, needed_terms=asked)
        values = {name: terms[:, 0] for name, terms in found.terms.items()}
        at_vertices_of_all(result.surfaces, found.vertices, values, torch.get_num_threads())

    turn[f"trust, {shown[0].pixels.shape[0]} pixels"] = view_order + _seconds(lambda: assessed(shown, rig))
    turn["trust"] = view_order + _seconds(lambda: assessed(judged.radiographs, judged.rig))
    for precision, encoded in judged.encoded.items():
        # Whoever reconstructs has it.
        reader = ready_to_encode(cast(XrayReconstructionNetwork, judged.model.network), PRECISIONS[precision])
        turn[_TRUST_OF.format(judged.model.name, precision)] = _seconds(partial(measured, reader, encoded))


def _shares(
    turns: Sequence[Turn], architecture: str, pixels: int, bundled: Mapping[str, int], size: int
) -> dict[str, dict[str, float]]:
    """Reconstruction -> remedy -> median share of the same turn, of images of `pixels`; sizes of the network views by reconstruction."""
    references = {name: size for name in turns[0] if name.startswith(f"{architecture} network")} | dict(bundled)
    found: dict[str, dict[str, float]] = {}
    for reference, side in references.items():
        own = reference.split(", within")[0]
        own_trust, precision = f"trust of the {own}", own.split(", ")[-1]
        names = {
            "prepare": f"prepare, {pixels} pixels",
            "match": f"match, {side} pixels",
            "style network": _STYLE.format(side, precision if precision in PRECISIONS else DEFAULT_PRECISION),
            "trust": own_trust if own_trust in turns[0] else "trust",
        }
        sums: dict[str, tuple[str, ...]] = {remedy: (names[remedy],) for remedy in _REMEDIES}
        sums.update({words: tuple(names[part] for part in parts) for words, parts in _TOGETHER.items()})
        if names["trust"] == own_trust:
            sums[_TRUST_OF_BUNDLED] = ("trust",)
            sums[f"prepare, match, {_TRUST_OF_BUNDLED}"] = (names["prepare"], names["match"], "trust")
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
    if arguments.threads is not None and not 1 <= arguments.threads <= (os.cpu_count() or 1):
        raise InputError(f"This machine has {os.cpu_count()} cores: correct --threads.")
    if not arguments.out.resolve().parent.is_dir():
        raise InputError(f"The folder of {arguments.out} does not exist: make it first.")
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    with progress_bar("Measuring") as progress:
        found = remedy_cost(
            arguments.repeats,
            arguments.pixels,
            arguments.resolution,
            arguments.device,
            arguments.architecture,
            progress,
            arguments.surface_tolerance,
        )
    write_json(arguments.out, {**found, **made_by(command_of("SSRKDCore.reconstruction.remedy_cost"))})
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
    parser.add_argument("--threads", type=int, help="of torch (what it takes by itself); set OMP_NUM_THREADS as well")
    parser.add_argument(
        "--surface-tolerance",
        type=float,
        metavar="MM",
        help="measure the large network with this tolerance as well (none)",
    )
    arguments = parser.parse_args()
    return exit_code_of("remedy cost", lambda: measure(arguments))


if __name__ == "__main__":
    sys.exit(main())

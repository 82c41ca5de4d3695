"""Worse and worse images of the same knees, one fault at a time and in steps, with and without the remedies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from SSRKDCore.drr.clutter import blade_openness, wire_path
from SSRKDCore.drr.exposure import expose, plain_exposures
from SSRKDCore.drr.mass_attenuation import linear_attenuation_per_mm
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.case_evaluation import Reconstruct
from SSRKDCore.evaluation.experiments.calibration import magnified
from SSRKDCore.evaluation.experiments.framework import Plan, Point
from SSRKDCore.evaluation.experiments.glyphs import with_letters
from SSRKDCore.evaluation.experiments.metal_implants import METALS, body_of, with_metal
from SSRKDCore.evaluation.experiments.registry import Request
from SSRKDCore.evaluation.experiments.sources import CaseSource, Source, checked_case
from SSRKDCore.evaluation.experiments.variants import write_variant
from SSRKDCore.evaluation.methods import Method
from SSRKDCore.geometry.view import View
from SSRKDCore.population.case_writer import RADIOGRAPH_ENERGY_KEV
from SSRKDCore.radiographs.presentation_curve import PresentationCurve
from SSRKDCore.radiographs.style_matching import StyleReference

Images = dict[str, NDArray[np.float32]]
#: (line integrals, view, amount, randomness) -> what is read instead.
Change = Callable[[NDArray[np.float32], View, float, np.random.Generator], NDArray[np.float32]]

#: Of every image: an open pixel's photons, and read-out noise in photons.
PHOTONS, ELECTRONIC = 5e4, 10.0


@dataclass(frozen=True)
class Degradation:
    """A fault in steps.

    Attributes
    ----------
    words: of the axis. steps: amounts, ascending; the images as they are come first in every series as 0.
    change: of each image; None where the case as a whole is changed (metal, magnification).
    intensity: what the file holds afterwards, see `cases`.
    """

    words: str
    steps: tuple[float, ...]
    change: Change | None = None
    intensity: str = "line_integral"


def _exposed(
    image: NDArray[np.float32],
    view: View,
    generator: np.random.Generator,
    paths: Mapping[str, torch.Tensor] | None = None,
    openness: torch.Tensor | None = None,
    **changes: float,
) -> NDArray[np.float32]:
    """One exposure of the line integrals, with single values of `Exposures` changed and other materials laid into the beam."""
    water = float(linear_attenuation_per_mm("water", RADIOGRAPH_ENERGY_KEV))
    everything = {"water": torch.from_numpy(np.asarray(image, np.float32))[None] / water, **(paths or {})}
    settings = plain_exposures(1, RADIOGRAPH_ENERGY_KEV, **{"photons": PHOTONS, "electronic": ELECTRONIC, **changes})
    pixel = torch.tensor([view.pixel_spacing[0]], dtype=torch.float32)
    seed = torch.Generator().manual_seed(int(generator.integers(2**62)))
    found = expose(everything, settings, pixel, lambda like: torch.randn(like.shape, generator=seed), openness)
    return np.asarray(found[0].numpy(), dtype=np.float32)


def _burnt_out(image, view, amount, generator):  # type: ignore[no-untyped-def]
    return np.maximum(_exposed(image, view, generator) - np.float32(amount), 0)


def _underexposed(image, view, amount, generator):  # type: ignore[no-untyped-def]
    return _exposed(image, view, generator, photons=PHOTONS / amount)


def _scattered(image, view, amount, generator):  # type: ignore[no-untyped-def]
    return _exposed(image, view, generator, scatter_per_cm=amount)


def _blurred(image, view, amount, generator):  # type: ignore[no-untyped-def]
    # The frequency at which the MTF is one half is the inverse of the amount.
    return _exposed(image, view, generator, half_per_mm=1.0 / amount)


def _wired(image, view, amount, generator):  # type: ignore[no-untyped-def]
    given, pixel = torch.from_numpy(image), float(view.pixel_spacing[0])
    plastic, copper = torch.zeros_like(given), torch.zeros_like(given)
    for _ in range(round(amount)):
        # Across the knee, which is in the middle of the image.
        place = (float(generator.uniform(-90, 90)), float(generator.uniform(0, np.pi)))
        wave = (float(generator.uniform(0, 20)), float(generator.uniform(100, 300)), float(generator.uniform(0, 6.28)))
        diameter = float(generator.uniform(1.5, 3.0))
        plastic += wire_path(given, pixel, place, wave, diameter)
        copper += wire_path(given, pixel, place, wave, 0.4 * diameter)
    paths = {"polyvinyl chloride": plastic[None], "copper": copper[None]}
    return _exposed(image, view, generator, paths)


def _cropped(image, view, amount, generator):  # type: ignore[no-untyped-def]
    given = torch.from_numpy(image)[None]
    sides = torch.full((1, 4), amount / 100.0)
    turn = torch.tensor([float(generator.uniform(-0.05, 0.05))])
    openness = blade_openness(given, sides, turn, torch.tensor([0.004]))
    return _exposed(image, view, generator, openness=openness, scatter_per_cm=0.03)


def _lettered(image, view, amount, generator):  # type: ignore[no-untyped-def]
    return with_letters(_exposed(image, view, generator), view, round(amount), generator)


def _displayed(image, view, amount, generator):  # type: ignore[no-untyped-def]
    curve = PresentationCurve(width=6.0 / amount, local_contrast=0.3 * amount, inverted=bool(amount >= 2))
    return curve.applied(_exposed(image, view, generator))


DEGRADATIONS: dict[str, Degradation] = {
    "burnt out": Degradation("line integral below which all is burnt out", (0.25, 0.5, 1.0), _burnt_out),
    "underexposure": Degradation("photons fewer by (times)", (10.0, 30.0, 100.0), _underexposed),
    "scatter": Degradation("scatter to primary ratio a cm of thickness", (0.03, 0.06, 0.12), _scattered),
    "blur": Degradation("mm a cycle at which the MTF is one half", (1.0, 2.0, 4.0), _blurred),
    "wires": Degradation("cables across the image", (1.0, 3.0, 6.0), _wired),
    "metal": Degradation("metal (1 staples, 2 plate and screws, 3 partial knee)", (1.0, 2.0, 3.0)),
    "crop": Degradation("part of the image that each blade covers (%)", (10.0, 20.0, 30.0), _cropped),
    "letters": Degradation("lead letters and lines of burned-in text", (1.0, 2.0, 4.0), _lettered),
    "display curve": Degradation(
        "strength of the display curve (from 2: bone dark)", (1.0, 2.0, 3.0), _displayed, "presentation"
    ),
    "magnification": Degradation("told magnification off by (%)", (1.0, 2.0, 3.0, 5.0)),
}


def plan(request: Request) -> Plan:
    """The points of the experiment. Raises InputError for methods that read images in a way of their own."""
    methods = list((request.methods or {}).values())
    if len(methods) != 1 or methods[0].remedied is None:
        raise InputError("The experiment 'degradations' tests what is done to images before a model: give it --model.")
    look = None if request.look is None else StyleReference.load(request.look)
    points: list[Point] = []
    axes: dict[str, str] = {}
    for remedy, (job, settings) in _remedies(methods[0], look).items():
        for name, fault in DEGRADATIONS.items():
            series = f"{name}, {remedy}"
            axes[series] = fault.words
            points += [_point(name, fault, amount, series, job, settings) for amount in fault.steps]
        points.append(_point("as it is", None, 0.0, f"as it is, {remedy}", job, settings))
        axes[f"as it is, {remedy}"] = "no fault"
    notes = [f"Every image is counted with {PHOTONS:g} photons in an open pixel and read-out noise of {ELECTRONIC:g}."]
    if look is not None:
        notes.append(
            f"Matched to {look.images} images: {look.source}. The network reads the matched images, refinement the others."
        )
    return Plan(points, request.case_sources(), axes, notes=tuple(notes))


def _remedies(method: Method, look: StyleReference | None) -> dict[str, tuple[Reconstruct, dict[str, Any]]]:
    """By name: the job with the remedy, and what its points' settings say of it."""
    assert method.remedied is not None
    found: dict[str, tuple[Reconstruct, dict[str, Any]]] = {
        "no remedy": (method.remedied(False, None), {}),
        "prepared": (method.remedied(True, None), {}),
    }
    if look is not None:
        matching = {"match": {"style": look.fingerprint, "read_by": "network"}}
        found["prepared and matched"] = (method.remedied(True, look), matching)
    return found


def _point(
    name: str, fault: Degradation | None, amount: float, series: str, job: Reconstruct, remedy: dict[str, Any]
) -> Point:
    def make(source: Source, folder: Path, seed: int) -> Path:
        given = checked_case(source)
        rig = given.case.rig
        # The same randomness with each remedy, so that points differ by that alone.
        generator = np.random.default_rng(seed)
        images = _metal_images(given, amount, seed) if name == "metal" else given.line_integrals
        told = magnified(rig, amount, generator) if name == "magnification" else rig
        change = _plain if fault is None or fault.change is None else fault.change
        changed = {
            view.name: change(images[view.name], view, amount, np.random.default_rng([seed, index]))
            for index, view in enumerate(rig.views)
        }
        words = {"degradation": {"kind": name, "amount": amount}}
        return write_variant(
            folder, given.case, changed, told, words, "line_integral" if fault is None else fault.intensity
        )

    label = series if fault is None else f"{name} {amount:g}, {series.removeprefix(f'{name}, ')}"
    settings = {"kind": name, "amount": amount, "photons": PHOTONS, **remedy}
    return Point(label, make, series, amount, settings, job)


def _plain(image, view, amount, generator):  # type: ignore[no-untyped-def]
    return _exposed(image, view, generator)


def _metal_images(given: CaseSource, amount: float, seed: int) -> Images:
    from SSRKDCore.drr.projector import project
    from SSRKDCore.drr.simulated_case import ct_subject

    kind = list(METALS)[round(amount)]
    hounsfield, grid = body_of(given, seed)
    hounsfield, _ = with_metal(hounsfield, grid, given, kind, seed)
    subject = ct_subject(given.case.id, hounsfield, grid, RADIOGRAPH_ENERGY_KEV)
    return dict(project(subject.volume, grid, given.case.rig))

"""A site of its own: radiographs of given knees by another renderer and another physics than the training images'.

Site A is what training sees: one energy, our own projector (Siddon), no scatter. Site B is a digital room behind an independent projector
(RTK's Joseph): a tube at 70 kV, scatter through a stationary anti-scatter grid whose lines show, focal spot and scintillator, quantum and
read-out noise, and a maker's display curve with local contrast, stored as 12 bits for a screen.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from SSRKDCore.drr.beam_hardening import material_fractions
from SSRKDCore.drr.exposure import Exposures, expose, plain_exposures
from SSRKDCore.drr.spectrum import as_detected, tube_spectrum
from SSRKDCore.evaluation.experiments.rtk_projector import rtk_line_integrals
from SSRKDCore.evaluation.experiments.sources import CaseSource, Source, checked_case
from SSRKDCore.evaluation.experiments.variants import write_variant
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.geometry.view import View
from SSRKDCore.grid import Grid
from SSRKDCore.population.case_writer import RADIOGRAPH_ENERGY_KEV
from SSRKDCore.radiographs.presentation_curve import PresentationCurve

KILOVOLTS, ALUMINIUM_MM, COPPER_MM = 70.0, 3.0, 0.1
#: See `drr.exposure.Exposures`; sizes on the detector.
SITE_B: dict[str, float] = {
    "scatter_per_cm": 0.09,
    "spread_mm": 40.0,
    "primary_transmission": 0.68,
    "scatter_transmission": 0.15,
    "lines_per_mm": 4.0,
    "line_amplitude": 0.03,
    "line_turn": 0.01,
    "cut_off": 0.12,
    "half_per_mm": 1.2,
    "penumbra_mm": 0.15,
    "photons": 2e4,
    "electronic": 15.0,
}
_BINNING = 2
CURVE = PresentationCurve(centre=2.2, width=3.4, local_contrast=0.6)


def site_settings() -> dict[str, Any]:
    """All that decides what site B's images are, plain values."""
    tube = {"kilovolts": KILOVOLTS, "aluminium_mm": ALUMINIUM_MM, "copper_mm": COPPER_MM}
    curve = {"centre": CURVE.centre, "width": CURVE.width, "local_contrast": CURVE.local_contrast, "bits": CURVE.bits}
    return {**tube, **SITE_B, "curve": curve, "projector": "RTK Joseph"}


def site_b_image(
    volume: NDArray[np.float32],
    grid: Grid,
    view: View,
    seed: int,
    projector: Callable[[NDArray[np.float32], Grid, View], NDArray[np.float32]] = rtk_line_integrals,
) -> NDArray[np.float32]:
    """What site B stores of a volume of attenuation (1/mm at 60 keV, [z, y, x]): whole grey values [row, column].

    Raises InputError where RTK is missing.
    """
    paths = {
        name: torch.from_numpy(projector(share, grid, view))[None]
        for name, share in material_fractions(volume, RADIOGRAPH_ENERGY_KEV).items()
    }
    plain = plain_exposures(1, RADIOGRAPH_ENERGY_KEV, **SITE_B)
    beam = as_detected(tube_spectrum(KILOVOLTS, ALUMINIUM_MM, COPPER_MM)).condensed(12)
    exposures = Exposures(**{**vars(plain), "spectra": [beam]})
    generator = torch.Generator().manual_seed(seed)
    pixel = torch.tensor([view.pixel_spacing[0]], dtype=torch.float32)
    read = expose(paths, exposures, pixel, lambda like: torch.randn(like.shape, generator=generator))
    return CURVE.applied(read[0].numpy())


def site_b_maker() -> Callable[[Source, Path, int], Path]:
    """The `make` of points: the case as site B shows it. Points that take turns on one case share its images, which take a while."""
    kept: dict[tuple[str, int], tuple[Rig, dict[str, NDArray[np.float32]]]] = {}

    def make(source: Source, folder: Path, seed: int) -> Path:
        given = checked_case(source)
        if (source.id, seed) not in kept:
            kept.clear()
            kept[source.id, seed] = _site_b_images(given, seed)
        rig, images = kept[source.id, seed]
        return write_variant(folder, given.case, images, rig, {"site": "B"}, "presentation")

    return make


def _site_b_images(given: CaseSource, seed: int) -> tuple[Rig, dict[str, NDArray[np.float32]]]:
    """The rig with detectors that bin pixels by twos, as fluoroscopes do, and its images."""
    rig, exposed = given.case.rig, given.exposed
    views = tuple(view.resampled(view.rows // _BINNING, view.columns // _BINNING) for view in rig.views)
    seeds = np.random.SeedSequence(seed).generate_state(len(views))
    images = {
        view.name: site_b_image(exposed.volume, exposed.grid, view, int(state))
        for view, state in zip(views, seeds, strict=True)
    }
    return Rig(views, rig.field_of_view, rig.provenance), images

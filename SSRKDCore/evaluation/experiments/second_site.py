"""Sites of their own: radiographs of given knees by another renderer and another physics than the training images'.

Site A is what training sees: one energy, our own projector (Siddon), no scatter. Sites B and C stand behind an independent projector
(RTK's Joseph). Site B is a digital room. Site C is an old mobile unit with a storage-phosphor cassette, read out as a film would have
shown it: the images of an emergency room or an archive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Site:
    """How a site makes radiographs.

    Attributes
    ----------
    name: one letter. words: what it is, for readers. kilovolts, aluminium_mm, copper_mm: of the tube and its filters.
    exposure: see `drr.exposure.Exposures`; sizes on the detector. curve: of its screens. binning: pixels of the case's rig in one of the
    site's along each side.
    """

    name: str
    words: str
    kilovolts: float
    aluminium_mm: float
    copper_mm: float
    exposure: Mapping[str, float]
    curve: PresentationCurve
    binning: int = 2

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides what the site's images are, plain values."""
        tube = {"kilovolts": self.kilovolts, "aluminium_mm": self.aluminium_mm, "copper_mm": self.copper_mm}
        shown = self.curve
        curve = {
            "centre": shown.centre,
            "width": shown.width,
            "local_contrast": shown.local_contrast,
            "bits": shown.bits,
        }
        return {**tube, **self.exposure, "curve": curve, "projector": "RTK Joseph"}


#: A tube at 70 kV, scatter through a stationary anti-scatter grid whose lines show, focal spot and scintillator, quantum and read-out
#: noise, and a maker's display curve with local contrast, stored as 12 bits for a screen.
SITE_B = Site(
    "B",
    "70 kV spectrum, scatter, grid, detector, display curve, RTK's projector",
    kilovolts=70.0,
    aluminium_mm=3.0,
    copper_mm=0.1,
    exposure={
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
    },
    curve=PresentationCurve(centre=2.2, width=3.4, local_contrast=0.6),
)
#: 55 kV behind no more than the 2.5 mm of aluminium that IEC 60601-1-3 asks for. No grid, as at a bedside: the whole scatter of a thick
#: knee in a wide field (see `drr.scatter_kernels`). A focal spot of 1.2 mm at a magnification of 1.25. Storage phosphor of standard
#: resolution, half its MTF at 0.9 cycles/mm. A tenth of site B's photons. The curve is a film's: nine tenths of its greatest density
#: lie 1.8 of a line integral from a tenth, an average gradient of 2.9 over densities of 0.2 to 3; films have 2 to 3.5 (T. S. Curry et al.,
#: Christensen's Physics of Diagnostic Radiology, 1990). Exposed for the middle of the leg. No local contrast, which film does not have.
SITE_C = Site(
    "C",
    "55 kV mobile unit, no grid, storage phosphor, low exposure, a film's steep curve, RTK's projector",
    kilovolts=55.0,
    aluminium_mm=2.5,
    copper_mm=0.0,
    exposure={
        "scatter_per_cm": 0.11,
        "spread_mm": 30.0,
        "half_per_mm": 0.9,
        "penumbra_mm": 0.3,
        "photons": 2e3,
        "electronic": 10.0,
    },
    curve=PresentationCurve(centre=2.0, width=1.8, local_contrast=0.0, bits=10),
)
SITES = {site.name: site for site in (SITE_B, SITE_C)}


def site_image(
    site: Site,
    volume: NDArray[np.float32],
    grid: Grid,
    view: View,
    seed: int,
    projector: Callable[[NDArray[np.float32], Grid, View], NDArray[np.float32]] = rtk_line_integrals,
) -> NDArray[np.float32]:
    """What a site stores of a volume of attenuation (1/mm at 60 keV, [z, y, x]): whole grey values [row, column].

    Raises InputError where RTK is missing.
    """
    paths = {
        name: torch.from_numpy(projector(share, grid, view))[None]
        for name, share in material_fractions(volume, RADIOGRAPH_ENERGY_KEV).items()
    }
    plain = plain_exposures(1, RADIOGRAPH_ENERGY_KEV, **site.exposure)
    beam = as_detected(tube_spectrum(site.kilovolts, site.aluminium_mm, site.copper_mm)).condensed(12)
    exposures = Exposures(**{**vars(plain), "spectra": [beam]})
    generator = torch.Generator().manual_seed(seed)
    pixel = torch.tensor([view.pixel_spacing[0]], dtype=torch.float32)
    read = expose(paths, exposures, pixel, lambda like: torch.randn(like.shape, generator=generator))
    return site.curve.applied(read[0].numpy())


def site_maker(site: Site) -> Callable[[Source, Path, int], Path]:
    """The `make` of points: the case as a site shows it. Points that take turns on one case share its images, which take a while."""
    kept: dict[tuple[str, int], tuple[Rig, dict[str, NDArray[np.float32]]]] = {}

    def make(source: Source, folder: Path, seed: int) -> Path:
        given = checked_case(source)
        if (source.id, seed) not in kept:
            kept.clear()
            kept[source.id, seed] = _site_images(site, given, seed)
        rig, images = kept[source.id, seed]
        return write_variant(folder, given.case, images, rig, {"site": site.name}, "presentation")

    return make


def _site_images(site: Site, given: CaseSource, seed: int) -> tuple[Rig, dict[str, NDArray[np.float32]]]:
    """The rig with detectors that bin pixels by twos, as fluoroscopes do, and its images."""
    rig, exposed = given.case.rig, given.exposed
    views = tuple(view.resampled(view.rows // site.binning, view.columns // site.binning) for view in rig.views)
    seeds = np.random.SeedSequence(seed).generate_state(len(views))
    images = {
        view.name: site_image(site, exposed.volume, exposed.grid, view, int(state))
        for view, state in zip(views, seeds, strict=True)
    }
    return Rig(views, rig.field_of_view, rig.provenance), images

"""Radiographs of many rooms out of one simulation: every change is one that a tube, a body, a grid or a detector makes.

The augmentation "physics" of the X-ray and segmenter stages. What `augmentation` sketches by effects on line integrals is here carried out
on path lengths in millimetres: the image is parted into soft tissue and bone, other things are laid into the beam, and one exposure with a
spectrum, scatter, grid, focal spot and detector of its own is taken of it (`drr.exposure`); a display curve comes last. Ranges are those of
knee radiography from a digital room to a mobile C-arm; where no source is named in `drr`, they are guesses.

Every random number comes from one torch.Generator; images may lie on any device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from SSRKDCore.drr.clutter import blade_openness, cast_path, other_leg, table_path, wire_path
from SSRKDCore.drr.exposure import Exposures, expose
from SSRKDCore.drr.mass_attenuation import linear_attenuation_per_mm
from SSRKDCore.drr.spectrum import Spectrum, as_detected, tube_spectrum
from SSRKDCore.training.augmentation import Augmentation, Draws, Range, displayed, enhanced, smooth, window

#: Line integrals of the samples are those of about this energy (see `random_rigs`).
SAMPLE_KEV = 60.0
#: Energies that stand for a spectrum: differences to the whole spectrum are below 1 % of a line integral.
_ENERGIES = 8
_LEAD_MM = (0.3, 1.5)
#: Nothing is shown denser than this times the line integral that all but the densest half percent of the open image stay below.
_DENSEST, _PATIENT = 1.2, 0.995


@dataclass(frozen=True)
class DomainRandomisation:
    """How often (shares of images) and how far (limits of uniform distributions) exposures differ.

    Attributes
    ----------
    kilovolts, aluminium_mm: of the tube. copper_share, copper_mm: of additional filters. scintillator_mm: caesium iodide.
    scatter_per_cm, spread_mm: see `drr.scatter_kernels`. grid_share: with an anti-scatter grid; primary_transmission, scatter_transmission
        of it. still_grid_share: of the grids that do not move; lines_per_mm, line_amplitude, cut_off of those.
    half_per_mm: frequency of half the detector's MTF, cycles/mm. focal_spot_mm; magnification of the knee. glare_share, glare: of image
        intensifiers.
    photons: of an open pixel of 1 mm^2 (drawn on a logarithmic scale). electronic: read-out noise, photons.
    letter_share, letter_mm: lead letters and beads: side. wire_share, wire_mm: of one to four cables (copper in plastic) or pins (steel):
        diameter. cast_share, cast_mm, padding_mm: plaster or fibreglass about the leg. table_share, table_mm, rail_mm, rail_width_mm:
        aluminium-equivalent of a table top in a part of the image, and of the rail at its edge. other_leg_share, other_leg_shift: the
        other leg at the side, moved by a share of the image's width.
    collimation_share, collimation, blade_turn, blade_penumbra: the shares of the image that each blade covers, radians, share of the image.
    unseen_blades: share of the collimated images whose shadow nobody masked: the network sees it.
    display: curve, local contrast (shares and limits), see `augmentation.Augmentation`.
    """

    kilovolts: Range = (52.0, 85.0)
    aluminium_mm: Range = (2.5, 4.5)
    copper_share: float = 0.3
    copper_mm: Range = (0.05, 0.3)
    scintillator_mm: Range = (0.15, 0.6)
    scatter_per_cm: Range = (0.02, 0.12)
    spread_mm: Range = (15.0, 60.0)
    grid_share: float = 0.6
    primary_transmission: Range = (0.6, 0.75)
    scatter_transmission: Range = (0.05, 0.25)
    still_grid_share: float = 0.3
    lines_per_mm: Range = (3.0, 8.0)
    line_amplitude: Range = (0.0, 0.06)
    cut_off: Range = (-0.25, 0.25)
    half_per_mm: Range = (0.5, 2.5)
    focal_spot_mm: Range = (0.3, 1.5)
    magnification: Range = (1.05, 1.5)
    glare_share: float = 0.2
    glare: Range = (0.02, 0.15)
    photons: Range = (5e3, 1e6)
    electronic: Range = (0.0, 30.0)
    letter_share: float = 0.2
    letter_mm: Range = (3.0, 14.0)
    wire_share: float = 0.25
    wire_mm: Range = (0.6, 4.0)
    cast_share: float = 0.08
    cast_mm: Range = (3.0, 9.0)
    padding_mm: Range = (2.0, 10.0)
    table_share: float = 0.15
    table_mm: Range = (0.3, 1.2)
    rail_mm: Range = (0.0, 6.0)
    rail_width_mm: Range = (4.0, 20.0)
    other_leg_share: float = 0.12
    other_leg_shift: Range = (0.55, 0.95)
    collimation_share: float = 0.4
    collimation: Range = (-0.12, 0.15)
    blade_turn: Range = (-0.06, 0.06)
    blade_penumbra: Range = (0.002, 0.02)
    unseen_blades: float = 0.2
    display: Augmentation = field(default_factory=Augmentation)


def material_paths(images: Tensor, bone_masks: Tensor | None = None) -> dict[str, Tensor]:
    """Path lengths in mm of water (all soft tissue) and cortical bone that line integrals (N, H, W) at 60 keV come from.

    Under bone the soft tissue is carried on from beside it; what exceeds it is bone. bone_masks: (N, H, W), 1 where rays meet bone; None
    takes what stands out of its surroundings of a tenth of the image for bone, which is coarser. The two paths add up to the image's line
    integral exactly, so that at 60 keV nothing changes.
    """
    soft = images.clamp(min=0)
    width = torch.full((len(images),), 0.1, dtype=images.dtype, device=images.device)
    if bone_masks is None:
        tissue = smooth(soft, width)
    else:
        free = 1.0 - bone_masks.to(images)
        tissue = smooth(soft * free, width) / smooth(free, width).clamp(min=1e-3)
        tissue = torch.where(free > 0.5, soft, tissue)
    tissue = torch.minimum(tissue, soft)
    bone = images - tissue
    water, cortical = (float(linear_attenuation_per_mm(name, SAMPLE_KEV)) for name in ("water", "cortical bone"))
    return {"water": tissue / water, "cortical bone": bone / cortical}


def randomise_domain(
    images: Tensor,
    generator: torch.Generator,
    pixel_mm: float,
    bone_masks: Tensor | None = None,
    settings: DomainRandomisation | None = None,
) -> tuple[Tensor, Tensor]:
    """Images as other rooms would have shown them; each image its own room.

    Parameters
    ----------
    images: (N, H, W) line integrals, any device.
    generator: source of all randomness; one on the CPU gives the same numbers whatever the images' device.
    pixel_mm: pixel size at the knee. bone_masks: see `material_paths`. settings: None takes the defaults.

    Returns images (N, H, W) float32 and coverage (N, H, W) float32, 1 where the collimator is open or its shadow was not noticed.
    """
    settings = settings or DomainRandomisation()
    images = images.float()
    draws = Draws(len(images), generator, images.device)
    paths = material_paths(images, bone_masks)
    _add_other_leg(paths, draws, settings)
    _add_clutter(paths, images, pixel_mm, draws, settings)
    openness, coverage = _blades(images, draws, settings)
    pixels = torch.full((len(images),), pixel_mm, dtype=images.dtype, device=images.device)
    seen = expose(paths, _exposures(draws, settings, pixel_mm), pixels, draws.normal_like, openness)
    return enhanced(displayed(_limited(seen, openness), draws, settings.display), draws, settings.display), coverage


def _limited(images: Tensor, openness: Tensor) -> Tensor:
    """Images in which nothing is much denser than the patient: display curves are made for tissue, and show lead as they show bone."""
    limits = []
    for image, part in zip(images, openness > 0.95, strict=True):
        # A collimator that is shut all over leaves an image of noise, whatever is done.
        seen = image[part] if bool(part.any()) else image.flatten()
        limits.append(_DENSEST * torch.quantile(seen, _PATIENT))
    return torch.minimum(images, torch.stack(limits)[:, None, None])


def _one(draws: Draws, limits: Range) -> Tensor:
    """(N,) uniform numbers."""
    return draws.uniform(limits)[:, 0, 0]


def _if(draws: Draws, share: float, values: Tensor, otherwise: float = 0.0) -> Tensor:
    """(N,) the values for this share of the images, else one constant."""
    return torch.where(draws.chosen(share)[:, 0, 0], values, torch.full_like(values, otherwise))


def _exposures(draws: Draws, settings: DomainRandomisation, pixel_mm: float) -> Exposures:
    low, high = settings.photons
    gridded = draws.chosen(settings.grid_share)[:, 0, 0]
    still = gridded & draws.chosen(settings.still_grid_share)[:, 0, 0]
    one = torch.ones(draws.count, device=draws.device)
    primary, scatter = _one(draws, settings.primary_transmission), _one(draws, settings.scatter_transmission)
    magnification = _one(draws, settings.magnification)
    return Exposures(
        spectra=_spectra(draws, settings),
        scatter_per_cm=_one(draws, settings.scatter_per_cm),
        spread_mm=_one(draws, settings.spread_mm),
        primary_transmission=torch.where(gridded, primary, one),
        scatter_transmission=torch.where(gridded, scatter, one),
        # Sizes on the detector, seen from the knee's plane, are smaller by the magnification.
        lines_per_mm=_one(draws, settings.lines_per_mm) * magnification,
        line_amplitude=torch.where(still, _one(draws, settings.line_amplitude), 0 * one),
        line_turn=_one(draws, (-0.03, 0.03)),
        cut_off=torch.where(gridded, _one(draws, settings.cut_off), 0 * one),
        half_per_mm=_one(draws, settings.half_per_mm) * magnification,
        penumbra_mm=_one(draws, settings.focal_spot_mm) * (magnification - 1) / magnification,
        glare=_if(draws, settings.glare_share, _one(draws, settings.glare)),
        photons=torch.exp(_one(draws, (math.log(low), math.log(high)))) * pixel_mm**2,
        electronic=_one(draws, settings.electronic),
    )


def _spectra(draws: Draws, settings: DomainRandomisation) -> list[Spectrum]:
    volts, filters = _one(draws, settings.kilovolts), _one(draws, settings.aluminium_mm)
    copper = _if(draws, settings.copper_share, _one(draws, settings.copper_mm))
    layer = _one(draws, settings.scintillator_mm)
    rows = torch.stack([volts, filters, copper, layer], dim=1).double().cpu().numpy()
    return [_padded(as_detected(tube_spectrum(kv, al, cu), cs).condensed(_ENERGIES)) for kv, al, cu, cs in rows]


def _padded(spectrum: Spectrum) -> Spectrum:
    """The spectrum with exactly `_ENERGIES` energies: bins without any get weight 0."""
    missing = _ENERGIES - len(spectrum.weights)
    if not missing:
        return spectrum
    return Spectrum(np.pad(spectrum.energies_kev, (0, missing), mode="edge"), np.pad(spectrum.weights, (0, missing)))


def _add_other_leg(paths: dict[str, Tensor], draws: Draws, settings: DomainRandomisation) -> None:
    shift = _one(draws, settings.other_leg_shift) * torch.where(_one(draws, (-1.0, 1.0)) < 0, -1.0, 1.0)
    shift = _if(draws, settings.other_leg_share, shift, math.nan)
    for index, step in enumerate(shift.tolist()):
        if math.isfinite(step):
            for path in paths.values():
                path[index] = path[index] + other_leg(path[index], step)


def _add_clutter(
    paths: dict[str, Tensor], images: Tensor, pixel_mm: float, draws: Draws, settings: DomainRandomisation
) -> None:
    """Letters, wires, casts and tables; a material becomes a path when the first image needs it."""

    def add(material: str, index: int, path: Tensor) -> None:
        if material not in paths:
            paths[material] = torch.zeros_like(images)
        paths[material][index] += path

    _add_letters(add, images, pixel_mm, draws, settings)
    _add_wires(add, images, pixel_mm, draws, settings)
    casts = _rows(draws, settings.cast_mm, settings.padding_mm, (-0.5, 0.6), (0.5, 1.5), (0.0, 1.0))
    for index, chosen in _chosen(draws, settings.cast_share):
        if chosen:
            thickness, padding, first, last, kind = casts[index]
            material = "gypsum" if kind < 0.5 else "silica"
            add(material, index, cast_path(images[index], pixel_mm, thickness, padding, first, last))
    tables = _rows(draws, (0.05, 0.95), settings.table_mm, settings.rail_mm, settings.rail_width_mm, (0.0, 1.0))
    for index, chosen in _chosen(draws, settings.table_share):
        if chosen:
            edge, slab, rail, width, side = tables[index]
            path = table_path(images[index], pixel_mm, edge, slab, rail, width)
            add("aluminium", index, path.flip(-1) if side < 0.5 else path)


def _add_letters(add, images: Tensor, pixel_mm: float, draws: Draws, settings: DomainRandomisation) -> None:  # type: ignore[no-untyped-def]
    chosen = draws.chosen(settings.letter_share)
    side = images.shape[1] * pixel_mm
    for _ in range(2):
        top, left = draws.uniform((0.0, 1.0)), draws.uniform((0.0, 1.0))
        height, width = (draws.uniform(settings.letter_mm) / side for _ in range(2))
        lead = window(images, top, top + height, left, left + width) & chosen & draws.chosen(0.7)
        thickness = draws.uniform(_LEAD_MM)
        for index in range(len(images)):
            if bool(lead[index].any()):
                add("lead", index, lead[index] * thickness[index])


def _add_wires(add, images: Tensor, pixel_mm: float, draws: Draws, settings: DomainRandomisation) -> None:  # type: ignore[no-untyped-def]
    half = images.shape[1] * pixel_mm / 2
    for number in range(4):
        places = _rows(
            draws,
            (-half, half),
            (0.0, math.pi),
            (0.0, 25.0),
            (80.0, 400.0),
            (0.0, 2 * math.pi),
            settings.wire_mm,
            (0.0, 1.0),
        )
        for index, chosen in _chosen(draws, settings.wire_share * 0.6**number):
            if not chosen:
                continue
            offset, angle, amplitude, length, phase, diameter, kind = places[index]
            if kind < 0.3:  # A pin or a guide wire: straight steel.
                add(
                    "iron",
                    index,
                    wire_path(images[index], pixel_mm, (offset, angle), (0.0, length, 0.0), min(diameter, 2.5)),
                )
                continue
            wave = (amplitude, length, phase)
            add("polyvinyl chloride", index, wire_path(images[index], pixel_mm, (offset, angle), wave, diameter))
            add("copper", index, wire_path(images[index], pixel_mm, (offset, angle), wave, 0.4 * diameter))


def _blades(images: Tensor, draws: Draws, settings: DomainRandomisation) -> tuple[Tensor, Tensor]:
    sides = torch.stack([_one(draws, settings.collimation) for _ in range(4)], dim=1)
    sides = sides * draws.chosen(settings.collimation_share)[:, :, 0]
    openness = blade_openness(images, sides, _one(draws, settings.blade_turn), _one(draws, settings.blade_penumbra))
    noticed = ~draws.chosen(settings.unseen_blades)
    coverage = torch.where(noticed, (openness > 0.95).float(), torch.ones_like(openness))
    return openness, coverage


def _rows(draws: Draws, *limits: Range) -> list[list[float]]:
    """A list of numbers for each image, one from each of the limits."""
    rows: list[list[float]] = torch.stack([_one(draws, pair) for pair in limits], dim=1).double().tolist()
    return rows


def _chosen(draws: Draws, share: float) -> Sequence[tuple[int, bool]]:
    return list(enumerate(draws.chosen(share)[:, 0, 0].tolist()))

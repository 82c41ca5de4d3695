"""One case of the population: a random knee, its tissue and its CT, from a seed and a number alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.presets import PRESET_NAMES, preset
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.population.case_writer import CaseContent
from SSRKDCore.population.random_knee import KneeSource, random_knee
from SSRKDCore.population.synthetic_ct import synthetic_ct
from SSRKDCore.population.tissue import random_tissue

LABELLED = "case"
UNLABELLED = "unlabelled"
_STREAMS = {LABELLED: 0, UNLABELLED: 1}
VOXEL_LIMITS_MM = (0.3, 3.0)
# The frame of the published code is not metric, and so shows no knee of a real size.
RIGS = tuple(name for name in PRESET_NAMES if name != "published")
_THUMBNAIL = 8


@dataclass(frozen=True)
class PopulationSettings:
    """What, besides the shape model, decides how the cases of a population come out.

    Attributes
    ----------
    seed: of everything random; a case depends on it, on the case's kind and on its number, and on no other case.
    rig: one of RIGS, through which the radiographs are taken.
    radiographs: False leaves thumbnails, of pixels eight times as large, in the place of the radiographs that a case must have:
        training takes its own from the CT.
    voxel_mm: of the CT.
    metal_share: probability, 0..1, of metal in a knee.
    """

    seed: int
    rig: str = "room"
    radiographs: bool = True
    voxel_mm: float = 0.9
    metal_share: float = 0.08

    def __post_init__(self) -> None:
        low, high = VOXEL_LIMITS_MM
        if self.seed < 0:
            raise InputError(f"The seed is {self.seed}: it must not be negative.")
        if self.rig not in RIGS:
            raise InputError(f"There is no rig preset '{self.rig}': use one of {', '.join(RIGS)}.")
        if not low <= self.voxel_mm <= high:
            raise InputError(f"Voxels of {self.voxel_mm:g} mm were asked for: use {low:g} to {high:g} mm.")
        if not 0.0 <= self.metal_share <= 1.0:
            raise InputError(f"The share of knees with metal is {self.metal_share:g}: it must be from 0 to 1.")

    def placed_rig(self, side: str) -> Rig:
        """The rig of a case of that side: a random knee's joint lies near the origin, as a preset's isocentre does."""
        rig = preset(self.rig, side)
        if self.radiographs:
            return rig
        view = rig.views[0]
        rows, columns = (count // _THUMBNAIL for count in (view.rows, view.columns))
        down, across = (size * _THUMBNAIL for size in view.pixel_spacing)
        return preset(self.rig, side, (down, across), rows, columns)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for population.json."""
        return asdict(self)


@dataclass(frozen=True)
class CaseNumber:
    """Which case of a population: its kind, LABELLED or UNLABELLED, and its index from 0."""

    kind: str
    index: int

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.kind}{self.index:05d}"


CaseMaker = Callable[[KneeSource, CaseNumber, PopulationSettings], tuple[CaseContent, int]]
"""Draws the content of a case, and the seed of its radiographs' noise."""


def synthetic_case(model: KneeSource, number: CaseNumber, settings: PopulationSettings) -> tuple[CaseContent, int]:
    """Draw a knee, pose it, give it tissue, and take its CT.

    An UNLABELLED case comes without its bones: nobody has drawn them.

    Returns the content of the case and the seed of its radiographs' noise. Raises InputError when no possible knee was found.
    """

    # A stream each, so that the draws of one part never shift those of the next.
    source = np.random.SeedSequence([settings.seed, _STREAMS[number.kind], number.index])
    for_knee, for_tissue, for_ct, for_noise = source.spawn(4)
    knee = random_knee(model, np.random.default_rng(for_knee))
    tissue = random_tissue(np.random.default_rng(for_tissue), settings.metal_share)
    ct = synthetic_ct(knee.bones, knee.side, tissue, np.random.default_rng(for_ct), voxel_mm=settings.voxel_mm)
    known = number.kind == LABELLED
    provenance = {
        "description": f"a random {knee.side} knee that belongs to nobody; synthetic CT, simulated radiographs",
        "seed": settings.seed,
        "kind": number.kind,
        "index": number.index,
        "knee": knee.parameters,
        **ct.provenance,
    }
    content = CaseContent(
        id=f"seed{settings.seed}-{number.name}",
        side=knee.side,
        hounsfield=ct.hounsfield,
        grid=ct.grid,
        surfaces=ct.bones if known else {},
        labels=ct.labels if known else None,
        provenance=provenance,
    )
    return content, int(for_noise.generate_state(1)[0])

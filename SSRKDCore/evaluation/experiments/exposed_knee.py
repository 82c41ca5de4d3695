"""One knee of a shape model in synthetic tissue, drawn in a chosen pose, and its radiographs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.drr.noise import NoiseModel
from SSRKDCore.drr.projector import project
from SSRKDCore.drr.simulated_case import ct_subject
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.experiments.variants import noisy
from SSRKDCore.geometry.presets import preset
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.population.case_writer import RADIOGRAPH_ENERGY_KEV
from SSRKDCore.population.random_knee import KneeSource, RandomKneeRanges, random_knee
from SSRKDCore.population.synthetic_ct import synthetic_ct
from SSRKDCore.population.tissue import random_tissue
from SSRKDCore.surface import Surface

#: The rig's preset.
RIG = "room"


@dataclass(frozen=True)
class ExposedKnee:
    """images: view name -> line integrals [row, column] with noise. rig: theirs. side: "right" or "left". bones: the truth, LPS mm.
    provenance: what was drawn, plain values."""

    images: Mapping[str, NDArray[np.float32]]
    rig: Rig
    side: str
    bones: Mapping[str, Surface]
    provenance: Mapping[str, Any]


def exposed_knee(model: KneeSource, seed: int, ranges: RandomKneeRanges, noise: NoiseModel, name: str) -> ExposedKnee:
    """The knee that a seed draws, in the rig RIG.

    Parameters
    ----------
    seed: of all randomness: the same seed gives the same knee where ranges differ only in the limits of uniform distributions.
    name: of the knee, for errors.

    Raises InputError where the bones cannot take the pose: another draw would be another knee.
    """
    for_knee, for_tissue, for_ct = np.random.SeedSequence(seed).spawn(3)
    knee = random_knee(model, np.random.default_rng(for_knee), ranges)
    if knee.parameters["tries"] > 1:
        raise InputError(f"{name} cannot be brought into this pose without bones in one another.")
    tissue = random_tissue(np.random.default_rng(for_tissue), 0.0)
    ct = synthetic_ct(knee.bones, knee.side, tissue, np.random.default_rng(for_ct))
    exposed = ct_subject(name, ct.hounsfield.astype(np.float32), ct.grid, RADIOGRAPH_ENERGY_KEV)
    rig = preset(RIG, knee.side)
    images = noisy(project(exposed.volume, ct.grid, rig), noise, seed)
    return ExposedKnee(images, rig, knee.side, ct.bones, {"knee": knee.parameters, **ct.provenance})

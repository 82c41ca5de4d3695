"""Knees drawn from a shape model at chosen flexion or size, everything else about them the same at every point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from SSRKDCore.drr.noise import NoiseModel
from SSRKDCore.drr.projector import project
from SSRKDCore.drr.simulated_case import ct_subject
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.experiments.framework import Plan, Point
from SSRKDCore.evaluation.experiments.registry import Request
from SSRKDCore.evaluation.experiments.sources import KneeSource, Source
from SSRKDCore.evaluation.experiments.variants import noisy, write_made_case
from SSRKDCore.geometry.presets import preset
from SSRKDCore.population.case_writer import RADIOGRAPH_ENERGY_KEV
from SSRKDCore.population.random_knee import RandomKneeRanges, random_knee
from SSRKDCore.population.shape_model import KneeShapeModel
from SSRKDCore.population.synthetic_ct import synthetic_ct
from SSRKDCore.population.tissue import random_tissue

USUAL_COUNT = 8
RIG = "room"


def posed_knees(
    request: Request, amounts: Sequence[float], ranges: Callable[[float], RandomKneeRanges], unit: str, axis: str
) -> Plan:
    """The same knees at each amount.

    Parameters
    ----------
    request: its shape model is needed; `limit` says how many knees (8). amounts: of the points. ranges: amount -> how knees are drawn;
    only limits of uniform distributions may depend on the amount, so that the random numbers stay the same. unit: after the amount in
    the points' names. axis: words of the plot's axis.
    """
    path = request.needed_shape_model()
    model = KneeShapeModel.load(path)
    noise = NoiseModel()

    def point(amount: float) -> Point:
        wanted = ranges(amount)

        def make(source: Source, folder: Path, seed: int) -> Path:
            for_knee, for_tissue, for_ct = np.random.SeedSequence(seed).spawn(3)
            knee = random_knee(model, np.random.default_rng(for_knee), wanted)
            if knee.parameters["tries"] > 1:
                # Another draw would be another knee than at the other points.
                raise InputError(f"{source.id} cannot be brought into this pose without bones in one another.")
            tissue = random_tissue(np.random.default_rng(for_tissue), 0.0)
            ct = synthetic_ct(knee.bones, knee.side, tissue, np.random.default_rng(for_ct))
            exposed = ct_subject(source.id, ct.hounsfield.astype(np.float32), ct.grid, RADIOGRAPH_ENERGY_KEV)
            rig = preset(RIG, knee.side)
            images = noisy(project(exposed.volume, ct.grid, rig), noise, seed)
            return write_made_case(
                folder, source.id, knee.side, ct.bones, images, rig, {"knee": knee.parameters, **ct.provenance}
            )

        settings = {"ranges": asdict(wanted), "rig": RIG, "photons": noise.photons}
        return Point(f"{amount:g} {unit}", make, value=amount, settings=settings)

    digest = model.sha256()
    sources = [KneeSource(number, digest) for number in range(request.limit or USUAL_COUNT)]
    notes = ("Knees of the shape model in synthetic tissue; a knee that cannot take a pose counts as a failure there.",)
    return Plan([point(amount) for amount in amounts], sources, {"": axis}, notes=notes)

"""Knees drawn from a shape model at chosen flexion or size, everything else about them the same at every point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from SSRKDCore.drr.noise import NoiseModel
from SSRKDCore.evaluation.experiments.exposed_knee import RIG, exposed_knee
from SSRKDCore.evaluation.experiments.framework import Plan, Point
from SSRKDCore.evaluation.experiments.registry import Request
from SSRKDCore.evaluation.experiments.sources import KneeSource, Source
from SSRKDCore.evaluation.experiments.variants import write_made_case
from SSRKDCore.population.random_knee import RandomKneeRanges
from SSRKDCore.population.shape_model import KneeShapeModel

USUAL_COUNT = 8


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
            found = exposed_knee(model, seed, wanted, noise, source.id)
            return write_made_case(
                folder, source.id, found.side, found.bones, found.images, found.rig, found.provenance
            )

        settings = {"ranges": asdict(wanted), "rig": RIG, "photons": noise.photons}
        return Point(f"{amount:g} {unit}", make, value=amount, settings=settings)

    digest = model.sha256()
    sources = [KneeSource(number, digest) for number in range(request.limit or USUAL_COUNT)]
    notes = ("Knees of the shape model in synthetic tissue; a knee that cannot take a pose counts as a failure there.",)
    return Plan([point(amount) for amount in amounts], sources, {"": axis}, notes=notes)

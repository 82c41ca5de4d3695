"""Noise: the same line integrals, counted with more and fewer photons."""

from __future__ import annotations

from pathlib import Path

from SSRKDCore.drr.noise import NoiseModel
from SSRKDCore.evaluation.experiments.framework import Plan, Point
from SSRKDCore.evaluation.experiments.registry import Request
from SSRKDCore.evaluation.experiments.sources import Source, checked_case
from SSRKDCore.evaluation.experiments.variants import noisy, write_variant

#: Photons that reach an open pixel; 50,000 is the usual exposure of `drr.noise`.
PHOTONS = (500.0, 1500.0, 5000.0, 15000.0, 50000.0, 500000.0)


def plan(request: Request) -> Plan:
    """The points of the experiment."""

    def point(photons: float) -> Point:
        noise = NoiseModel(photons=photons)

        def make(source: Source, folder: Path, seed: int) -> Path:
            given = checked_case(source)
            told = {"photons": photons, "seed": seed}
            return write_variant(
                folder, given.case, noisy(given.line_integrals, noise, seed), given.case.rig, {"noise": told}
            )

        settings = {"photons": photons, "electronic_sigma": noise.electronic_sigma}
        return Point(f"{photons:g} photons", make, value=photons, settings=settings)

    return Plan(
        [point(photons) for photons in PHOTONS],
        request.case_sources(),
        {"": "photons that reach an open pixel"},
        notes=("Read-out noise is 10 photons (standard deviation) at every dose.",),
    )

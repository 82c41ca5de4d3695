"""Another renderer than the one trained on: RTK's projector beside ours, and scattered radiation, on the same knees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.drr.noise import NoiseModel
from SSRKDCore.drr.siddon import line_integrals
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.experiments.framework import Plan, Point
from SSRKDCore.evaluation.experiments.registry import Request
from SSRKDCore.evaluation.experiments.rtk_projector import load_rtk, rtk_line_integrals
from SSRKDCore.evaluation.experiments.scatter import SPREAD_MM, with_scatter
from SSRKDCore.evaluation.experiments.sources import Source, checked_case
from SSRKDCore.evaluation.experiments.variants import noisy, write_variant

SCATTER_TO_PRIMARY = (0.25, 0.5, 1.0)


def plan(request: Request) -> Plan:
    """The points of the experiment. Raises InputError, before anything long, where RTK is missing."""
    try:
        load_rtk()
    except InputError as error:
        raise InputError(f"The experiment 'renderer' compares with RTK. {error}") from error
    noise = NoiseModel()

    def point(name: str, projector: str, ratio: float) -> Point:
        def make(source: Source, folder: Path, seed: int) -> Path:
            given = checked_case(source)
            volume, grid = given.exposed.volume, given.exposed.grid
            integrals: Any = line_integrals if projector == "Siddon" else rtk_line_integrals
            images: dict[str, NDArray[np.float32]] = {
                view.name: with_scatter(integrals(volume, grid, view), view, ratio) for view in given.case.rig.views
            }
            words = {"projector": projector, "scatter_to_primary": ratio}
            return write_variant(folder, given.case, noisy(images, noise, seed), given.case.rig, {"renderer": words})

        settings = {"projector": projector, "ratio": ratio, "spread_mm": SPREAD_MM, "photons": noise.photons}
        return Point(name, make, settings=settings)

    points = [point("Siddon", "Siddon", 0.0), point("RTK", "RTK", 0.0)]
    points += [point(f"scatter {ratio:g}", "Siddon", ratio) for ratio in SCATTER_TO_PRIMARY]
    notes = (
        "Scatter: mean ratio of scattered to primary photons behind the leg; the points with scatter use our own projector.",
    )
    return Plan(points, request.case_sources(), {"": "renderer"}, notes=notes)

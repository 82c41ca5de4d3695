"""Figure 5d: the external knees, by a density model and bones that no training has seen. For evaluation only: nothing is tuned on them."""

from __future__ import annotations

from pathlib import Path

from SSRKDCore.drr.noise import NoiseModel
from SSRKDCore.drr.projector import project
from SSRKDCore.drr.simulated_case import knee_center, placed_rig
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.experiments.framework import Plan, Point
from SSRKDCore.evaluation.experiments.registry import Request
from SSRKDCore.evaluation.experiments.sources import BonesSource, Source
from SSRKDCore.evaluation.experiments.variants import noisy, write_made_case
from SSRKDCore.training.test_sets import EXTERNAL, RIGS

FOLDER = "external_oai"
SIDE = "right"


def plan(request: Request) -> Plan:
    """The points of the experiment: one a rig."""
    folder = request.needed_data() / FOLDER
    if not folder.is_dir():
        raise InputError(f"{folder} does not exist: name the anatomy folder that holds {FOLDER} with --data.")
    noise = NoiseModel()

    def point(rig_name: str) -> Point:
        def make(source: Source, folder: Path, seed: int) -> Path:
            assert isinstance(source, BonesSource)
            center = knee_center(source.bones)
            rig = placed_rig(rig_name, SIDE, None, center)
            exposed = source.exposed(rig)
            images = noisy(project(exposed.volume, exposed.grid, rig), noise, seed)
            provenance = {**exposed.provenance, "set": EXTERNAL, "subject": source.id}
            return write_made_case(folder, source.id, SIDE, source.bones, images, rig, provenance)

        return Point(rig_name, make, settings={"rig": rig_name, "photons": noise.photons})

    sources = [BonesSource(path) for path in sorted(folder.iterdir()) if path.is_dir()]
    notes = (
        "External knees without a fibula: for evaluation only. References that end flat inside the field of view are scored up to there.",
    )
    return Plan(
        [point(name) for name in RIGS], sources[: request.limit], {"": "rig"}, trim_cut_references=True, notes=notes
    )

"""Figure 6: metal. The same knees without, with staples, with a plate and screws, and with a partial knee replacement."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from SSRKDCore.drr.noise import NoiseModel
from SSRKDCore.drr.projector import project
from SSRKDCore.drr.simulated_case import ct_subject
from SSRKDCore.drr.volume_reader import read_ct
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.experiments.framework import Plan, Point
from SSRKDCore.evaluation.experiments.registry import Request
from SSRKDCore.evaluation.experiments.sources import CaseSource, Source, checked_case, without_metal
from SSRKDCore.evaluation.experiments.variants import noisy, write_variant
from SSRKDCore.grid import Grid
from SSRKDCore.population.bone_distance import coarse_box, coarse_grid
from SSRKDCore.population.case_writer import RADIOGRAPH_ENERGY_KEV
from SSRKDCore.population.joint_tissue import JOINT_REACH
from SSRKDCore.population.leg_landmarks import find_landmarks
from SSRKDCore.population.metal import add_metal
from SSRKDCore.population.synthetic_ct import synthetic_ct
from SSRKDCore.population.tissue import TissueParameters

#: metal -> (words, HU before the CT's range ends): stainless steel staples, a titanium plate, a cobalt-chromium knee.
METALS: dict[str, tuple[str, float]] = {
    "none": ("no metal", 0.0),
    "staples": ("staples", 28000.0),
    "plate_and_screws": ("plate and screws", 10000.0),
    "partial_knee": ("partial knee", 30000.0),
}


def body_of(source: CaseSource, seed: int) -> tuple[np.ndarray, Grid]:
    """The knee's CT in HU, float32 [z, y, x]: the case's own, or a synthetic one about its bones. Raises InputError."""
    if source.case.ct is not None:
        hounsfield, grid, _ = read_ct(source.case.ct)
        return hounsfield, grid
    made = synthetic_ct(source.bones, source.case.side, TissueParameters(), np.random.default_rng(seed))
    return made.hounsfield.astype(np.float32), made.grid


def with_metal(
    hounsfield: np.ndarray, grid: Grid, source: CaseSource, metal: str, seed: int
) -> tuple[np.ndarray, dict[str, object]]:
    """A copy of the CT with that metal in the case's bones, and what was put where. Raises InputError for lacking bones."""
    kind, value = metal, METALS[metal][1]
    landmarks = find_landmarks(source.bones, source.case.side)
    tissue = replace(TissueParameters(), metal=kind, metal_hu=value)
    coarse = coarse_grid(grid)
    reach = (JOINT_REACH + 3.0) * landmarks.size
    around = (float(landmarks.joint[2]) - reach, float(landmarks.joint[2]) + reach)
    boxes = {name: coarse_box(bone, coarse, around) for name, bone in source.bones.items()}
    volume = np.array(hounsfield, dtype=np.float32)
    told = add_metal(volume, grid, source.bones, boxes, landmarks, tissue, np.random.default_rng(seed))
    return volume, told


def plan(request: Request) -> Plan:
    """The points of the experiment; cases with metal of their own are left out, which a note says."""
    noise = NoiseModel()

    def point(metal: str) -> Point:
        def make(source: Source, folder: Path, seed: int) -> Path:
            given = checked_case(source)
            hounsfield, grid = body_of(given, seed)
            hounsfield, told = with_metal(hounsfield, grid, given, metal, seed)
            subject = ct_subject(given.case.id, hounsfield, grid, RADIOGRAPH_ENERGY_KEV)
            images = noisy(project(subject.volume, grid, given.case.rig), noise, seed)
            return write_variant(folder, given.case, images, given.case.rig, {"metal": told})

        return Point(METALS[metal][0], make, settings={"metal_hu": METALS[metal][1], "photons": noise.photons})

    given = replace(request, limit=None).case_sources()
    sources: list[CaseSource] = []
    left_out: list[CaseSource] = []
    for source in given:
        try:
            clean = without_metal(source.case.provenance)
        except InputError:
            clean = True  # A case that cannot be read stays in and counts as a failure.
        (sources if clean else left_out).append(source)
    if not sources:
        raise InputError("Every case has metal already: give cases without.")
    notes: tuple[str, ...] = ("The CT's values end at 32767 HU; there are no streaks, which are not in the body.",)
    if left_out:
        notes += (f"Left out, since they have metal of their own: {', '.join(source.id for source in left_out)}.",)
    return Plan([point(metal) for metal in METALS], sources[: request.limit], {"": "metal"}, notes=notes)

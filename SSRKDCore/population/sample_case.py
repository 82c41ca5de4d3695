"""Make the bundled sample case: a random knee that belongs to nobody, its radiographs and its bones."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from SSRKDCore.drr.noise import NoiseModel
from SSRKDCore.drr.simulated_case import ct_subject, simulate_images, write_case
from SSRKDCore.errors import InputError
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.presets import preset
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.output_folder import complete_folder
from SSRKDCore.population.anatomies import read_legs
from SSRKDCore.population.case_writer import RADIOGRAPH_ENERGY_KEV
from SSRKDCore.population.gaussian_process import Scale, low_rank_basis
from SSRKDCore.population.random_knee import random_knee
from SSRKDCore.population.synthetic_ct import synthetic_ct
from SSRKDCore.population.tissue import random_tissue
from SSRKDCore.reconstruction.decimation import decimated
from SSRKDCore.surface import Surface

# The only leg of the anatomy folder under a permissive licence (MIT), so that the sample may travel with an MIT project: the shape
# model, which is made of the others too, takes no part.
BASE_LEG = "pymskt_DESS_R"
FIELD_OF_VIEW = FieldOfView((0.0, 0.0, 0.0), 124.0)
_VOXEL_MM = 0.6
_TRIANGLES = 8000
_DEFORMATION = (Scale(40.0, 1.2), Scale(18.0, 0.4))
_RANK = 250


class DeformedLeg:
    """One leg, smoothly deformed anew for every sample: a `KneeSource` of a single person."""

    def __init__(self, bones: Mapping[str, Surface]) -> None:
        self.bones = dict(bones)
        points = np.concatenate([surface.vertices for surface in self.bones.values()])
        self._basis = low_rank_basis(points, _DEFORMATION, rank=_RANK)

    def sample(self, generator: np.random.Generator) -> dict[str, Surface]:
        """Four closed bones, LPS mm, knee frame; neighbouring bones are deformed alike."""
        displacement = self._basis @ generator.standard_normal((self._basis.shape[1], 3))
        ends = np.cumsum([len(surface.vertices) for surface in self.bones.values()])[:-1]
        parts = np.split(displacement, ends)
        return {
            name: Surface(surface.vertices + part, surface.faces)
            for (name, surface), part in zip(self.bones.items(), parts, strict=True)
        }


def main() -> None:
    """Sample a knee from BASE_LEG, expose it in a radiography room, and write a case (schema ssrkd-case/1)."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of real anatomy (manifest.json)")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    legs = {leg.name: leg for leg in read_legs(arguments.data)}
    if BASE_LEG not in legs:
        raise InputError(
            f"{arguments.data} has no leg {BASE_LEG}: use the anatomy folder that this project was made with."
        )
    generator = np.random.default_rng(arguments.seed)
    knee = random_knee(DeformedLeg(legs[BASE_LEG].bones), generator)
    ct = synthetic_ct(knee.bones, knee.side, random_tissue(generator, 0.0), generator, voxel_mm=_VOXEL_MM)
    surfaces = {name: decimated(surface, _TRIANGLES).surface for name, surface in ct.bones.items()}
    room = preset("room", knee.side, pixel_spacing=(0.4, 0.4), rows=500, columns=500)
    rig = Rig(room.views, FIELD_OF_VIEW, {**room.provenance, "detector": "cropped to 200 mm by 200 mm"})
    exposed = ct_subject("sample-knee", ct.hounsfield.astype(np.float32), ct.grid, RADIOGRAPH_ENERGY_KEV)
    noise = NoiseModel()
    images = simulate_images(exposed, rig, noise, arguments.seed)
    provenance = {
        "description": f"a random {knee.side} knee that belongs to nobody: {BASE_LEG} resized, bent and smoothly deformed; "
        "synthetic CT, simulated radiographs",
        "base": f"{BASE_LEG} (gattia/pymskt, MIT)",
        "command": f"python -m SSRKDCore.population.sample_case --seed {arguments.seed}",
        "knee": knee.parameters,
        "energy_kev": RADIOGRAPH_ENERGY_KEV,
    }
    subject = replace(exposed, surfaces=surfaces, provenance=provenance)
    with complete_folder(arguments.out, overwrite=True) as folder:
        write_case(folder, subject, rig, knee.side, images, noise, arguments.seed)


if __name__ == "__main__":
    main()

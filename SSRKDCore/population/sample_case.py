"""Make the bundled sample case: a random knee that belongs to nobody, its radiographs and its bones."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from SSRKDCore.drr.noise import NoiseModel
from SSRKDCore.drr.simulated_case import Subject, simulate_images, write_case
from SSRKDCore.errors import InputError
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.presets import preset
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.grid import Grid
from SSRKDCore.output_folder import complete_folder
from SSRKDCore.population.anatomies import read_legs
from SSRKDCore.population.knee_sampler import attenuation_volume, distance_fields, sample_knee, sample_tissue
from SSRKDCore.population.knee_surfaces import knee_surfaces
from SSRKDCore.reconstruction.decimation import decimated

# The only leg of the anatomy folder under a permissive licence (MIT), so that the sample may travel with an MIT project.
BASE_LEG = "pymskt_DESS_R"
FIELD_OF_VIEW = FieldOfView((0.0, 0.0, 4.0), 124.0)
_TRIANGLES = 8000


def main() -> None:
    """Sample a knee from BASE_LEG, expose it in a radiography room, and write a case (schema ssrkd-case/1)."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of real anatomy (manifest.json)")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=20)
    arguments = parser.parse_args()
    legs = {leg.name: leg for leg in read_legs(arguments.data)}
    if BASE_LEG not in legs:
        raise InputError(
            f"{arguments.data} has no leg {BASE_LEG}: use the anatomy folder that this project was made with."
        )
    generator = np.random.default_rng(arguments.seed)
    knee = sample_knee(distance_fields(legs[BASE_LEG]), generator)
    grid = Grid((-90.0, -90.0, -85.0), (0.7, 0.7, 0.7), (248, 258, 258))
    volume = attenuation_volume(knee, sample_tissue(generator), grid, generator)
    fine = Grid.cube((0.0, 0.0, 0.0), 180.0, 300)
    surfaces = {name: decimated(surface, _TRIANGLES).surface for name, surface in knee_surfaces(knee, fine).items()}
    room = preset("room", knee.side, pixel_spacing=(0.4, 0.4), rows=500, columns=500)
    rig = Rig(room.views, FIELD_OF_VIEW, {**room.provenance, "detector": "cropped to 200 mm by 200 mm"})
    provenance = {
        "description": f"a random {knee.side} knee: {BASE_LEG} resized, bent and smoothly deformed; simulated radiographs",
        "base": f"{BASE_LEG} (gattia/pymskt, MIT)",
        "command": f"python -m SSRKDCore.population.sample_case --seed {arguments.seed}",
    }
    subject = Subject("sample-knee", volume, grid, surfaces, provenance)
    noise = NoiseModel()
    images = simulate_images(subject, rig, noise, arguments.seed)
    with complete_folder(arguments.out, overwrite=True) as folder:
        write_case(folder, subject, rig, knee.side, images, noise, arguments.seed)


if __name__ == "__main__":
    main()

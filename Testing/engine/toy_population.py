"""Small stand-ins of a population's parts, which worker processes can import too."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import SimpleITK

from SSRKDCore.anatomy import BONES
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.label_surfaces import surfaces_of_labels
from SSRKDCore.grid import Grid
from SSRKDCore.population.case_writer import CaseContent
from SSRKDCore.population.random_knee import KneeSource
from SSRKDCore.population.synthetic_case import LABELLED, CaseNumber, PopulationSettings
from SSRKDCore.surface import Surface


class ToySampler:
    """Stands where a shape model does; toy cases never ask it."""

    def sample(self, generator: np.random.Generator) -> dict[str, Surface]:
        raise NotImplementedError


def toy_case(model: KneeSource, number: CaseNumber, settings: PopulationSettings) -> tuple[CaseContent, int]:
    """A block of water of 24 voxels a side with four random boxes of bone, in a moment."""
    kind = 0 if number.kind == LABELLED else 1
    generator = np.random.default_rng([settings.seed, kind, number.index])
    grid = Grid((-57.5, -57.5, -57.5), (5.0, 5.0, 5.0), (24, 24, 24))
    labels = np.zeros(grid.shape, np.uint8)
    for bone in BONES:
        z, y, x = generator.integers(3, 17, 3)
        labels[z : z + 4, y : y + 4, x : x + 4] = bone.label
    hounsfield = np.full(grid.shape, -1000, np.int16)
    hounsfield[:, 2:-2, 2:-2] = 40
    hounsfield[labels > 0] = 800
    known = number.kind == LABELLED
    names = [bone.name for bone in BONES if (labels == bone.label).any()]
    content = CaseContent(
        id=f"toy{settings.seed}-{number.name}",
        side="left" if number.index % 2 else "right",
        hounsfield=hounsfield,
        grid=grid,
        surfaces=surfaces_of_labels(labels, grid, names) if known else {},
        labels=labels if known else None,
        provenance={"index": number.index},
    )
    return content, int(generator.integers(1000))


class EverySecondFails:
    """A maker that finds no knee for odd numbers."""

    def __call__(self, model: KneeSource, number: CaseNumber, settings: PopulationSettings) -> tuple[CaseContent, int]:
        if number.index % 2:
            raise InputError("No knee was found.")
        return toy_case(model, number, settings)


def ends_its_process(model: KneeSource, number: CaseNumber, settings: PopulationSettings) -> tuple[CaseContent, int]:
    """What the system does to a process that takes too much memory."""
    os._exit(9)


def voxels(folder: Path) -> tuple[bytes, bytes]:
    """The CT numbers of a case, and one radiograph's, as bytes."""
    arrays = [SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / name))) for name in ("ct.nrrd", "ap.dcm")]
    return arrays[0].tobytes(), arrays[1].tobytes()

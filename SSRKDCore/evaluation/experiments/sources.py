"""What experiments make cases from: case folders, knees drawn from a shape model, and folders of bones."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.cases import CASE_FILE, Case, load_case
from SSRKDCore.errors import InputError
from SSRKDCore.surface import Surface

if TYPE_CHECKING:
    from SSRKDCore.drr.simulated_case import Subject
    from SSRKDCore.geometry.rig import Rig


class Source(Protocol):
    """One knee of an experiment.

    Attributes
    ----------
    id: its name, unique in the experiment.
    fingerprint: changes when what it is made from does.
    """

    @property
    def id(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    def close(self) -> None:
        """Forget what was loaded."""
        ...


def seed_of(source: Source, seed: int) -> int:
    """A seed of the experiment's seed and the source's name: the same for every point, and whichever other cases there are."""
    return int(np.random.SeedSequence([seed, zlib.crc32(source.id.encode("utf-8"))]).generate_state(1)[0])


class _Cached:
    def close(self) -> None:
        """Forget what was loaded."""
        for name in [name for name in self.__dict__ if isinstance(getattr(type(self), name, None), cached_property)]:
            del self.__dict__[name]


class CaseSource(_Cached):
    """A case folder, and what its radiographs can be simulated from again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.id = folder.resolve().name

    @property
    def fingerprint(self) -> str:
        """Checksum of case.json; "unreadable" where there is none."""
        try:
            return f"{zlib.crc32((self.folder / CASE_FILE).read_bytes()):08x}"
        except OSError:
            return "unreadable"

    @cached_property
    def case(self) -> Case:
        """The case. Raises InputError."""
        return load_case(self.folder)

    @cached_property
    def bones(self) -> dict[str, Surface]:
        """Its true bones. Raises InputError where it has none."""
        from SSRKDCore.evaluation.case_evaluation import reference_surfaces

        return reference_surfaces(self.case)

    @cached_property
    def exposed(self) -> Subject:
        """What the beam meets: the case's CT, or where it has none its bones in tissue of `drr.bone_phantom`."""
        from SSRKDCore.drr.simulated_case import ct_subject, leg_subject
        from SSRKDCore.drr.volume_reader import read_ct
        from SSRKDCore.population.case_writer import RADIOGRAPH_ENERGY_KEV

        if self.case.ct is None:
            return leg_subject(self.case.id, self.bones, self.case.rig)
        hounsfield, grid, warnings = read_ct(self.case.ct)
        return ct_subject(self.case.id, hounsfield, grid, RADIOGRAPH_ENERGY_KEV, tuple(warnings))

    @cached_property
    def line_integrals(self) -> dict[str, NDArray[np.float32]]:
        """View name -> line integrals [row, column] through the case's own rig, without noise."""
        from SSRKDCore.drr.projector import project

        return project(self.exposed.volume, self.exposed.grid, self.case.rig)


class KneeSource(_Cached):
    """The knee of a number: drawn anew by each point, from the same random numbers."""

    def __init__(self, number: int, model_fingerprint: str) -> None:
        self.number = number
        self.id = f"knee{number:05d}"
        self.fingerprint = model_fingerprint


class BonesSource(_Cached):
    """A folder of bone surfaces (femur.ply, ...) of one person's right knee, LPS mm."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.id = folder.resolve().name

    @property
    def fingerprint(self) -> str:
        """Names and sizes of its files."""
        files = sorted((path.name, path.stat().st_size) for path in self.folder.iterdir() if path.is_file())
        return f"{zlib.crc32(repr(files).encode()):08x}"

    @cached_property
    def bones(self) -> dict[str, Surface]:
        """The bones. Raises InputError where there are none."""
        from SSRKDCore.surface_files import read_bone_surfaces

        return read_bone_surfaces(self.folder)

    def exposed(self, rig: Rig) -> Subject:
        """The bones in tissue, as far as the rig sees them."""
        from SSRKDCore.drr.simulated_case import leg_subject

        return leg_subject(self.id, self.bones, rig)


def checked_case(source: Source) -> CaseSource:
    """The source as a case. Raises InputError for one of another kind."""
    if not isinstance(source, CaseSource):
        raise InputError(f"{source.id} is no case folder: this experiment changes given cases.")
    return source


def without_metal(provenance: Mapping[str, object]) -> bool:
    """Whether a case's provenance knows of no metal in the knee."""
    metal = provenance.get("metal")
    return not (isinstance(metal, Mapping) and metal.get("kind", "none") != "none")

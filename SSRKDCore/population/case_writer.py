"""A CT with what is known of its bones, as the files of a case folder (schema ssrkd-case/1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.drr.noise import NoiseModel
from SSRKDCore.drr.simulated_case import ct_subject, simulate_images, write_case
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.grid import Grid
from SSRKDCore.image_files import write_image
from SSRKDCore.surface import Surface

CT_FILE = "ct.nrrd"
SEGMENTATION_FILE = "reference.seg.nrrd"
RADIOGRAPH_ENERGY_KEV = 60.0


@dataclass(frozen=True)
class CaseContent:
    """What a case is made of, but for its rig and radiographs.

    Attributes
    ----------
    id: the case's name.
    side: "right" or "left".
    hounsfield: int16 [z, y, x].
    grid: where its voxels are, LPS mm.
    surfaces: the true bones (closed, LPS mm) by name; empty when the truth is unknown.
    labels: uint8 [z, y, x] on the same grid, values as in `anatomy`; None when the truth is unknown.
    provenance: where it comes from, plain values.
    reference_extent: bone -> (lowest z, highest z) in mm, of bones that end at a cut; see `Case.reference_extent`.
    """

    id: str
    side: str
    hounsfield: NDArray[np.int16]
    grid: Grid
    surfaces: Mapping[str, Surface] = field(default_factory=dict)
    labels: NDArray[np.uint8] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    reference_extent: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def write_case_folder(
    folder: Path, content: CaseContent, rig: Rig, noise: NoiseModel | None, seed: int, backend: str = "auto"
) -> dict[str, str]:
    """Write all files of a case into an existing folder, case.json last.

    ct.nrrd (int16 HU), and where the bones are known reference.seg.nrrd and a PLY a bone, which the case names as its
    reference: they are finer than the voxels. Radiographs are simulated through `rig` at 60 keV and written as DICOM.

    noise, seed: of the radiographs. backend: see `drr.projector`.

    Returns view name -> file name of its radiograph. Raises InputError when the volume holds no Hounsfield units or a
    view sees nothing of it.
    """
    from SSRKDCore.cases import load_case, save_case
    from SSRKDCore.segmentation_files import write_segmentation

    exposed = ct_subject(content.id, content.hounsfield.astype(np.float32), content.grid, RADIOGRAPH_ENERGY_KEV)
    simulated = simulate_images(exposed, rig, noise, seed, backend)
    write_hounsfield(folder / CT_FILE, content.hounsfield, content.grid)
    if content.labels is not None:
        write_segmentation(folder / SEGMENTATION_FILE, content.labels, content.grid, content.side)
    provenance = {**content.provenance, "energy_kev": RADIOGRAPH_ENERGY_KEV}
    subject = replace(exposed, surfaces=content.surfaces, provenance=provenance)
    files = write_case(folder, subject, rig, content.side, simulated, noise, seed)
    # The writer of simulated radiographs knows no CT: its case file is written again with it.
    plain = load_case(folder)
    save_case(
        folder,
        content.id,
        content.side,
        rig,
        files,
        plain.intensity,
        {name: f"{name}.ply" for name in content.surfaces} or None,
        CT_FILE,
        plain.provenance,
        content.reference_extent,
    )
    return files


def write_hounsfield(path: Path, hounsfield: NDArray[np.int16], grid: Grid) -> None:
    """Write a CT [z, y, x] in HU as NRRD, gzip at its fastest level: noise compresses no better at the slower ones."""
    import SimpleITK

    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(hounsfield, dtype=np.int16))
    image.SetOrigin(grid.origin)
    image.SetSpacing(grid.spacing)
    write_image(path, image, compressed=True, level=1)

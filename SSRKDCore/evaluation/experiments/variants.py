"""Case folders with radiographs simulated again: through another rig, with other noise, or with a rig that is told wrongly."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.cases import Case, save_case
from SSRKDCore.drr.noise import NoiseModel
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.image_files import write_image
from SSRKDCore.surface import Surface

Images = Mapping[str, NDArray[np.float32]]


def noisy(images: Images, noise: NoiseModel | None, seed: int) -> dict[str, NDArray[np.float32]]:
    """Line integrals as one exposure shows them: a stream of random numbers a view, as `drr.simulated_case` has it."""
    if noise is None:
        return dict(images)
    return {
        name: noise.apply(image, np.random.default_rng([seed, index]))
        for index, (name, image) in enumerate(images.items())
    }


def write_variant(
    folder: Path,
    case: Case,
    images: Images,
    told: Rig,
    provenance: Mapping[str, Any],
    intensity: str = "line_integral",
) -> Path:
    """Write a case into the new folder `folder`: given images and rig, reference and side of `case`. Returns the folder.

    Parameters
    ----------
    images: view name -> line integrals [row, column], as many pixels as the view of `told` has.
    told: the rig that whoever reconstructs the case reads.
    provenance: what was changed, added to the case's own.
    intensity: what the images hold, see `cases`.
    """
    folder.mkdir(parents=True)
    reference: dict[str, str] | str | None = None
    if isinstance(case.reference, Path):
        reference = "reference.seg.nrrd"
        shutil.copyfile(case.reference, folder / reference)
    elif case.reference is not None:
        reference = {name: f"{name}{path.suffix.lower()}" for name, path in case.reference.items()}
        for name, path in case.reference.items():
            shutil.copyfile(path, folder / reference[name])
    files = _write_images(folder, images, told)
    save_case(
        folder,
        case.id,
        case.side,
        told,
        files,
        intensity,
        reference,
        None,
        {**case.provenance, **provenance},
        case.reference_extent,
    )
    return folder


def write_made_case(
    folder: Path,
    id: str,
    side: str,
    bones: Mapping[str, Surface],
    images: Images,
    rig: Rig,
    provenance: Mapping[str, Any],
) -> Path:
    """Write a case of bones that no case folder holds yet; see `write_variant`."""
    from SSRKDCore.surface_files import write_surface

    folder.mkdir(parents=True)
    for name, surface in bones.items():
        write_surface(folder / f"{name}.ply", surface)
    files = _write_images(folder, images, rig)
    save_case(
        folder, id, side, rig, files, "line_integral", {name: f"{name}.ply" for name in bones}, None, provenance, None
    )
    return folder


def _write_images(folder: Path, images: Images, rig: Rig) -> dict[str, str]:
    import SimpleITK

    files = {view.name: f"view{index}.nrrd" for index, view in enumerate(rig.views)}
    for view in rig.views:
        image = SimpleITK.GetImageFromArray(np.ascontiguousarray(images[view.name], dtype=np.float32))
        image.SetSpacing((view.pixel_spacing[1], view.pixel_spacing[0]))
        write_image(folder / files[view.name], image)
    return files

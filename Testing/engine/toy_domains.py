"""Small knees with radiographs of their own, from two sites: the same geometry, another look."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from training_cases import knee_surfaces, write_knee_case

from SSRKDCore.cases import load_case, save_case
from SSRKDCore.drr.attenuation import attenuation_from_hounsfield
from SSRKDCore.drr.siddon import line_integrals
from SSRKDCore.drr.volume_reader import read_ct
from SSRKDCore.geometry.presets import preset
from SSRKDCore.geometry.rig import Rig

Image = NDArray[np.float32]
PIXELS = 72


def plain(image: Image) -> Image:
    """The first site: line integrals as they are."""
    return image


def odd_curve(image: Image) -> Image:
    """The second site: a curve that folds the tones over, so that dense bone is dark again."""
    top = float(image.max())
    return (top * np.sin(2.2 * np.pi * image / top) ** 2).astype(np.float32)


def write_site(folder: Path, count: int, look: Callable[[Image], Image] = plain, first: int = 0) -> Path:
    """Cases of a site, left and right by turns, of different sizes, each with radiographs, reference and CT."""
    for index in range(first, first + count):
        case = folder / f"knee{index:03d}"
        side = ("right", "left")[index % 2]
        write_knee_case(case, id=f"{folder.name}-{index}", side=side, size=0.92 + 0.02 * (index % 7))
        expose(case, look)
    return folder


def expose(folder: Path, look: Callable[[Image], Image]) -> None:
    """Give a case radiographs of its CT, 72 x 72 pixels of 5.5 mm, as a site would show them."""
    case = load_case(folder)
    hounsfield, grid, _ = read_ct(case.ct)
    room = preset("room", case.side, pixel_spacing=(5.5, 5.5), rows=PIXELS, columns=PIXELS)
    rig = Rig(room.views, case.rig.field_of_view, room.provenance)
    attenuation = attenuation_from_hounsfield(hounsfield, 60.0).astype(np.float32)
    for view in rig.views:
        image = line_integrals(attenuation, grid, view)
        sitk.WriteImage(sitk.GetImageFromArray(look(image.astype(np.float32))), str(folder / f"{view.name}.nrrd"))
    names = {view.name: f"{view.name}.nrrd" for view in rig.views}
    surfaces = {name: f"{name}.ply" for name in knee_surfaces(case.side)} if case.reference else None
    save_case(folder, case.id, case.side, rig, names, "line_integral", surfaces, "ct.nrrd", case.provenance)

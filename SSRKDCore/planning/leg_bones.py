"""The bones of a leg from files, as closed surfaces that can be measured and cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from SSRKDCore.evaluation.bone_sets import read_bones
from SSRKDCore.geometry.mirror import MIRROR
from SSRKDCore.surface import Surface


def read_leg(path: str | Path, side: str | None = None) -> dict[str, Surface]:
    """Surfaces (LPS mm) by bone name from a folder of STL, PLY or OBJ files, from a .seg.nrrd file, or a folder that holds one.

    Surfaces come as they are. Labels become the half level of their blurred mask (population.mask_surface), each bone's largest piece
    with its cavities filled: voxel faces and surface nets join voxels that touch along an edge only, and such a surface is not closed.
    With `side` "left" they are made of the mirror image of the labels, so that mirrored legs have mirrored triangles too.

    Raises InputError, naming the file, when there are no bones or a file is unusable.
    """
    from SSRKDCore.population.mask_surface import mask_surfaces
    from SSRKDCore.reconstruction.components import keep_one_piece

    found = read_bones(path)
    if found.labels is None or found.grid is None:
        return dict(found.surfaces)
    labels, _ = keep_one_piece(found.labels)
    if side != "left":
        return mask_surfaces(labels, found.grid, found.surfaces)
    (x, y, z), across = found.grid.origin, (labels.shape[2] - 1) * found.grid.spacing[0]
    turned = mask_surfaces(labels[:, :, ::-1], replace(found.grid, origin=(-x - across, y, z)), found.surfaces)
    return {name: surface.transformed(MIRROR) for name, surface in turned.items()}

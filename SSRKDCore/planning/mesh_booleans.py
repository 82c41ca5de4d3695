"""Exact unions, differences and cuts of closed surfaces, by manifold3d."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.surface import Surface

if TYPE_CHECKING:
    from manifold3d import Manifold

Array = NDArray[np.float64]


def _library() -> Any:
    try:
        import manifold3d
    except ImportError as error:
        raise InputError(
            "Cutting bones and making guides needs the package manifold3d: install it with pip install manifold3d."
        ) from error
    return manifold3d


def solid(surface: Surface, what: str) -> Manifold:
    """A closed surface as a solid.

    Raises InputError, naming `what` it is, when the surface is empty, open, inside out or not a manifold, and where manifold3d is absent.
    """
    library = _library()
    if surface.is_empty:
        raise InputError(f"The surface of {what} is empty: give one with triangles.")
    if not surface.is_closed():
        raise InputError(f"The surface of {what} is open or not a manifold: close it first.")
    if surface.volume <= 0:
        raise InputError(f"The surface of {what} is inside out: turn its triangles.")
    mesh = library.Mesh64(surface.vertices, surface.faces.astype(np.uint64))
    result = library.Manifold(mesh)
    if result.is_empty() or result.status() != library.Error.NoError:
        raise InputError(f"The surface of {what} is not a solid ({result.status()}): repair it first.")
    return result


def surface_of(manifold: Manifold) -> Surface:
    """The surface of a solid."""
    mesh = manifold.to_mesh64()
    # The library's own array is read-only, and it would not take it back for another solid.
    return Surface(np.array(mesh.vert_properties)[:, :3], np.asarray(mesh.tri_verts).astype(np.int64))


def box(centre: Array, axes: Array, half_sizes: Array) -> Manifold:
    """A box: middle (3,), unit axes as rows (3, 3), half sizes (3,) mm along them."""
    cube = _library().Manifold.cube([2.0, 2.0, 2.0], True)
    return placed(cube.scale([float(value) for value in half_sizes]), centre, axes)


def placed(manifold: Manifold, origin: Array, axes: Array) -> Manifold:
    """A solid from coordinates along `axes` (rows, (3, 3)) about `origin` (3,) to patient space; mirroring axes keep it a solid."""
    return manifold.transform(np.column_stack([np.asarray(axes).T, np.asarray(origin)]))

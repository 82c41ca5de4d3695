"""A right knee of rounded solids, with all that a pose needs: condyles, groove, plateau, tuberosity, fibular head, patella."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from vtkmodules.util.numpy_support import numpy_to_vtk
from vtkmodules.vtkCommonDataModel import vtkImageData
from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D

from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

# Centres (LPS mm, +x medial) and radii of the posterior condyles: what the fitted flexion facets must find.
MEDIAL_CONDYLE, LATERAL_CONDYLE = ((26.0, 8.0, 19.0), 20.0), ((-26.0, 9.0, 22.0), 18.5)
TUBEROSITY = (-8.0, -30.0, -36.0)
_SPACING = 2.0
_CUT = 150.0


def _ball(points: Array, center: tuple[float, float, float], radius: float) -> Array:
    return np.linalg.norm(points - np.array(center), axis=-1) - radius


def _capsule(points: Array, start: tuple[float, ...], end: tuple[float, ...], radius: float) -> Array:
    a, b = np.array(start), np.array(end)
    along = np.clip(((points - a) @ (b - a)) / ((b - a) @ (b - a)), 0.0, 1.0)
    return np.linalg.norm(points - a - along[..., None] * (b - a), axis=-1) - radius


def _ellipsoid(points: Array, center: tuple[float, ...], radii: tuple[float, ...]) -> Array:
    return (np.linalg.norm((points - np.array(center)) / np.array(radii), axis=-1) - 1.0) * min(radii)


def _joined(*distances: Array) -> Array:
    """Union with fillets of a few mm (the exponential smooth minimum)."""
    return -2.0 * np.log(sum(np.exp(-distance / 2.0) for distance in distances))


def _femur(p: Array) -> Array:
    return _joined(
        _ball(p, *MEDIAL_CONDYLE),
        _ball(p, *LATERAL_CONDYLE),
        _ball(p, (-14.0, -13.0, 26.0), 20.0),
        _ball(p, (13.0, -12.0, 25.0), 18.0),
        _capsule(p, (-2.0, -4.0, 45.0), (-10.0, -8.0, 190.0), 14.0),
    )


def _tibia(p: Array) -> Array:
    return _joined(
        _ellipsoid(p, (21.0, 6.0, -22.0), (20.0, 24.0, 17.0)),
        _ellipsoid(p, (-21.0, 6.0, -19.0), (20.0, 22.0, 17.0)),
        _ellipsoid(p, (0.0, 2.0, -20.0), (30.0, 20.0, 14.0)),
        _capsule(p, (0.0, 2.0, -30.0), (-3.0, 8.0, -190.0), 14.0),
        _ball(p, (-8.0, -22.0, -36.0), 8.0),
    )


def _fibula(p: Array) -> Array:
    return _joined(_ball(p, (-42.0, 22.0, -34.0), 8.0), _capsule(p, (-42.0, 22.0, -34.0), (-36.0, 18.0, -190.0), 6.0))


def _patella(p: Array) -> Array:
    # A keel on the back, which keeps to the groove.
    return _joined(
        _ellipsoid(p, (-1.0, -44.0, 38.0), (20.0, 9.0, 19.0)), _capsule(p, (-1, -40, 30), (-1, -40, 46), 6.0)
    )


def _surface(  # type: ignore[no-untyped-def]
    solid, low: tuple[float, float, float], high: tuple[float, float, float], spacing: float
) -> Surface:
    """The closed surface of a solid in a box, cut flat at z = +-150 mm."""
    axes = [np.arange(a, b + spacing, spacing) for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    field = np.maximum(solid(points), np.abs(points[..., 2]) - _CUT)
    image = vtkImageData()
    image.SetDimensions(*field.shape)
    image.SetOrigin(*low)
    image.SetSpacing(spacing, spacing, spacing)
    image.GetPointData().SetScalars(numpy_to_vtk(field.ravel(order="F"), deep=True))
    contour = vtkFlyingEdges3D()
    contour.SetInputData(image)
    contour.SetValue(0, 0.0)
    contour.Update()
    surface = Surface.from_vtk(contour.GetOutput())
    return surface if surface.volume > 0 else Surface(surface.vertices, surface.faces[:, ::-1])


def synthetic_knee(spacing: float = _SPACING) -> dict[str, Surface]:
    """The four closed bones, about straight, cut at 150 mm from the joint; triangle edges are about `spacing` mm."""
    return {
        "patella": _surface(_patella, (-24, -56, 16), (22, -32, 60), spacing),
        "femur": _surface(_femur, (-50, -38, -6), (50, 34, 154), spacing),
        "fibula": _surface(_fibula, (-54, 4, -154), (-24, 34, -22), spacing),
        "tibia": _surface(_tibia, (-46, -38, -154), (46, 36, 4), spacing),
    }


class SyntheticKneeModel:
    """Samples of the synthetic knee, stretched a little: stands in for a shape model."""

    def __init__(self) -> None:
        self.bones = synthetic_knee()

    def sample(self, generator: np.random.Generator) -> dict[str, Surface]:
        stretch = np.diag([*np.exp(generator.normal(0.0, 0.02, 3)), 1.0])
        return {name: bone.transformed(stretch) for name, bone in self.bones.items()}

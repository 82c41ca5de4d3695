"""Bone's attenuation below its surface: a mean and modes of variation, learnt from CTs of bones in correspondence.

A bone is a nest of shells: the surface, and copies of it moved inwards by fixed depths (less where the bone is thin). Attenuation
above that of the soft tissue around is a number for each bone, shell and height along the bone; over training cases these numbers
have a mean and principal components. Klima et al. 2016 use polynomials in tetrahedra instead; see docs/baselines.md.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.errors import InputError
from SSRKDCore.npz_files import read_arrays, write_arrays
from SSRKDCore.population.shape_model import KneeShapeModel
from SSRKDCore.surface import Surface
from SSRKDCore.vertex_normals import vertex_normals

Array = NDArray[np.float64]

SCHEMA = "ssrkd-intensity-model/1"
# Depths of the shells' outer surfaces, mm at the mean bone's size; the first is the bone's surface.
DEPTHS_MM = (0.0, 1.5, 4.0, 8.0)
# Heights (mm from the joint in the bone's own frame) between which attenuation is interpolated.
HEIGHTS_MM = {
    "patella": (0.0,),
    "femur": (0.0, 12.0, 25.0, 40.0, 60.0, 90.0),
    "fibula": (-12.0, -25.0, -40.0, -60.0, -90.0),
    "tibia": (0.0, -10.0, -22.0, -38.0, -60.0, -90.0),
}
# A shell goes no deeper than this share of the way to the other side of the bone.
_DEEPEST_SHARE = 0.4
_MAXIMUM_BYTES = 64 * 1024**2


def value_slices() -> dict[str, slice]:
    """bone -> where its values lie in a vector of the model: (shells, heights), flattened."""
    slices, start = {}, 0
    for name in BONE_NAMES:
        slices[name] = slice(start, start + len(DEPTHS_MM) * len(HEIGHTS_MM[name]))
        start = slices[name].stop
    return slices


VALUE_COUNT = max(part.stop for part in value_slices().values())


@dataclass(frozen=True)
class Shells:
    """How one bone's shells hang on its surface.

    depths: (K, V) mm below the surface, at the mean bone's size. heights: (V, H) weights of the heights' values at each vertex.
    """

    depths: Array
    heights: Array


def shells_of(model: KneeShapeModel, name: str) -> Shells:
    """The shells of one bone of a shape model's mean."""
    template = model.templates[name]
    shape = model.shapes(model.pca.mean)[name]
    room = _way_through(Surface(shape, template.faces))
    depths = np.minimum(np.array(DEPTHS_MM)[:, None], _DEEPEST_SHARE * room)
    known = np.array(HEIGHTS_MM[name])
    order = np.argsort(known)
    weights = np.zeros((len(shape), len(known)))
    for place, column in enumerate(order):
        unit = np.zeros(len(known))
        unit[place] = 1.0
        weights[:, column] = np.interp(shape[:, 2], known[order], unit)
    return Shells(depths, weights)


def _way_through(surface: Surface) -> Array:
    """(V,) mm from each vertex straight inwards to the other side of the bone."""
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkFiltersGeneral import vtkOBBTree

    tree = vtkOBBTree()
    tree.SetDataSet(surface.to_vtk())
    tree.BuildLocator()
    normals = vertex_normals(surface.vertices, surface.faces)
    far = float(np.ptp(surface.vertices, axis=0).max())
    room = np.full(len(surface.vertices), far)
    found = vtkPoints()
    for index, (vertex, normal) in enumerate(zip(surface.vertices, normals, strict=True)):
        start = vertex - 0.05 * normal
        if tree.IntersectWithLine(start, start - far * normal, found, None) != 0 and found.GetNumberOfPoints():
            hits = np.array([found.GetPoint(i) for i in range(found.GetNumberOfPoints())])
            room[index] = np.linalg.norm(hits - vertex, axis=1).min()
    return room


@dataclass(frozen=True)
class IntensityModel:
    """Attenuation in 1/mm above soft tissue.

    Attributes
    ----------
    mean: (VALUE_COUNT,) of each bone's shells and heights, as `value_slices` orders them; a shell's value holds to the next shell.
    modes: (q, VALUE_COUNT), each as long as the standard deviation along it.
    card: what it was made from; "shape_model" is the SHA-256 of the shape model that it belongs to.
    """

    mean: Array
    modes: Array
    card: dict[str, Any]

    def steps(self, name: str, shells: Shells) -> Array:
        """(K, V, 1 + q): by how much attenuation steps up into each shell at each vertex, for the mean and for each mode."""
        values = np.concatenate([self.mean[None], self.modes])[:, value_slices()[name]]
        values = values.reshape(len(values), len(DEPTHS_MM), -1)
        steps = np.diff(values, axis=1, prepend=0.0)
        return np.einsum("mkh,vh->kvm", steps, shells.heights)

    def save(self, path: Path) -> None:
        """Write .npz: arrays and JSON text only, beside first, then renamed. Raises InputError where that is not possible."""
        write_arrays(path, {"card": np.array(json.dumps(self.card)), "mean": self.mean, "modes": self.modes})

    @classmethod
    def load(cls, path: Path) -> IntensityModel:
        """Read a file of `save`. Raises InputError when it is missing, too large, damaged or something else."""
        advice = "make one with `python -m SSRKDCore.evaluation.baselines.fit_intensity_model`"
        arrays = read_arrays(path, "an intensity model", advice, _MAXIMUM_BYTES)
        try:
            card = json.loads(str(arrays["card"]))
            mean, modes = arrays["mean"].astype(np.float64), arrays["modes"].astype(np.float64)
        except (KeyError, ValueError) as error:
            raise InputError(f"{path} is damaged or not an intensity model: {advice}.") from error
        fitting = mean.shape == (VALUE_COUNT,) and modes.ndim == 2 and modes.shape[1] == VALUE_COUNT
        if not isinstance(card, dict) or card.get("schema") != SCHEMA or not fitting:
            raise InputError(f"{path} is no intensity model of this version: {advice}.")
        if not (np.isfinite(mean).all() and np.isfinite(modes).all()):
            raise InputError(f"{path} holds values that are not finite: {advice}.")
        return cls(mean, modes, card)

"""Statistical shape model of the knee: four bones in correspondence, their sizes and relative pose, and a Gaussian process beside them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.errors import InputError
from SSRKDCore.npz_files import read_arrays, write_arrays
from SSRKDCore.population.completion import completed
from SSRKDCore.population.gaussian_process import Scale, low_rank_basis
from SSRKDCore.population.joint_features import JointFeatures
from SSRKDCore.population.knee_correspondences import KneeCorrespondences, find_correspondences
from SSRKDCore.population.partial_pca import PartialPca, fit_partial_pca
from SSRKDCore.population.surface_fit import FittedBone, fit_to_surfaces
from SSRKDCore.population.template import Template
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

SCHEMA = "ssrkd-shape-model/1"
RANK = 40
# Together 0.78 mm a component: modes alone leave 0.47 (femur) to 0.75 mm (fibula) of mean distance to the bones of a person who was left
# out (docs/measured/shape_model.json, generalisation), which is 0.6 to 0.9 mm as a standard deviation if the residual is normal.
SCALES = (Scale(40.0, 0.6), Scale(15.0, 0.45), Scale(8.0, 0.2))
_GP_RANK = 700
_GP_SHARE = 0.985
# A normal value further out is drawn again: beyond, linear modes leave what bones look like.
_LARGEST_DEVIATION = 2.5
_MAXIMUM_BYTES = 1024**3


class KneeShapeModel:
    """Random right knees.

    Attributes
    ----------
    templates: bone name -> template; every sample has its faces.
    features: how knees and vectors translate.
    pca: mean and modes of the vectors.
    basis: bone name -> (V, r) Gaussian process basis, mm, each component of a displacement alike.
    card: what the model was made from.
    """

    def __init__(
        self,
        templates: dict[str, Template],
        features: JointFeatures,
        pca: PartialPca,
        basis: dict[str, Array],
        card: dict[str, Any],
    ) -> None:
        self.templates = templates
        self.features = features
        self.pca = pca
        self.basis = basis
        self.card = card
        shapes = features.shapes(pca.mean)
        # The Gaussian process lives in the knee's space, shapes in their bones' own.
        self._to_shape = {
            name: motion.rotation.T / motion.scale for name, motion in features.motions(pca.mean, shapes).items()
        }
        self._to_shape["fibula"] = self._to_shape["tibia"]

    @classmethod
    def fit(
        cls,
        data: Path,
        excluded_subjects: Iterable[str] = (),
        work: Path | None = None,
        progress: Callable[[float, str], None] = lambda fraction, words: None,
    ) -> KneeShapeModel:
        """Fit to the anatomy folder without the excluded subjects; see `find_correspondences` for `work` and the errors raised."""
        excluded = tuple(sorted(set(excluded_subjects)))
        found = find_correspondences(data, excluded, work, lambda done, words: progress(0.8 * done, words))
        progress(0.8, "Fitting")
        model = cls.of_correspondences(found)
        model.card["excluded_subjects"] = list(excluded)
        progress(1.0, "Fitted")
        return model

    @classmethod
    def of_correspondences(cls, found: KneeCorrespondences, rank: int = RANK) -> KneeShapeModel:
        """Fit to bones that are in correspondence already."""
        features = JointFeatures(found.reference)
        rows = [features.encode(knee) for knee in found.knees]
        values, seen = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
        _complete_bones(values, seen, found.weights, features)
        pca = fit_partial_pca(values, seen, found.weights, min(rank, len(rows) - 1))
        placed = features.placed(pca.mean)
        whole = low_rank_basis(np.concatenate([placed[name] for name in BONE_NAMES]), SCALES, _GP_SHARE, _GP_RANK)
        ends = np.cumsum([len(placed[name]) for name in BONE_NAMES])
        basis = dict(zip(BONE_NAMES, np.split(whole, ends[:-1]), strict=True))
        people: dict[str, float] = {}
        for subject, weight in zip(found.subjects, found.weights, strict=True):
            people[subject] = people.get(subject, 0.0) + float(weight)
        card = {
            "schema": SCHEMA,
            "knees": len(found.knees),
            "people": {name: round(weight, 6) for name, weight in people.items()},
            "modes": len(pca.modes),
            "gaussian_process": [{"length_mm": s.length, "amplitude_mm": s.amplitude} for s in SCALES],
            "gaussian_process_rank": whole.shape[1],
        }
        return cls(found.templates, features, pca, basis, card)

    def sample(self, generator: np.random.Generator, gaussian_process: bool = True) -> dict[str, Surface]:
        """A random right knee: bone name -> closed surface.

        The knee frame is LPS mm, the joint near the origin, shafts along z, the fibula at negative x. Bones are about life size
        and stand as in a supine scan, about straight. Faces are the same in every sample; the same generator state gives the same
        knee. Bones may touch or overlap by a little: whoever poses them sets the joint spaces.

        `gaussian_process`: add the smooth deviations that the components cannot span.
        """
        return self.surfaces(*self.draw(generator, gaussian_process))

    def draw(self, generator: np.random.Generator, gaussian_process: bool = True) -> tuple[Array, Array | None]:
        """A random vector (D,) of the modes, and random coefficients (r, 3) of the Gaussian process or None."""
        vector = self.vector(_bounded_normal(generator, len(self.pca.modes)))
        rank = next(iter(self.basis.values())).shape[1]
        return vector, _bounded_normal(generator, (rank, 3)) if gaussian_process else None

    def vector(self, coefficients: Array) -> Array:
        """The vector (D,) of standard coefficients (at most q) of the first modes."""
        return self.pca.mean + np.asarray(coefficients) @ self.pca.modes[: len(coefficients)]

    def surfaces(self, vector: Array, field: Array | None = None) -> dict[str, Surface]:
        """The knee of a vector (D,) and of Gaussian process coefficients (r, 3), if any."""
        placed = self.features.placed(vector, self.shapes(vector, field))
        return {name: Surface(placed[name], self.templates[name].faces) for name in BONE_NAMES}

    def shapes(self, vector: Array, field: Array | None = None) -> dict[str, Array]:
        """bone name -> (V, 3) vertices in the bones' own frames, flat ends in their planes."""
        shapes = self.features.shapes(vector)
        if field is not None:
            shapes = {name: shape + self.basis[name] @ field @ self._to_shape[name].T for name, shape in shapes.items()}
        return {name: self.templates[name].with_flat_end(shape) for name, shape in shapes.items()}

    def to_shape(self, name: str) -> Array:
        """(3, 3) map of displacements in the mean knee to those of a bone in its own frame and size."""
        return self._to_shape[name]

    def project(self, bones: Mapping[str, Surface], gaussian_process: bool = True) -> dict[str, FittedBone]:
        """The model's bones next to given ones; see `fit_to_surfaces`."""
        return fit_to_surfaces(self, bones, gaussian_process)

    def save(self, path: str | Path) -> None:
        """Write the model as .npz: arrays and JSON text only, beside first, then renamed."""
        path = Path(path)
        arrays: dict[str, NDArray[Any]] = {"card": np.array(json.dumps(self.card))}
        for name in BONE_NAMES:
            arrays[f"{name}_template"] = self.templates[name].vertices
            arrays[f"{name}_reference"] = self.features.reference[name]
            arrays[f"{name}_faces"] = self.templates[name].faces.astype(np.int32)
            arrays[f"{name}_rim"] = self.templates[name].rim.astype(np.int32)
            arrays[f"{name}_basis"] = self.basis[name].astype(np.float32)
        arrays["mean"], arrays["modes"] = self.pca.mean, self.pca.modes.astype(np.float32)
        arrays["noise"] = np.array(self.pca.noise)
        write_arrays(path, arrays)

    @classmethod
    def load(cls, path: str | Path) -> KneeShapeModel:
        """Read a model file. Raises InputError when it is missing, damaged or something else."""
        path = Path(path)
        advice = "make one with `ssrkd shape-model`"
        arrays = read_arrays(path, "a shape model", advice, _MAXIMUM_BYTES)
        try:
            card = json.loads(str(arrays["card"]))
            if card.get("schema") != SCHEMA:
                raise InputError(f"{path} is a shape model of another version ({card.get('schema')}): {advice}.")
            return cls._of_file(arrays, card)
        except InputError:
            raise
        except Exception as error:  # Arrays that do not belong together fail in many ways; each means the same here.
            raise InputError(f"{path} is damaged or not a shape model: {advice}.") from error

    @classmethod
    def _of_file(cls, file: Any, card: dict[str, Any]) -> KneeShapeModel:
        templates = {
            name: Template(
                file[f"{name}_template"].astype(np.float64),
                file[f"{name}_faces"].astype(np.int64),
                file[f"{name}_rim"].astype(np.int64),
            )
            for name in BONE_NAMES
        }
        features = JointFeatures({name: file[f"{name}_reference"] for name in BONE_NAMES})
        pca = PartialPca(file["mean"].astype(np.float64), file["modes"].astype(np.float64), float(file["noise"]))
        basis = {name: file[f"{name}_basis"].astype(np.float64) for name in BONE_NAMES}
        if pca.modes.shape[1] != features.length or not np.isfinite(pca.modes).all() or not np.isfinite(pca.mean).all():
            raise ValueError("modes and templates do not belong together")
        return cls(templates, features, pca, basis, card)

    def sha256(self) -> str:
        """A digest of all that decides which knees the model draws."""
        digest = hashlib.sha256()
        parts = [self.pca.mean, self.pca.modes.astype(np.float32)]
        for name in BONE_NAMES:
            parts += [self.basis[name].astype(np.float32), self.templates[name].faces, self.features.reference[name]]
        for part in parts:
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()


def _complete_bones(values: Array, seen: NDArray[np.bool_], weights: Array, features: JointFeatures) -> None:
    """Make every bone of which something was seen whole, in place; bones not seen at all stay missing."""
    for name in BONE_NAMES:
        part = features.slices[name]
        rows = np.flatnonzero(seen[:, part].any(axis=1))
        shapes = values[rows, part].reshape(len(rows), -1, 3)
        vertices = seen[rows, part].reshape(shapes.shape)[..., 0]
        values[rows, part] = completed(shapes, vertices, weights[rows], features.reference[name]).reshape(len(rows), -1)
        seen[rows, part] = True


def _bounded_normal(generator: np.random.Generator, shape: int | tuple[int, ...]) -> Array:
    """Standard normal values, none beyond the largest deviation."""
    values = generator.standard_normal(shape)
    while (far := np.abs(values) > _LARGEST_DEVIATION).any():
        values[far] = generator.standard_normal(int(far.sum()))
    return values

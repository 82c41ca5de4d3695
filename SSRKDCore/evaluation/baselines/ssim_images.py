"""What a knee of a shape and intensity model looks like in a rig, and how that changes with each of its parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.evaluation.baselines.intensity_model import IntensityModel, Shells, shells_of
from SSRKDCore.evaluation.baselines.intensity_shells import shell_derivatives, shell_image
from SSRKDCore.geometry.view import View
from SSRKDCore.population.shape_model import KneeShapeModel
from SSRKDCore.shape_fit.fitted_knee import PARTS, FittedKnee, KneeState
from SSRKDCore.shape_fit.silhouette_edges import beneath_skin
from SSRKDCore.vertex_normals import vertex_normals

Array = NDArray[np.float64]

# Next to the skin, to this share of the coarser blur, the leg's own thickness changes as fast as bone does.
_SKIN_SHARE = 0.4


@dataclass(frozen=True)
class Band:
    """One view at one scale.

    Attributes
    ----------
    view: of the image, LPS mm. values: (rows, columns) of the radiograph, between two blurs and over `spread`.
    leg: (rows, columns) 1 where the leg is. inside: (rows, columns) where the image counts: not next to the skin.
    spread: deviation of the radiograph between the blurs, in line integrals. fine, coarse: the two blurs in pixels.
    """

    view: View
    values: Array
    leg: Array
    inside: NDArray[np.bool_]
    spread: float
    fine: float
    coarse: float

    @classmethod
    def of(cls, image: NDArray[np.floating], coverage: NDArray[np.floating], view: View, coarse_mm: float) -> Band:
        """Of line integrals (rows, columns). Soft tissue is smooth next to bone, so that what is coarser than `coarse_mm` (on the
        detector) is taken off, at the skin nothing counts, and the rest is brought to deviation 1."""
        fine, coarse = 1.0, coarse_mm / view.pixel_spacing[0]
        seen = np.asarray(coverage) >= 0.5
        values = np.where(seen, image, 0.0).astype(np.float64)
        leg = beneath_skin(values, seen, 0.0).astype(np.float64)
        inside = beneath_skin(values, seen, _SKIN_SHARE * coarse)
        band = _between(values, leg, fine, coarse)
        spread = float(np.percentile(np.abs(band[inside]), 68.0)) if inside.any() else 0.0
        return cls(view, band / spread if spread > 0 else band, leg, inside, spread, fine, coarse)

    def filtered(self, image: Array) -> Array:
        """(N, ...) of simulated line integrals (rows, columns, ...): the pixels that count, treated as the radiograph was."""
        return np.asarray(_between(image, self.leg, self.fine, self.coarse)[self.inside] / self.spread)


def _between(image: Array, leg: Array, fine: float, coarse: float) -> Array:
    """What lies between two blurs (pixels) of an image (rows, columns, ...), each the mean over the leg alone."""
    rest = (1,) * (image.ndim - 2)
    weight = leg.reshape(leg.shape + rest)
    blurs = []
    for sigma in (fine, coarse):
        around = gaussian_filter(image * weight, (sigma, sigma) + (0.0,) * len(rest))
        blurs.append(around / np.maximum(gaussian_filter(leg, sigma), 1e-6).reshape(weight.shape))
    return np.asarray(blurs[0] - blurs[1])


@dataclass(frozen=True)
class IntensityState:
    """A knee and its densities: pose and shape, `gains` (views,) by which its line integrals are multiplied, and `densities` (q,),
    standard coefficients of the intensity model's modes."""

    knee: KneeState
    gains: Array
    densities: Array

    def moved(self, step: Array) -> IntensityState:
        """The state after a step (P,): the knee's parameters, then gains, then densities."""
        knee, views = 6 * len(PARTS) + 1 + len(self.knee.coefficients), len(self.gains)
        return IntensityState(
            self.knee.moved(step[:knee]),
            np.clip(self.gains + step[knee : knee + views], 0.2, 3.0),
            self.densities + step[knee + views :],
        )


class KneeRadiographs:
    """Simulates what radiographs show of the bones, in bands, with derivatives."""

    def __init__(self, model: KneeShapeModel, intensity: IntensityModel, knee: FittedKnee) -> None:
        self.model, self.knee = model, knee
        self._shells: dict[str, Shells] = {name: shells_of(model, name) for name in BONE_NAMES}
        self._steps = {name: intensity.steps(name, self._shells[name]) for name in BONE_NAMES}
        self.density_modes = len(intensity.modes)

    def line_integrals(
        self, state: IntensityState, view: View, bones: Sequence[str] = BONE_NAMES, apart: bool = False
    ) -> Array:
        """(rows, columns) of bones above soft tissue at gain 1; `apart`: (rows, columns, 1 + q) for the mean densities and each mode."""
        mixture = np.concatenate([[1.0], state.densities])[:, None]
        image = np.zeros((view.rows, view.columns, len(mixture) if apart else 1))
        for name, shells in self._placed(state, bones).items():
            for shell, steps in zip(shells, self._steps[name], strict=True):
                image += shell_image(shell, self._faces(name), steps if apart else steps @ mixture, view)
        return image if apart else image[..., 0]

    def _faces(self, name: str) -> NDArray[np.int64]:
        return self.model.templates[name].faces

    def _placed(self, state: IntensityState, bones: Sequence[str]) -> dict[str, list[Array]]:
        """bone -> the vertices (V, 3) of its shells, LPS mm."""
        size = float(np.exp(state.knee.log_size))
        placed = {}
        vertices_of = self.knee.vertices(state.knee)
        for name in bones:
            vertices = vertices_of[name]
            normals = vertex_normals(vertices, self._faces(name))
            placed[name] = [vertices - size * depth[:, None] * normals for depth in self._shells[name].depths]
        return placed

    def residuals(self, state: IntensityState, bands: Sequence[Band], bones: Sequence[str] = BONE_NAMES) -> Array:
        """(N,) simulated less observed over all bands' pixels, in deviations of the observed."""
        found = []
        for index, band in enumerate(bands):
            simulated = state.gains[index] * self.line_integrals(state, band.view, bones)
            found.append(band.filtered(simulated) - band.values[band.inside])
        return np.concatenate(found)

    def jacobian(
        self, state: IntensityState, bands: Sequence[Band], free: NDArray[np.bool_], bones: Sequence[str] = BONE_NAMES
    ) -> Array:
        """(N, P) derivative of the residuals; columns of parameters that are not free stay 0.

        Pose and shape through the motion of the surfaces (shells move as the surface above them does), gains and densities exactly.
        """
        mixture = np.concatenate([[1.0], state.densities])
        moving, views = np.flatnonzero(free[: self.knee.count]), len(bands)
        placed, motions = self._placed(state, bones), self._motions(state, moving, bones)
        blocks = []
        for index, band in enumerate(bands):
            block = np.zeros((int(band.inside.sum()), len(free)))
            change = np.zeros((band.view.rows, band.view.columns, len(moving)))
            for name, shells in placed.items():
                for shell, steps in zip(shells, self._steps[name], strict=True):
                    change += shell_derivatives(shell, self._faces(name), steps @ mixture, motions[name], band.view)
            block[:, moving] = band.filtered(state.gains[index] * change)
            parts = band.filtered(self.line_integrals(state, band.view, bones, True))
            block[:, self.knee.count + index] = parts @ mixture
            block[:, self.knee.count + views :] = state.gains[index] * parts[:, 1:]
            blocks.append(np.where(free, block, 0.0))
        return np.concatenate(blocks)

    def _motions(self, state: IntensityState, moving: NDArray[np.int64], bones: Sequence[str]) -> dict[str, Array]:
        """bone -> (V, 3, P) mm that its vertices move per unit of the moving parameters."""
        found = {}
        for name in bones:
            every = np.arange(len(self.model.templates[name].vertices))
            zero = np.zeros(len(every))
            axes = [
                self.knee.derivative(name, state.knee, every, every, zero, np.tile(axis, (len(every), 1)))[:, moving]
                for axis in np.eye(3)
            ]
            found[name] = np.stack(axes, axis=1)
        return found

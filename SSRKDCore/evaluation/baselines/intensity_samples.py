"""What a CT says of the attenuation below the surfaces of its bones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.cases import load_case
from SSRKDCore.drr.attenuation import attenuation_from_hounsfield, linear_attenuation
from SSRKDCore.drr.volume_reader import read_ct
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.evaluation.baselines.intensity_model import (
    DEPTHS_MM,
    SCHEMA,
    VALUE_COUNT,
    IntensityModel,
    Shells,
    shells_of,
)
from SSRKDCore.evaluation.case_evaluation import reference_surfaces
from SSRKDCore.grid import Grid
from SSRKDCore.population.shape_model import KneeShapeModel
from SSRKDCore.surface import Surface
from SSRKDCore.vertex_normals import vertex_normals

Array = NDArray[np.float64]

_SAMPLES_A_SHELL = 4
# The core is sampled down to this many times its outer depth, as far as a shell may go.
_CORE_SHARE = 1.6
# Metal is no bone.
_HIGHEST_HU = 2000.0


def fit_intensity_model(
    cases: Sequence[Path],
    model: KneeShapeModel,
    modes: int,
    progress: Callable[[float, str], None] = lambda fraction, words: None,
    cancelled: Callable[[], bool] | None = None,
) -> IntensityModel:
    """Mean and principal components over cases whose reference surfaces have the shape model's vertices.

    Such cases come from `ssrkd population` with this shape model. Cases without CT or reference are left out.

    Raises InputError when fewer than two cases can be used, or surfaces are not in correspondence; Cancelled.
    """
    shells = {name: shells_of(model, name) for name in BONE_NAMES}
    rows = []
    for index, folder in enumerate(cases):
        if cancelled is not None and cancelled():
            raise Cancelled("fitting was stopped")
        progress(index / len(cases), folder.name)
        case = load_case(folder)
        if case.ct is None or case.reference is None:
            continue
        bones = reference_surfaces(case)
        for name in BONE_NAMES:
            if name not in bones or len(bones[name].vertices) != len(model.templates[name].vertices):
                raise InputError(
                    f"The {name} of {folder} is not in correspondence with the shape model: "
                    "give cases that `ssrkd population` made with this shape model."
                )
        hounsfield, grid, _ = read_ct(case.ct)
        rows.append(sampled_values(bones, np.minimum(hounsfield, _HIGHEST_HU), grid, model, shells))
    if len(rows) < 2:
        raise InputError(f"{len(rows)} cases have a CT and a reference: give two or more labelled cases.")
    values = np.array(rows)
    mean = values.mean(axis=0)
    _, spread, axes = np.linalg.svd(values - mean, full_matrices=False)
    kept = min(modes, len(rows) - 1)
    components = axes[:kept] * (spread[:kept, None] / np.sqrt(len(rows) - 1))
    share = float((spread[:kept] ** 2).sum() / max((spread**2).sum(), 1e-30))
    card = {
        "schema": SCHEMA,
        "cases": len(rows),
        "modes": kept,
        "variance_share": round(share, 4),
        "depths_mm": list(DEPTHS_MM),
        "shape_model": model.sha256(),
    }
    progress(1.0, "fitted")
    return IntensityModel(mean, components, card)


def sampled_values(
    bones: Mapping[str, Surface],
    hounsfield: NDArray[np.floating],
    grid: Grid,
    model: KneeShapeModel,
    shells: Mapping[str, Shells],
) -> Array:
    """(VALUE_COUNT,) attenuation above muscle, 1/mm at 60 keV, of one knee, as `IntensityModel.mean` orders it.

    bones: in correspondence with the model, LPS mm. hounsfield: [z, y, x] on `grid`.
    """
    values = []
    for name in BONE_NAMES:
        bone, shell = bones[name], shells[name]
        mean = Surface(model.shapes(model.pca.mean)[name], model.templates[name].faces)
        size = float(np.sqrt(bone.area / mean.area))
        own = np.arange(len(bone.vertices)) < model.templates[name].own_count
        normals = vertex_normals(bone.vertices, bone.faces)
        outer = size * shell.depths
        inner = np.concatenate([outer[1:], _CORE_SHARE * outer[-1:]])
        for top, bottom in zip(outer, inner, strict=True):
            samples, seen = [], own.copy()
            for share in (np.arange(_SAMPLES_A_SHELL) + 0.5) / _SAMPLES_A_SHELL:
                points = bone.vertices - (top + share * (bottom - top))[:, None] * normals
                place = grid.indices(points)
                seen &= ((place >= 0) & (place <= np.array(grid.shape) - 1)).all(axis=1)
                samples.append(map_coordinates(hounsfield, place.T, order=1, mode="nearest"))
            attenuation = attenuation_from_hounsfield(np.array(samples)).mean(axis=0) - linear_attenuation("muscle")
            weights = shell.heights[seen]
            # A height of which the CT shows nothing keeps the mean of the rest: the ridge only matters there.
            ridge = 1e-6 * max(len(weights), 1) * np.eye(weights.shape[1])
            middle = float(attenuation[seen].mean()) if seen.any() else 0.0
            normal = weights.T @ weights + ridge
            values.append(middle + np.linalg.solve(normal, weights.T @ (attenuation[seen] - middle)))
    result = np.concatenate(values)
    if result.shape != (VALUE_COUNT,):
        raise ValueError("shells and values do not belong together")
    return result

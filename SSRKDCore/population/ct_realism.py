"""How like a real CT the synthetic ones are: the same measurements on both, as JSON, and a picture.

python -m SSRKDCore.population.ct_realism --data DIR --shape-model model.npz --out DIR [--pictures DIR]

The real CT is the Visible Human Female's shanks (`ct_vhf_shank` of the anatomy folder): two legs of one woman of 59 years, of the knee
only the joint line and the tibia. So histograms and profiles are compared between 130 mm below the joint line and 10 mm above it. One
person is no population: what is asked is whether she could be one of the synthetic ones. The tables of bone_density and the ranges of
tissue were set by looking at this very CT, so agreement shows that the model can be like it, not that it holds for other scanners.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from SSRKDCore.console import progress_bar, say
from SSRKDCore.drr.volume_reader import read_ct
from SSRKDCore.errors import InputError
from SSRKDCore.grid import Grid
from SSRKDCore.json_files import write_json
from SSRKDCore.population.random_knee import random_knee
from SSRKDCore.population.shape_model import KneeShapeModel
from SSRKDCore.population.synthetic_ct import SyntheticCt, synthetic_ct
from SSRKDCore.population.tissue import TissueParameters, random_tissue
from SSRKDCore.training.code_version import made_by

Array = NDArray[np.float64]

# Height of the joint line in the real CT (mm), 2 mm below the first femoral slice that its README states; x between the legs.
_REAL_JOINT_Z = {"right": 486.0, "left": 489.0}
_REAL_BETWEEN_LEGS_X = 254.0
BELOW_MM, ABOVE_MM = 130.0, 10.0
# Heights over the joint line in mm of the profiles: plateau, below it, metaphysis, and two of the shaft.
BANDS = {
    "plateau": (-16, -5),
    "head": (-28, -17),
    "metaphysis": (-48, -32),
    "upper shaft": (-85, -60),
    "shaft": (-128, -100),
}
HISTOGRAM_EDGES = np.arange(-200.0, 1801.0, 20.0)
_DEPTHS = np.arange(-3.0, 13.0)
_BODY_HU, _BONE_HU = -300.0, 180.0


def body_and_bone(hounsfield: NDArray[np.floating]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Masks [z, y, x] of the largest body in a CT and of the bones in it, each filled slice by slice; by thresholds alone."""
    solid = ndimage.binary_opening(hounsfield > _BODY_HU)
    parts, _ = ndimage.label(solid)
    body = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    body = np.stack([ndimage.binary_fill_holes(slice_) for slice_ in body])
    bone = hounsfield > _BONE_HU
    bone = np.stack([ndimage.binary_fill_holes(ndimage.binary_closing(slice_, iterations=2)) for slice_ in bone])
    return body, bone & body


def measure(hounsfield: NDArray[np.floating] | NDArray[np.integer], z: Array, joint_z: float) -> dict[str, Any]:
    """What is compared, of a CT of one leg [z, y, x] with voxels of 1 mm at heights z (mm)."""
    height = z - joint_z
    kept = (height > -BELOW_MM) & (height < ABOVE_MM)
    volume, height = np.asarray(hounsfield[kept], dtype=np.float32), height[kept]
    body, bone = body_and_bone(volume)
    values = volume[body]
    muscle = values[(values > 20) & (values < 110)]
    fat = values[(values > -150) & (values < -60)]
    mean = ndimage.uniform_filter(volume, (1, 3, 3))
    local = np.sqrt(np.maximum(ndimage.uniform_filter(volume**2, (1, 3, 3)) - mean**2, 0.0))
    depth = np.stack([ndimage.distance_transform_edt(slice_) for slice_ in body])
    away = np.stack([ndimage.distance_transform_edt(~slice_) for slice_ in bone])
    in_muscle = (depth > 10) & (away > 6) & (mean > 40) & (mean < 90)
    histogram = np.histogram(values, HISTOGRAM_EDGES)[0] / max(len(values), 1)
    result: dict[str, Any] = {
        "histogram": histogram.round(6).tolist(),
        "area_mm2": float(body.sum(axis=(1, 2)).mean()),
        "fat_share": float(((values > -190) & (values < -30)).mean()),
        "muscle_share": float(((values >= -29) & (values < 150)).mean()),
        "dense_share": float((values > 200).mean()),
        "muscle_median_hu": float(np.median(muscle)),
        "fat_median_hu": float(np.median(fat)),
        "muscle_local_deviation_hu": float(np.median(local[in_muscle])) if in_muscle.any() else None,
        "skin_profile_hu": [float(np.median(volume[body & (depth > d) & (depth <= d + 1)])) for d in range(6)],
        "tibia_profile_hu": {},
        "trabecular_local_deviation_hu": {},
    }
    for name, (low, high) in BANDS.items():
        rows = (height >= low) & (height <= high)
        parts, count = ndimage.label(bone[rows])
        if count == 0:
            continue
        tibia = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
        # Depths in the slice alone, at half pixels: negative outside the bone.
        signed = np.stack(
            [
                ndimage.distance_transform_edt(s) - ndimage.distance_transform_edt(~s) - np.where(s, 0.5, -0.5)
                for s in tibia
            ]
        )
        part = volume[rows]
        masks = [(signed > d - 0.5) & (signed <= d + 0.5) for d in _DEPTHS]
        result["tibia_profile_hu"][name] = [float(part[m].mean()) if m.sum() > 50 else None for m in masks]
        core = tibia & (signed > 5.0)
        if core.sum() > 200:
            result["trabecular_local_deviation_hu"][name] = float(np.median(local[rows][core]))
    return result


def real_legs(data: Path) -> dict[str, tuple[NDArray[np.float32], Grid]]:
    """The real CT's legs by side, each with air where the other leg is, and its grid."""
    hounsfield, grid, _ = read_ct(data / "ct_vhf_shank" / "vhf_shank_ct.nrrd")
    x = grid.axes[0]
    legs = {}
    for side, kept in (("right", x < _REAL_BETWEEN_LEGS_X), ("left", x >= _REAL_BETWEEN_LEGS_X)):
        z = grid.axes[2]
        rows = np.flatnonzero((z > _REAL_JOINT_Z[side] - BELOW_MM - 2) & (z < _REAL_JOINT_Z[side] + ABOVE_MM + 2))
        columns = np.flatnonzero(kept)
        part = hounsfield[rows[0] : rows[-1] + 1, :, columns[0] : columns[-1] + 1]
        body, _ = body_and_bone(part)
        part = np.where(ndimage.binary_dilation(body, iterations=2), part, -1000.0).astype(np.float32)
        origin = (float(x[columns[0]]), grid.origin[1], float(z[rows[0]]))
        legs[side] = (part, Grid(origin, grid.spacing, part.shape))
    return legs


def random_ct(
    model: KneeShapeModel, seed: int, whole: bool = False, tissue: TissueParameters | None = None
) -> SyntheticCt:
    """A random knee's CT without metal, voxels of 1 mm; of the heights that are compared unless `whole`."""
    generator = np.random.default_rng(seed)
    knee = random_knee(model, generator)
    tissue = tissue or random_tissue(generator, metal_share=0.0)
    joint = float(knee.bones["tibia"].bounds[1, 2])
    reach = None if whole else (joint - BELOW_MM - 4.0, joint + ABOVE_MM + 4.0)
    return synthetic_ct(knee.bones, knee.side, tissue, generator, 1.0, reach)


def _nested(measured: Sequence[Any], real: Any) -> Any:
    """The 5th, 50th and 95th percentile of each number of alike measurements, nested as `real` is."""
    if isinstance(real, dict):
        return {key: _nested([one.get(key) for one in measured if one], value) for key, value in real.items()}
    if isinstance(real, list):
        return [_nested([one[i] for one in measured if one], value) for i, value in enumerate(real)]
    known = [one for one in measured if one is not None]
    return [round(float(value), 6) for value in np.percentile(known, [5, 50, 95])] if known else None


def _share_inside(real: Any, spread: Any) -> list[bool]:
    """For each number of `real`, whether it lies between the 5th and the 95th percentile."""
    if isinstance(real, dict):
        return [inside for key in real for inside in _share_inside(real[key], spread[key])]
    if isinstance(real, list):
        return [inside for a, b in zip(real, spread, strict=True) for inside in _share_inside(a, b)]
    if real is None or spread is None:
        return []
    return [bool(spread[0] <= real <= spread[2])]


def compare(data: Path, model: KneeShapeModel, count: int, seed: int) -> dict[str, Any]:
    """Measurements of the real legs, percentiles of `count` synthetic ones, and the share of the real ones within 5 to 95 %."""
    real = {side: measure(part, grid.axes[2], _REAL_JOINT_Z[side]) for side, (part, grid) in real_legs(data).items()}
    measured = []
    with progress_bar("Synthetic CTs") as show:
        for index in range(count):
            ct = random_ct(model, seed + index)
            measured.append(measure(ct.hounsfield, ct.grid.axes[2], ct.provenance["joint_mm"][2]))
            show((index + 1) / count, "")
    spread = _nested(measured, real["right"])
    keys = [key for key in real["right"] if key != "histogram"]
    inside = {
        key: float(np.mean([ok for leg in real.values() for ok in _share_inside(leg[key], spread[key])]))
        for key in keys
    }
    return {
        **made_by("make realism"),
        "real": "Visible Human Female, both shanks",
        "note": "The tissue model was calibrated on this CT; it is no independent test.",
        "synthetic_count": count,
        "seed": seed,
        "heights_mm": {"below": BELOW_MM, "above": ABOVE_MM, **{name: list(band) for name, band in BANDS.items()}},
        "histogram_edges_hu": [float(HISTOGRAM_EDGES[0]), float(HISTOGRAM_EDGES[-1]), 20.0],
        "profile_depths_mm": _DEPTHS.tolist(),
        "real_legs": real,
        "synthetic_percentiles_5_50_95": spread,
        "share_of_real_within_5_to_95": inside,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Write ct_realism.json to --out and ct_realism.png to --pictures."""
    parser = argparse.ArgumentParser(description="Compare synthetic CTs with the real one of the anatomy folder.")
    parser.add_argument("--data", type=Path, required=True, help="the anatomy folder")
    parser.add_argument("--shape-model", type=Path, required=True, help="a shape model of ssrkd shape-model")
    parser.add_argument("--out", type=Path, required=True, help="an existing folder for ct_realism.json")
    parser.add_argument("--pictures", type=Path, help="an existing folder for ct_realism.png (default: that of --out)")
    parser.add_argument("--cases", type=int, default=40, help="how many synthetic CTs (default 40)")
    parser.add_argument("--seed", type=int, default=7, help="seed of the first one (default 7)")
    options = parser.parse_args(arguments)
    pictures = options.pictures or options.out
    for folder in (options.out, pictures):
        if not folder.is_dir():
            raise InputError(f"{folder} is no folder: make it first.")
    if options.cases < 2:
        raise InputError("At least two synthetic CTs are needed for a spread: give --cases 2 or more.")
    model = KneeShapeModel.load(options.shape_model)
    report = compare(options.data, model, options.cases, options.seed)
    write_json(options.out / "ct_realism.json", report)
    from SSRKDCore.population.ct_realism_picture import write_picture

    write_picture(pictures / "ct_realism.png", report, real_legs(options.data)["right"], model, options.seed)
    say(f"Wrote {options.out / 'ct_realism.json'} and {pictures / 'ct_realism.png'}")


if __name__ == "__main__":
    main()

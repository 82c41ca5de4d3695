"""What comes out of real input: `python -m SSRKDCore.evaluation.real_input`.

A real CT whose radiographs are simulated, and a real calibrated pair of radiographs. Neither has a segmentation, so that little can be
measured, and that little is said.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore import cli
from SSRKDCore.drr.volume_reader import read_ct
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.exact_distances import DistanceToSurface
from SSRKDCore.evaluation.label_surfaces import label_surface
from SSRKDCore.geometry.calibration.magnification import COVERAGE_FACTOR
from SSRKDCore.geometry.calibration.pair_trials import away, believed
from SSRKDCore.geometry.calibration.pose_rounds import pose_by_reconstruction
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.grid import Grid
from SSRKDCore.json_files import read_json, write_json
from SSRKDCore.networks.model_folder import load_model
from SSRKDCore.radiographs.radiograph import VIEW_NAMES, Radiograph
from SSRKDCore.radiographs.reader import read_radiograph
from SSRKDCore.reconstruction.pipeline import reconstruct
from SSRKDCore.refinement.view_motion import turned_second_view
from SSRKDCore.surface_files import read_bone_surfaces
from SSRKDCore.training.code_version import made_by
from SSRKDCore.trust.stand_ins import with_magnification
from SSRKDCore.trust.view_scales import scale_disagreement

BONE_HOUNSFIELD = 200.0
CT_CENTER = (182.0, 268.0, 440.0)
CT_CROP_MM = 130.0
# Calibration world to LPS of the biplane pair: seen in the images, the shank runs along world -z and the patella lies towards world +x.
PAIR_WORLD_TO_LPS = "0 1 0 0\n-1 0 0 0\n0 0 1 0\n0 0 0 1\n"
PAIR_CENTER = (95.0, -130.0, 50.0)
PAIR_CUBE_MM = 170.0
PAIR_FRAMES = ("0138", "0180")
#: By how much the second view's magnification is misstated to see whether trust tells.
STATED_PERCENT = (0.0, -5.0, -3.0, 3.0, 5.0)
#: Likewise by how many degrees the angle between the views, and the second image's turn in its plane.
STATED_TURNS = ((0.0, 0.0), (-10.0, 0.0), (10.0, 0.0), (0.0, -5.0), (0.0, 5.0))
_TURNS_RESOLUTION = 128
#: Wrong poses of the second view that each frame is told, drawn from the belief that `ssrkd calibrate pair` assumes.
_POSES = 4


def filled_bone(hounsfield: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(nz, ny, nx) bool: bright enough for bone, small gaps closed, and everything that it surrounds in each slice filled."""
    from scipy.ndimage import binary_closing, binary_fill_holes

    bright = binary_closing(hounsfield > BONE_HOUNSFIELD, iterations=2)
    return np.stack([binary_fill_holes(plane) for plane in bright])


def _call(*words: str) -> None:
    code = cli.main(list(words))
    if code:
        raise InputError(f"`ssrkd {words[0]}` failed: see the message above.")


def _summary(folder: Path) -> dict[str, Any]:
    report = read_json(folder / "report.json", "a reconstruction report")
    summary: dict[str, Any] = {key: report[key] for key in ("bones", "side", "warnings") if key in report}
    return {**summary, "light": report["trust"]["light"], "flags": report["trust"]["flags"]}


def reconstruct_ct(ct: Path, out: Path) -> dict[str, Any]:
    """The right knee of the two-shank CT: simulate, reconstruct, and measure to the CT's bone boundary.

    The distance runs from every vertex of a reconstructed bone that lies at least 3 mm inside the CT and the field of view to the
    nearest outer boundary of bone (200 HU, filled), whichever bone it is: a bone in the wrong place can still be near another.
    """
    center = [f"{value:g}" for value in CT_CENTER]
    _call("radiograph", str(ct), "--rig", "room", "--side", "right", "--center", *center, "--crop", f"{CT_CROP_MM:g}",
          "--out", str(out / "ct-case"), "--overwrite")  # fmt: skip
    _call("reconstruct", "--ap", str(out / "ct-case" / "ap.dcm"), "--lateral", str(out / "ct-case" / "lateral.dcm"),
          "--rig", str(out / "ct-case" / "rig.json"), "--out", str(out / "ct-bones"), "--overwrite")  # fmt: skip
    hounsfield, grid, _ = read_ct(ct)
    half = CT_CROP_MM / 2
    low = np.floor(grid.indices(np.array([[c - half - 5 for c in CT_CENTER]]))[0]).astype(int).clip(0)
    high = np.ceil(grid.indices(np.array([[c + half + 5 for c in CT_CENTER]]))[0]).astype(int).clip(1, grid.shape)
    part = filled_bone(hounsfield[low[0] : high[0], low[1] : high[1], low[2] : high[2]])
    corner = grid.points(*(np.array([value]) for value in low))[0]
    part_grid = Grid(tuple(corner), grid.spacing, part.shape)
    boundary = DistanceToSurface(label_surface(part.astype(np.uint8), part_grid, 1, smooth=True))
    bounds = part_grid.bounds + np.array([[3.0], [-3.0]])
    result: dict[str, Any] = {"input": ct.name, **_summary(out / "ct-bones"), "distance_to_ct_bone_boundary_mm": {}}
    for name, surface in read_bone_surfaces(out / "ct-bones").items():
        inside = ((surface.vertices > bounds[0]) & (surface.vertices < bounds[1])).all(axis=1)
        if not inside.any():
            result["distance_to_ct_bone_boundary_mm"][name] = None
            continue
        distances = np.abs(boundary.unsigned(surface.vertices[inside]))
        result["distance_to_ct_bone_boundary_mm"][name] = {
            "mean": round(float(distances.mean()), 2),
            "p95": round(float(np.percentile(distances, 95)), 2),
            "share_of_vertices": round(float(inside.mean()), 3),
        }
    return result


def _pair_files(folder: Path, frame: str) -> list[Path]:
    return [folder / f"L_Hop_Cam{number}_001_UND.{frame}.tif" for number in (1, 2)]


def reconstruct_pair(folder: Path, out: Path, frame: str = "0180") -> dict[str, Any]:
    """The calibrated biplane pair: XMALab files to a rig, then a reconstruction. There is no truth to measure against."""
    (out / "world_to_lps.txt").write_text(PAIR_WORLD_TO_LPS)
    cameras = [str(folder / f"xr_calib_left_knee_cam0{number}.txt") for number in (1, 2)]
    images = [str(file) for file in _pair_files(folder, frame)]
    center = [f"{value:g}" for value in PAIR_CENTER]
    _call("rig", "xmalab", *cameras, "--transform", str(out / "world_to_lps.txt"), "--center", *center,
          "--size", f"{PAIR_CUBE_MM:g}", "--out", str(out / "pair-rig.json"), "--overwrite")  # fmt: skip
    _call("reconstruct", "--ap", images[0], "--lateral", images[1], "--rig", str(out / "pair-rig.json"), "--intensity", "raw",
          "--side", "left", "--out", str(out / "pair-bones"), "--overwrite")  # fmt: skip
    rig = Rig.load(out / "pair-rig.json")
    return {
        "input": f"{folder.name}, frame {frame}",
        **_summary(out / "pair-bones"),
        "scale_of_views_by_frame": {seen: scale_checks(folder, rig, seen) for seen in PAIR_FRAMES},
        "turns_of_second_view_by_frame": {seen: turn_checks(folder, rig, seen) for seen in PAIR_FRAMES},
        "poses_of_second_view_by_frame": {seen: pose_checks(folder, rig, seen) for seen in PAIR_FRAMES},
    }


def scale_checks(folder: Path, rig: Rig, frame: str) -> list[dict[str, Any]]:
    """What trust says of the scale of a frame's two views with the calibrated rig, and with the second view's magnification misstated."""
    images = [read_radiograph(file, None, "raw", prepare=True).pixels for file in _pair_files(folder, frame)]
    found = []
    for percent in STATED_PERCENT:
        stated = with_magnification(rig, (rig.views[1].name,), percent) if percent else rig
        said = scale_disagreement(images, stated.views, stated.field_of_view)
        found.append({"misstated_by_percent": percent, "said": None if said is None else vars(said)})
    return found


def turn_checks(folder: Path, rig: Rig, frame: str) -> list[dict[str, Any]]:
    """What edges and shape model say of a frame's second view with the calibrated rig, and with its angle or roll misstated."""
    images, model = _radiographs(folder, frame), load_model(None)
    found = []
    for angle, roll in STATED_TURNS:
        stated = turned_second_view(rig, angle, roll)
        motion = reconstruct(images, stated, model, _TURNS_RESOLUTION, side="left", check_view_order=False).motion
        found.append({"misstated_by_degrees": [angle, roll], "said": None if motion is None else vars(motion)})
    return found


def pose_checks(folder: Path, rig: Rig, frame: str) -> list[dict[str, Any]]:
    """How far from where the calibration has it a frame's second view is told to stand, and is estimated to stand: of POSE_NAMES, the
    error before, after, and what is stated for 95 %; or the sentence that refuses the estimate."""
    images, model = _radiographs(folder, frame), load_model(None)
    found: list[dict[str, Any]] = []
    for seed in range(_POSES):
        told = believed(rig, seed)
        record: dict[str, Any] = {"before": away(told, rig).round(2).tolist()}
        try:
            pose = pose_by_reconstruction(images, told, model, starts=1, seed=seed, side="left")
        except InputError as error:
            found.append({**record, "refused": str(error)})
            continue
        stated = COVERAGE_FACTOR * pose.standard_uncertainty
        after = away(pose.rig, rig, told)
        found.append(
            {**record, "after": after.round(2).tolist(), "stated_95": stated.round(2).tolist(), "bones": pose.bones}
        )
    return found


def _radiographs(folder: Path, frame: str) -> list[Radiograph]:
    files = zip(_pair_files(folder, frame), VIEW_NAMES, strict=True)
    return [read_radiograph(file, name, "raw", prepare=True) for file, name in files]


def main() -> None:
    """Run both and write real_input.json."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of real anatomy (manifest.json)")
    parser.add_argument("--work", type=Path, required=True, help="folder for pictures and models")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    result = {
        "schema": "ssrkd-real-input/1",
        **made_by("make real-input"),
        "ct": reconstruct_ct(arguments.data / "ct_vhf_shank" / "vhf_shank_ct.nrrd", arguments.work),
        "pair": reconstruct_pair(arguments.data / "xray_autoscoper", arguments.work),
    }
    write_json(arguments.out, result)


if __name__ == "__main__":
    main()

"""The real calibrated pair before and after each remedy: `python -m SSRKDCore.evaluation.real_pair`.

There is no truth of this knee, so the measure is the distance between the projected outlines and the bone edges of the radiographs
(`outline_distance`), and pictures. The edges are looked for in the same image whatever the network was given.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.outline_distance import outline_distances
from SSRKDCore.evaluation.real_input import PAIR_CENTER, PAIR_CUBE_MM, PAIR_WORLD_TO_LPS
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.geometry.xmalab import rig_from_xmalab
from SSRKDCore.json_files import write_json
from SSRKDCore.networks.model_folder import Model, load_model
from SSRKDCore.radiographs.radiograph import Radiograph
from SSRKDCore.radiographs.reader import read_radiograph
from SSRKDCore.radiographs.style_matching import StyleReference
from SSRKDCore.training.code_version import command_of, made_by
from SSRKDCore.training.program import exit_code_of

SCHEMA = "ssrkd-real-pair/1"
FRAMES = ("0138", "0180")


def read_pair(folder: Path, frame: str, prepare: bool) -> list[Radiograph]:
    """Both images of a frame, as the views of `pair_rig`."""
    files = [folder / f"L_Hop_Cam{number}_001_UND.{frame}.tif" for number in (1, 2)]
    return [
        read_radiograph(path, name, "raw", prepare=prepare) for path, name in zip(files, ("ap", "lateral"), strict=True)
    ]


def measured(
    radiographs: list[Radiograph],
    shown: list[Radiograph],
    rig: Rig,
    model: Model,
    look: StyleReference | None,
    out: Path,
    resolution: int,
) -> dict[str, Any]:
    """Reconstruct, measure outlines against the edges in `shown`, and write a picture; plain values, with the reason of a failure."""
    from SSRKDCore.pictures.preview import write_preview
    from SSRKDCore.reconstruction.pipeline import reconstruct

    try:
        result = reconstruct(radiographs, rig, model, resolution, side="left", look=look)
    except InputError as error:
        return {"failure": str(error)}
    images = {view.name: image.pixels for view, image in zip(rig.views, shown, strict=True)}
    found = outline_distances(result.surfaces, images, rig, rig.field_of_view)
    write_preview(out, result.surfaces, [image.pixels for image in shown], rig.views, rig.field_of_view, "left")
    return {
        "outline_distance": {
            view: {bone: figures.to_dict() for bone, figures in bones.items()} for view, bones in found.items()
        },
        "volume_cm3": {
            name: round(surface.volume / 1000, 1) for name, surface in result.surfaces.items() if not surface.is_empty
        },
        "warnings": list(result.warnings),
    }


def measure(data: Path, out: Path, model_path: str | None, look_path: Path | None, resolution: int) -> None:
    """All frames with all remedies; writes real_pair.json and a picture each into a folder."""
    model = load_model(model_path)
    look = None if look_path is None else StyleReference.load(look_path)
    rig = pair_rig(data)
    out.mkdir(parents=True, exist_ok=True)
    remedies: dict[str, tuple[bool, StyleReference | None]] = {"no remedy": (False, None), "prepared": (True, None)}
    if look is not None:
        remedies |= {"matched": (False, look), "prepared and matched": (True, look)}
    result: dict[str, Any] = {
        "schema": SCHEMA, "unit": "mm", **made_by(command_of("SSRKDCore.evaluation.real_pair")), "model": model.name,
        "weights_sha256": model.card["weights"]["sha256"],
        "resolution": resolution, "style": None if look is None else look.source, "frames": {},
    }  # fmt: skip
    for frame in FRAMES:
        shown = read_pair(data, frame, prepare=False)
        result["frames"][frame] = {
            name: measured(
                read_pair(data, frame, prepare),
                shown,
                rig,
                model,
                style,
                out / f"{frame}-{name.replace(' ', '-')}.png",
                resolution,
            )
            for name, (prepare, style) in remedies.items()
        }
    write_json(out / "real_pair.json", result)


def pair_rig(folder: Path) -> Rig:
    """The pair's rig from its XMALab files, about the knee; the field of view was placed by eye."""
    numbers = [float(word) for word in PAIR_WORLD_TO_LPS.split()]
    cameras = [folder / f"xr_calib_left_knee_cam0{number}.txt" for number in (1, 2)]
    cube = FieldOfView(PAIR_CENTER, PAIR_CUBE_MM)
    return rig_from_xmalab(cameras, cube, np.array(numbers).reshape(4, 4), names=["ap", "lateral"])


def main() -> int:
    """Measure the pair before and after the remedies."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the pair (xray_autoscoper)")
    parser.add_argument("--out", type=Path, required=True, help="folder for real_pair.json and the pictures")
    parser.add_argument("--model", help="model folder, or the name of a bundled model (the shipped model)")
    parser.add_argument("--match-style", type=Path, help="what `ssrkd style-reference` wrote; adds two rows")
    parser.add_argument("--resolution", type=int, default=128)
    arguments = parser.parse_args()
    return exit_code_of(
        "real pair",
        lambda: measure(arguments.data, arguments.out, arguments.model, arguments.match_style, arguments.resolution),
    )


if __name__ == "__main__":
    sys.exit(main())

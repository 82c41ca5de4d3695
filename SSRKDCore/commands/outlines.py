"""`ssrkd outlines`: the edges of bones projected back over the radiographs, to judge at once whether a result fits."""

from __future__ import annotations

import argparse
from typing import Any

from SSRKDCore.console import progress_bar, say

HELP = "project the edges of bone surfaces onto the detectors of a rig"
SCHEMA = "ssrkd-outlines/1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bones", metavar="BONES", help="folder of femur, tibia, fibula and patella surfaces (LPS mm)")
    parser.add_argument("--rig", required=True, metavar="RIG.json", help="the rig of the radiographs")
    parser.add_argument("--out", required=True, metavar="OUTLINES.json", help="file to write")


def run(args: argparse.Namespace) -> dict[str, Any]:
    from pathlib import Path

    from SSRKDCore.errors import InputError
    from SSRKDCore.geometry.rig import Rig
    from SSRKDCore.json_files import write_json
    from SSRKDCore.pictures.contour_generator import edges_on_detector
    from SSRKDCore.surface_files import read_bone_surfaces

    out = Path(args.out)
    if not out.parent.is_dir():
        raise InputError(f"{out.parent} is not a folder: choose another place for the outlines.")
    if out.is_dir():
        raise InputError(f"{out} is a folder: name the file for the outlines.")
    rig, surfaces = Rig.load(args.rig), read_bone_surfaces(args.bones)
    views: dict[str, dict[str, Any]] = {}
    with progress_bar("Outlines") as progress:
        for index, view in enumerate(rig.views):
            progress(index / len(rig.views), f"projecting onto the {view.name} radiograph")
            views[view.name] = {name: edges_on_detector(surface, view) for name, surface in surfaces.items()}
    write_json(out, {"schema": SCHEMA, "frame": "LPS", "unit": "mm", "views": views})
    counts = {view: {bone: len(lines) for bone, lines in bones.items()} for view, bones in views.items()}
    for name, bones in counts.items():
        say(f"{name}: " + ", ".join(f"{bone} {count} lines" for bone, count in bones.items()))
    return {"outlines": str(out), "lines": counts}

"""`ssrkd export`: bone surfaces for CAD and planning programs, each mesh checked before it is written."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SSRKDCore.anatomy import SIDES
from SSRKDCore.console import progress_bar, say
from SSRKDCore.errors import InputError

if TYPE_CHECKING:
    from SSRKDCore.reconstruction.decimation import Decimation
    from SSRKDCore.surface import Surface

HELP = "write bone surfaces as STL, PLY or OBJ, with fewer triangles if wanted, and say whether each mesh is sound"
SCHEMA = "ssrkd-export/1"
_FEWEST_TRIANGLES = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bones", metavar="BONES", help="folder of femur, tibia, fibula and patella surfaces (LPS mm)")
    parser.add_argument("--out", required=True, metavar="DIR", help="new folder for the files and export_report.json")
    parser.add_argument(
        "--format", action="append", choices=("stl", "ply", "obj"), help="may be given more than once (stl)"
    )
    parser.add_argument("--frame", choices=("LPS", "RAS"), default="LPS", help="axes of the files (LPS)")
    parser.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="another surface (LPS mm), such as a guide; may be given more than once",
    )
    parser.add_argument(
        "--triangles", type=int, metavar="N", help="at most N triangles a bone; other surfaces stay as they are"
    )
    parser.add_argument("--patient", default="", metavar="ID", help="first part of each file name")
    parser.add_argument("--side", choices=SIDES, help="part of each file name")
    parser.add_argument("--date", default="", metavar="YYYY-MM-DD", help="part of each file name")
    parser.add_argument(
        "--note",
        action="append",
        default=[],
        metavar="TEXT",
        help="a sentence about these surfaces, for the report; may be given more than once",
    )
    parser.add_argument("--check-only", action="store_true", help="check and report; write no surface")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing folder")


def run(args: argparse.Namespace) -> dict[str, Any]:
    from SSRKDCore.json_files import write_json
    from SSRKDCore.output_folder import check_output_folder, complete_folder
    from SSRKDCore.surface_files import read_bone_surfaces

    check_output_folder(args.out, args.overwrite)
    if args.triangles is not None and args.triangles < _FEWEST_TRIANGLES:
        raise InputError(f"--triangles is {args.triangles}: give at least {_FEWEST_TRIANGLES} a bone.")
    surfaces = read_bone_surfaces(args.bones)
    others = _others(args.also, set(surfaces))
    formats = list(dict.fromkeys(args.format or ["stl"]))
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "frame": args.frame,
        "unit": "mm",
        "patient": args.patient,
        "side": args.side,
        "date": args.date,
        "notes": args.note,
        "bones": {},
    }
    with complete_folder(args.out, args.overwrite) as folder, progress_bar("Exporting") as progress:
        wanted = surfaces | others
        for index, (name, surface) in enumerate(wanted.items()):
            progress(index / len(wanted), f"checking the {name.replace('_', ' ')}")
            decimation = _decimated(surface, args.triangles if name in surfaces else None)
            files = [] if args.check_only else [f"{file_stem(name, args)}.{suffix}" for suffix in formats]
            _write(folder, files, decimation.surface, args.frame)
            report["bones"][name] = _bone(surface, decimation, files)
        write_json(folder / "export_report.json", report)
    _tell(report, args.out)
    return {"folder": str(args.out), **report}


def _others(words: list[str], taken: set[str]) -> dict[str, Surface]:
    """Surfaces beside the bones, by name, from NAME=FILE. Raises InputError for a name twice or one that no file name may hold."""
    from SSRKDCore.surface_files import read_surface

    found: dict[str, Surface] = {}
    for item in words:
        name, separator, file = item.partition("=")
        if not separator or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise InputError(f"--also {item} is not NAME=FILE with a name of small letters: correct it.")
        if name in taken or name in found:
            raise InputError(f"--also names {name} twice, or like a bone of the folder: choose another name.")
        found[name] = read_surface(file)
    return found


def file_stem(bone: str, args: argparse.Namespace) -> str:
    """Patient, side, bone, date and frame, with what no file name may hold replaced: P001_left_femur_2026-01-31_LPS."""
    parts = [args.patient, args.side or "", bone, args.date, args.frame]
    words = (re.sub(r"[^\w.+-]+", "-", part.strip(), flags=re.UNICODE).strip("-.") for part in parts)
    return "_".join(word for word in words if word)


def _decimated(surface: Surface, triangles: int | None) -> Decimation:
    from SSRKDCore.reconstruction.decimation import Decimation, decimated

    return Decimation(surface, 0.0, True) if triangles is None else decimated(surface, triangles)


def _write(folder: Path, files: list[str], surface: Surface, frame: str) -> None:
    import numpy as np

    from SSRKDCore.surface_files import write_surface

    # Half a turn about z: x and y change their signs, nothing is mirrored.
    moved = surface if frame == "LPS" else surface.transformed(np.diag([-1.0, -1.0, 1.0, 1.0]))
    for file in files:
        write_surface(folder / file, moved, frame)


def _bone(original: Surface, decimation: Decimation, files: list[str]) -> dict[str, Any]:
    from SSRKDCore.reconstruction.mesh_check import check_mesh

    surface = decimation.surface
    return {
        "files": files,
        "original_triangles": len(original.faces),
        "deviation_mm": decimation.deviation_mm,
        "budget_reached": decimation.reached,
        "volume_mm3": surface.volume,
        "bounds_mm": surface.bounds,
        "check": check_mesh(surface).to_dict(),
    }


def _tell(report: dict[str, Any], out: str) -> None:
    for note in report["notes"]:
        say(f"Note: {note}")
    for name, bone in report["bones"].items():
        problems = bone["check"]["problems"]
        state = "closed, manifold, no self-intersection" if not problems else "; ".join(problems)
        say(f"{name}: {bone['check']['triangles']} triangles, moved by at most {bone['deviation_mm']:.3f} mm; {state}")
    say(f"Written to {out}.")

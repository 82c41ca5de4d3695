"""`ssrkd inspect`: what is understood of two radiographs, before a reconstruction, in words and as files that can be shown."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SSRKDCore.commands.reconstruct import add_radiograph_arguments, read_radiographs, rig_of
from SSRKDCore.console import say

if TYPE_CHECKING:
    from SSRKDCore.geometry.rig import Rig
    from SSRKDCore.radiographs.radiograph import Radiograph

HELP = "read radiographs as a reconstruction would, and say what is understood of them"
SCHEMA = "ssrkd-radiographs/1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_radiograph_arguments(parser)
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="new folder for a line-integral image of each view and rig.json"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing folder")


def run(args: argparse.Namespace) -> dict[str, Any]:
    from SSRKDCore.json_files import write_json
    from SSRKDCore.output_folder import check_output_folder, complete_folder

    check_output_folder(args.out, args.overwrite)
    radiographs, warnings = read_radiographs(args, fewest=1)
    rig, words = rig_of(args, radiographs) if len(radiographs) > 1 else (None, [])
    own = [sentence for radiograph in radiographs for sentence in radiograph.warnings]
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "frame": "LPS",
        "unit": "mm",
        "side": args.side or next((radiograph.side for radiograph in radiographs if radiograph.side), None),
        "patient_id": next((radiograph.patient_id for radiograph in radiographs if radiograph.patient_id), None),
        "views": [_view(rig, index, radiograph) for index, radiograph in enumerate(radiographs)],
        "separation_degrees": None if rig is None else rig.separation_degrees(0, 1),
        "rig": None if rig is None else rig.to_dict(),
        "warnings": list(dict.fromkeys([*own, *warnings, *words])),
    }
    with complete_folder(args.out, args.overwrite) as folder:
        for radiograph in radiographs:
            _write_image(folder / f"{radiograph.view}.nrrd", radiograph)
        if rig is not None:
            rig.save(folder / "rig.json")
        write_json(folder / "report.json", report)
    _tell(report)
    return {"folder": str(args.out), **report}


def _view(rig: Rig | None, index: int, radiograph: Radiograph) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "name": radiograph.view,
        "source_path": radiograph.source_path,
        "side": radiograph.side,
        "rows": radiograph.rows,
        "columns": radiograph.columns,
        "pixel_spacing_mm": radiograph.detector_pixel_spacing,
        "steps": list(radiograph.steps),
        "image": f"{radiograph.view}.nrrd",
    }
    if rig is not None:
        view = rig.views[index]
        facts["pixel_spacing_mm"] = view.pixel_spacing
        facts["source_to_detector_mm"] = view.source_to_detector
        facts["magnification"] = view.magnification(rig.field_of_view.center)
    return facts


def _write_image(path: Path, radiograph: Radiograph) -> None:
    """Line integrals as a volume of one slice, rows downwards, with the detector's spacing where the file states one."""
    import SimpleITK as sitk

    from SSRKDCore.image_files import write_image

    image = sitk.GetImageFromArray(radiograph.pixels[None])
    between_rows, between_columns = radiograph.detector_pixel_spacing or (1.0, 1.0)
    image.SetSpacing((between_columns, between_rows, 1.0))
    write_image(path, image, compressed=True)


def _tell(report: dict[str, Any]) -> None:
    for view in report["views"]:
        spacing = view["pixel_spacing_mm"]
        words = "pixels" if spacing is None else f"pixels of {spacing[0]:.3f} x {spacing[1]:.3f} mm"
        magnification = f", magnification {view['magnification']:.3f}" if "magnification" in view else ""
        say(f"{view['name']}: {view['rows']} x {view['columns']} {words}{magnification}")
    if report["separation_degrees"] is not None:
        say(f"The views are {report['separation_degrees']:.1f} degrees apart.")
    for sentence in report["warnings"]:
        say(f"Warning: {sentence}")

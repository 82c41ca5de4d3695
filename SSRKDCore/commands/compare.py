"""`ssrkd compare`: how far a reconstruction lies from a reference, bone by bone, in figures, a table and pictures."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SSRKDCore.console import progress_bar, say

if TYPE_CHECKING:
    from SSRKDCore.evaluation.bone_sets import BoneSet
    from SSRKDCore.evaluation.comparison import BoneComparison
    from SSRKDCore.geometry.field_of_view import FieldOfView

HELP = "distances and overlap between two sets of bones, with distance-coloured pictures"
SCHEMA = "ssrkd-comparison/1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "reconstruction",
        metavar="RECONSTRUCTION",
        help="folder of STL, PLY or OBJ files named after the bones, or a .seg.nrrd",
    )
    parser.add_argument("reference", metavar="REFERENCE", help="the same, of the truth; bones it lacks are not scored")
    parser.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help="new folder for report.json, measures.csv, distances.csv and pictures",
    )
    parser.add_argument(
        "--field-of-view",
        metavar="RIG",
        help="rig.json whose field of view limits the comparison, or 'none' for everything (default: the one in "
        "RECONSTRUCTION's report.json, if any)",
    )
    parser.add_argument(
        "--label-surface",
        choices=("voxels", "smooth"),
        default="voxels",
        help="surface of a .seg.nrrd: the faces of its voxels (exact, rough by half a voxel), or relaxed within them",
    )
    parser.add_argument(
        "--align",
        choices=("none", "knee", "bone"),
        default="none",
        help="first move the reconstruction onto the reference (rigid, iterative closest points): the knee as one, or each bone",
    )
    parser.add_argument(
        "--surfaces",
        action="store_true",
        help="also write both surfaces of each bone with their distances (.vtp, LPS mm)",
    )
    parser.add_argument("--no-pictures", action="store_true", help="figures and tables only")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output folder")


def run(args: argparse.Namespace) -> dict[str, Any]:
    from SSRKDCore.evaluation.alignment import aligned, alignment_warnings
    from SSRKDCore.evaluation.bone_sets import label_dice, read_bones
    from SSRKDCore.evaluation.compared_surfaces import area_histogram
    from SSRKDCore.evaluation.comparison import MEASURE_EXPLANATIONS, compare, means_by_bone
    from SSRKDCore.evaluation.field_of_view import DEFAULT_MARGIN_MM, scoring_box
    from SSRKDCore.evaluation.tables import write_measures, write_vertex_distances
    from SSRKDCore.json_files import write_json
    from SSRKDCore.output_folder import check_output_folder, complete_folder

    check_output_folder(args.out, args.overwrite)
    smooth = args.label_surface == "smooth"
    reconstruction, reference = read_bones(args.reconstruction, smooth), read_bones(args.reference, smooth)
    field_of_view = _field_of_view(args.field_of_view, reconstruction)
    # The caps of a coarse reconstruction lie up to half a voxel off the field of view.
    margin = max(DEFAULT_MARGIN_MM, reconstruction.voxel_size or 0.0)
    box = scoring_box(None if field_of_view is None else field_of_view.bounds)
    surfaces, alignments = aligned(reconstruction.surfaces, reference.surfaces, args.align, box, margin)
    if alignments:
        # Moved surfaces no longer belong to their label volume.
        reconstruction = replace(reconstruction, surfaces=surfaces, labels=None, grid=None)
    with progress_bar("compare") as progress:
        records = compare(reconstruction.surfaces, reference.surfaces, field_of_view, margin=margin, progress=progress)
    for name, record in records.items():
        counted = None if record.failure else label_dice(reconstruction, reference, name, box)
        if counted is not None:
            records[name] = replace(record, dice=counted, dice_refused=None)
    warnings = _warnings(reconstruction, reference, records) + alignment_warnings(alignments)
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "frame": "LPS",
        "unit": "mm",
        "reconstruction": str(reconstruction.path),
        "reference": str(reference.path),
        "label_surface": args.label_surface,
        "field_of_view": None
        if field_of_view is None
        else {"center": field_of_view.center, "size": field_of_view.size},
        "align": args.align,
        "alignments": {name: alignment.to_dict() for name, alignment in alignments.items()},
        "bones": {name: record.to_dict() for name, record in records.items()},
        "not_scored": [name for name in reconstruction.surfaces if name not in reference.surfaces],
        "mean": means_by_bone({"": records})["all"],
        "measures": MEASURE_EXPLANATIONS,
        "signed_distance": "vertices of the reconstruction to the reference; positive outside it, negative inside",
        "warnings": warnings,
    }
    with complete_folder(args.out, args.overwrite) as folder:
        vertices = _vertex_distances(reconstruction, reference, records, box, margin)
        report["histograms"] = {name: area_histogram(*pair) for name, pair in vertices.items()}
        if args.surfaces:
            report["surfaces"] = _write_surfaces(folder, vertices, reference, box, margin)
        report["pictures"] = {} if args.no_pictures else _write_pictures(folder, vertices, records, warnings)
        write_measures(folder / "measures.csv", [({"bone": name}, record) for name, record in records.items()])
        write_vertex_distances(folder / "distances.csv", vertices)
        write_json(folder / "report.json", report)
    _tell(records, warnings, args.out)
    return report


def _field_of_view(choice: str | None, reconstruction: BoneSet) -> FieldOfView | None:
    from SSRKDCore.geometry.rig import Rig

    if choice is None:
        return reconstruction.field_of_view
    return None if choice == "none" else Rig.load(choice).field_of_view


def _warnings(reconstruction: BoneSet, reference: BoneSet, records: dict[str, BoneComparison]) -> list[str]:
    warnings = [
        f"The {name} has no Dice: {record.dice_refused}." for name, record in records.items() if record.dice_refused
    ]
    measured = [record for record in records.values() if record.failure is None]
    if measured and all((record.exact_assd_mm or 0) > 30.0 for record in measured):
        warnings.append(
            f"Every bone of {reconstruction.path} is more than 30 mm away from {reference.path}: "
            "check that both are in the same frame (LPS, not RAS) and in millimetres."
        )
    return warnings


def _vertex_distances(
    reconstruction: BoneSet, reference: BoneSet, records: dict[str, BoneComparison], box: Any, margin: float
) -> dict[str, Any]:
    """Bone -> (surface, signed distance of each vertex in mm, NaN where it is not scored)."""
    from SSRKDCore.evaluation.compared_surfaces import vertex_distances

    return {
        name: (
            reconstruction.surfaces[name],
            vertex_distances(reconstruction.surfaces[name], reference.surfaces[name], box, margin),
        )
        for name, record in records.items()
        if record.failure is None
    }


def _write_surfaces(
    folder: Path, vertices: dict[str, Any], reference: BoneSet, box: Any, margin: float
) -> dict[str, dict[str, str]]:
    """Both surfaces of each bone as .vtp files; returns their names by bone and side of the comparison."""
    from SSRKDCore.evaluation.compared_surfaces import vertex_distances, write_with_distances

    names = {}
    for name, (surface, distances) in vertices.items():
        other = reference.surfaces[name]
        names[name] = {side: f"{side}_{name}.vtp" for side in ("reconstruction", "reference")}
        write_with_distances(folder / names[name]["reconstruction"], surface, distances)
        back = vertex_distances(other, surface, box, margin)
        write_with_distances(folder / names[name]["reference"], other, back)
    return names


def _write_pictures(
    folder: Path, vertices: dict[str, Any], records: dict[str, BoneComparison], warnings: list[str]
) -> dict[str, str]:
    from SSRKDCore.pictures.distance_picture import write_distance_picture
    from SSRKDCore.pictures.render import RenderingUnavailable

    pictures = {}
    for name, (surface, distances) in vertices.items():
        record = records[name]
        figures = f"exact ASSD {record.exact_assd_mm:.2f} mm, HD95 {record.exact_hd95_mm:.2f} mm"
        figures += f", HD {record.exact_hd_mm:.2f} mm"
        if record.dice is not None:
            figures += f", Dice {record.dice:.3f}"
        title = f"{name.capitalize()}: signed distance to the reference"
        try:
            write_distance_picture(folder / f"distances_{name}.png", surface, distances, title, figures)
        except RenderingUnavailable as error:
            warnings.append(str(error))
            break
        pictures[name] = f"distances_{name}.png"
    return pictures


def _tell(records: dict[str, BoneComparison], warnings: list[str], out: str) -> None:
    say(f"{'bone':<8} {'ASSD':>7} {'HD95':>7} {'HD':>7} mm  {'Dice':>6}   paper's protocol: {'ASSD':>6} {'HD':>6} mm")
    for name, record in records.items():
        if record.failure is not None:
            say(f"{name:<8} not measured: {record.failure}")
            continue
        overlap = "     -" if record.dice is None else f"{record.dice:6.3f}"
        say(
            f"{name:<8} {record.exact_assd_mm:7.3f} {record.exact_hd95_mm:7.3f} {record.exact_hd_mm:7.3f}     {overlap}"
            f"   {'':18}{record.paper_assd_mm:6.3f} {record.paper_hd_mm:6.3f}"
        )
    for warning in warnings:
        say(f"Warning: {warning}")
    say(f"Written to {out}: report.json, measures.csv, distances.csv and a picture for each bone.")

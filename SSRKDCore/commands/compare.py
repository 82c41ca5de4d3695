"""`ssrkd compare`: how far a reconstruction lies from a reference, bone by bone, in figures, a table and pictures."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SSRKDCore.console import progress_bar, say

if TYPE_CHECKING:
    from SSRKDCore.evaluation.alignment import Alignment
    from SSRKDCore.evaluation.bone_sets import BoneSet
    from SSRKDCore.evaluation.comparison import BoneComparison
    from SSRKDCore.geometry.field_of_view import FieldOfView
    from SSRKDCore.surface import Surface

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
        help="rig.json whose field of view, in the reconstruction's frame, limits the comparison, or 'none' for everything (default: the "
        "one in RECONSTRUCTION's report.json, if any)",
    )
    parser.add_argument(
        "--label-surface",
        choices=("voxels", "smooth"),
        default="voxels",
        help="surface of a .seg.nrrd: the faces of its voxels (exact, rough by half a voxel), or relaxed within them (voxels)",
    )
    parser.add_argument(
        "--align",
        choices=("none", "knee", "bone"),
        default="none",
        help="first move the reconstruction onto the reference (rigid, iterative closest points): the knee as one, or each bone (none)",
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
    moved, alignments = aligned(reconstruction.surfaces, reference.surfaces, args.align, box, margin)
    if alignments:
        # The field of view stands in the reconstruction's frame, so that distances are taken there: the reference is moved back. Neither
        # belongs to its label volume any more.
        reconstruction = replace(reconstruction, labels=None, grid=None)
    truth = _moved_back(reference.surfaces, alignments)
    with progress_bar("compare") as progress:
        records = compare(reconstruction.surfaces, truth, field_of_view, margin=margin, progress=progress)
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
        distances = _vertex_distances(reconstruction, truth, records, box, margin)
        vertices = {name: (moved[name], values) for name, values in distances.items()}
        report["histograms"] = {name: area_histogram(*pair) for name, pair in vertices.items()}
        if args.surfaces:
            back = {name: (truth[name], reconstruction.surfaces[name]) for name in vertices}
            report["surfaces"] = _write_surfaces(folder, vertices, reference, back, box, margin)
        report["pictures"] = {} if args.no_pictures else _write_pictures(folder, vertices, records, warnings)
        write_measures(folder / "measures.csv", [({"bone": name}, record) for name, record in records.items()])
        write_vertex_distances(folder / "distances.csv", vertices)
        write_json(folder / "report.json", report)
    _tell(records, warnings, args.out)
    return report


def _moved_back(reference: Mapping[str, Surface], alignments: Mapping[str, Alignment]) -> dict[str, Surface]:
    """The reference in the reconstruction's frame: each bone by the inverse of the motion that aligns the reconstruction with it."""
    import numpy as np

    found = {name: alignments.get("knee") or alignments.get(name) for name in reference}
    return {
        name: surface if (motion := found[name]) is None else surface.transformed(np.linalg.inv(motion.matrix))
        for name, surface in reference.items()
    }


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
    reconstruction: BoneSet, truth: Mapping[str, Surface], records: dict[str, BoneComparison], box: Any, margin: float
) -> dict[str, Any]:
    """Bone -> signed distance of each vertex in mm, NaN where it is not scored."""
    from SSRKDCore.evaluation.compared_surfaces import vertex_distances

    return {
        name: vertex_distances(reconstruction.surfaces[name], truth[name], box, margin)
        for name, record in records.items()
        if record.failure is None
    }


def _write_surfaces(
    folder: Path,
    vertices: dict[str, Any],
    reference: BoneSet,
    back: Mapping[str, tuple[Surface, Surface]],
    box: Any,
    margin: float,
) -> dict[str, dict[str, str]]:
    """Both surfaces of each bone as .vtp files; returns their names by bone and side of the comparison.

    back: bone -> (reference, reconstruction) in the reconstruction's frame, between which the reference's distances are taken.
    """
    from SSRKDCore.evaluation.compared_surfaces import vertex_distances, write_with_distances

    names = {}
    for name, (surface, distances) in vertices.items():
        names[name] = {side: f"{side}_{name}.vtp" for side in ("reconstruction", "reference")}
        write_with_distances(folder / names[name]["reconstruction"], surface, distances)
        theirs, ours = back[name]
        back_distances = vertex_distances(theirs, ours, box, margin)
        write_with_distances(folder / names[name]["reference"], reference.surfaces[name], back_distances)
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

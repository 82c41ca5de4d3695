"""What is written of a reconstruction: surfaces, label volume, report and preview."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from SSRKDCore import __version__
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.json_files import write_json
from SSRKDCore.networks.model_folder import Model
from SSRKDCore.radiographs.radiograph import Radiograph
from SSRKDCore.reconstruction.decimation import Decimation
from SSRKDCore.reconstruction.pipeline import Reconstruction
from SSRKDCore.segmentation_files import write_segmentation
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import write_surface

SCHEMA = "ssrkd-report/1"
LIMITS = (
    "Research software, not a medical device: not for diagnosis, planning or treatment. The surfaces are a network's estimate from "
    "projections, closed at the faces of the field of view; check them against the radiographs."
)


def file_sha256(path: str | Path) -> str | None:
    """Hexadecimal SHA-256 of a file, or None where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()


def reconstruction_report(
    result: Reconstruction,
    radiographs: Sequence[Radiograph],
    rig: Rig,
    model: Model,
    warnings: Sequence[str] = (),
    decimations: Mapping[str, Decimation] | None = None,
) -> dict[str, Any]:
    """The content of a report.json, schema ssrkd-report/1.

    Parameters
    ----------
    result: what `reconstruct` returned.
    radiographs, rig, model: what it was given.
    warnings: further ones, of reading and pairing, told before those of the result; repeated ones appear once.
    decimations: by bone, where the written surfaces have fewer triangles than those of the result.
    """
    decimations = decimations or {}
    own = [words for radiograph in radiographs for words in radiograph.warnings]
    return {
        "schema": SCHEMA,
        "software": f"SSRKDCore {__version__}",
        "inputs": [
            {
                "view": view.name,
                "file": Path(radiograph.source_path).name,
                "sha256": file_sha256(radiograph.source_path),
                "side": radiograph.side,
                "steps": list(radiograph.steps),
                "warnings": list(radiograph.warnings),
            }
            for view, radiograph in zip(rig.views, radiographs, strict=True)
        ],
        "rig": rig.to_dict(),
        "model": {"name": model.name, "sha256": model.card.get("weights", {}).get("sha256")},
        "frame": "LPS",
        "unit": "mm",
        "resolution": result.grid.shape[0],
        "voxel_size_mm": result.grid.spacing[0],
        "device": result.device,
        "precision": result.precision,
        "surface_tolerance_mm": result.surface_tolerance_mm,
        "evaluated_points": result.evaluated_points,
        "timings_s": dict(result.timings),
        "side": {"declared": result.declared_side, "inferred": result.side},
        "refinement": {
            "refined": bool(result.moved_mm),
            "mean_distance_from_network_mm": dict(result.moved_mm),
            "against_the_network": list(result.overruled),
            "mean_correction_mm": dict(result.corrected_mm),
        },
        "bones": {
            name: _bone(name, surface, result, decimations.get(name)) for name, surface in result.surfaces.items()
        },
        "warnings": list(dict.fromkeys([*own, *warnings, *result.warnings])),
        "limits": LIMITS,
    }


def _bone(name: str, surface: Surface, result: Reconstruction, decimation: Decimation | None) -> dict[str, Any]:
    shown = surface if decimation is None else decimation.surface
    pieces = result.pieces[name]
    if shown.is_empty:
        return {"found": False}
    return {
        "found": True,
        "volume_mm3": shown.volume,
        "area_mm2": shown.area,
        "triangles": len(shown.faces),
        "closed": shown.is_closed(),
        "decimation_deviation_mm": None if decimation is None else decimation.deviation_mm,
        "bounds_mm": shown.bounds,
        "pieces_found": pieces.pieces,
        "removed_voxels": pieces.removed_voxels,
        "filled_voxels": pieces.filled_voxels,
    }


def write_reconstruction(
    folder: Path,
    result: Reconstruction,
    report: Mapping[str, Any],
    decimations: Mapping[str, Decimation] | None = None,
) -> None:
    """Write one STL for every bone that was found, bones.seg.nrrd and report.json into an existing folder."""
    for name, surface in result.surfaces.items():
        shown = decimations[name].surface if decimations and name in decimations else surface
        if not shown.is_empty:
            write_surface(folder / f"{name}.stl", shown)
    provenance = {key: report[key] for key in ("software", "model", "resolution", "side")}
    write_segmentation(
        folder / "bones.seg.nrrd", result.labels, result.grid, result.declared_side or result.side, provenance
    )
    write_json(folder / "report.json", dict(report))

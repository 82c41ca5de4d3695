"""Where on the bones the error is: each case's error carried to the mean bones of a shape model, and averaged there."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.cases import Case
from SSRKDCore.evaluation.answer import CaseAnswer
from SSRKDCore.evaluation.case_evaluation import reference_surfaces
from SSRKDCore.evaluation.exact_distances import DistanceToSurface
from SSRKDCore.evaluation.experiments.framework import FILES_FOLDER, Plan, Point, PointResult, given_case
from SSRKDCore.evaluation.experiments.registry import Request
from SSRKDCore.evaluation.field_of_view import DEFAULT_MARGIN_MM, inside_by, scoring_box, without_cut_faces
from SSRKDCore.geometry.mirror import MIRROR
from SSRKDCore.population.closest_points import ClosestPoints
from SSRKDCore.population.rigid_motion import similarity_between
from SSRKDCore.population.shape_model import KneeShapeModel
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

# A vertex of the fitted model farther than this from the bone has no counterpart on it (a cut shaft, a bone that does not fit).
_FARTHEST_MM = 4.0
_ABSOLUTE_LEGEND = "mm; mean of the\nabsolute distances;\ngrey: fewer than\nhalf of the cases"
_SIGNED_LEGEND = "mm; mean; red:\noutside the bone,\nblue: inside;\ngrey: fewer than\nhalf of the cases"


def plan(request: Request) -> Plan:
    """One point: the cases as they are."""
    model = KneeShapeModel.load(request.needed_shape_model())

    def observe(case: Case, answer: CaseAnswer, files: Path) -> Mapping[str, Any]:
        # Not `with_suffix`: a case's name may hold points, as the numbers of DICOM do.
        path = files.with_name(f"{files.name}.npz")
        errors = vertex_errors(model, case, answer)
        np.savez_compressed(path, **{name: values.astype(np.float32) for name, values in errors.items()})  # type: ignore[arg-type]
        return {"file": path.name, "known": {name: float(np.isfinite(e).mean()) for name, e in errors.items()}}

    point = Point("as it is", given_case, settings={"shape_model": model.sha256(), "farthest_mm": _FARTHEST_MM})
    notes = (
        "Each reference is brought into correspondence by fitting the shape model (modes and Gaussian process) and taking the closest "
        "point of the reference for each vertex; left knees are mirrored.",
    )
    return Plan([point], request.case_sources(), observe=observe, notes=notes)


def vertex_errors(model: KneeShapeModel, case: Case, answer: CaseAnswer) -> dict[str, Array]:
    """bone -> (V,) signed distance in mm of the reconstruction from the reference at each vertex of the shape model, positive where the
    reconstruction lies outside; NaN where the reference or the field of view ends. A bone that was not reconstructed is absent.
    """
    reference = reference_surfaces(case)
    mirror = MIRROR if case.side == "left" else np.eye(4)
    fitted = model.project({name: surface.transformed(mirror) for name, surface in reference.items()})
    margin = max(DEFAULT_MARGIN_MM, answer.spacing_mm)
    result = {}
    for name, fit in fitted.items():
        found = answer.surfaces.get(name)
        if found is None or found.is_empty:
            continue
        on_bone, _ = ClosestPoints(fit.given).query(fit.fitted.vertices)
        gap = np.linalg.norm(on_bone - fit.fitted.vertices, axis=1)
        low, high = fit.extent
        known = (gap < _FARTHEST_MM) & (on_bone[:, 2] > low) & (on_bone[:, 2] < high)
        # The given bone is the reference moved into the model's frame, vertex by vertex.
        back = similarity_between(fit.given.vertices, reference[name].transformed(mirror).vertices)
        points = back.apply(on_bone) @ mirror[:3, :3].T
        box = scoring_box(answer.field_of_view.bounds, case.reference_extent.get(name))
        inner = inside_by(box, margin)
        known &= ((points >= inner[0]) & (points <= inner[1])).all(axis=1)
        values = np.full(len(points), np.nan)
        if known.any():
            # Outside the reconstruction the reference is the larger one, so the sign turns.
            target = DistanceToSurface(without_cut_faces(found, box, margin))
            values[known] = -target.signed(points[known])
        result[name] = values
    return result


def finish(request: Request, plan: Plan, results: Sequence[PointResult], out: Path, budget: str) -> dict[str, Any]:
    """error_map.npz, a CSV and two pictures a bone; nothing where no case gave an error."""
    from SSRKDCore.pictures.distance_picture import write_distance_picture

    model = KneeShapeModel.load(request.needed_shape_model())
    mean_knee = model.surfaces(model.pca.mean)
    stacks = _stacks([out / FILES_FOLDER / item.observed["file"] for item in results if "file" in item.observed])
    if not stacks:
        return {"pictures": [], "bones": {}}
    arrays: dict[str, Any] = {}
    pictures: list[str] = []
    summary: dict[str, Any] = {}
    for name, stack in stacks.items():
        count = np.isfinite(stack).sum(axis=0)
        enough = 2 * count >= max(len(stack), 1)
        total = np.maximum(count, 1)
        signed = np.where(enough & (count > 0), np.nansum(stack, axis=0) / total, np.nan)
        absolute = np.where(enough & (count > 0), np.nansum(np.abs(stack), axis=0) / total, np.nan)
        spread = np.where(enough & (count > 1), _spread(stack), np.nan)
        arrays |= {f"{name}_signed_mm": signed, f"{name}_absolute_mm": absolute, f"{name}_sd_mm": spread}
        arrays |= {
            f"{name}_count": count,
            f"{name}_vertices": mean_knee[name].vertices,
            f"{name}_faces": mean_knee[name].faces,
        }
        _write_csv(out / f"error_map_{name}.csv", mean_knee[name], signed, absolute, spread, count)
        if np.isfinite(absolute).any():
            words = f"mean of {len(stack)} cases on the shape model's mean {name}; {budget}"
            shown = _shown(mean_knee[name], np.isfinite(absolute))
            for kind, values, legend in (
                ("absolute", absolute, _ABSOLUTE_LEGEND),
                ("signed", signed, _SIGNED_LEGEND),
            ):
                file = f"error_map_{name}_{kind}.png"
                title = f"{name.capitalize()}: {kind} error"
                write_distance_picture(out / file, shown[0], values[shown[1]], title, _wrapped(words), legend=legend)
                pictures.append(file)
        summary[name] = {"cases": len(stack), "vertices_known": int(np.isfinite(absolute).sum())}
    np.savez_compressed(out / "error_map.npz", **arrays)
    return {"pictures": pictures, "bones": summary}


def _stacks(files: Sequence[Path]) -> dict[str, Array]:
    """bone -> (cases, V)."""
    rows: dict[str, list[Array]] = {}
    for path in files:
        with np.load(path, allow_pickle=False) as content:
            for name in content.files:
                rows.setdefault(name, []).append(content[name].astype(np.float64))
    return {name: np.stack(rows[name]) for name in BONE_NAMES if name in rows}


def _spread(stack: Array) -> Array:
    """(V,) standard deviation between cases, NaN ignored."""
    count = np.isfinite(stack).sum(axis=0)
    mean = np.nansum(stack, axis=0) / np.maximum(count, 1)
    return np.asarray(np.sqrt(np.nansum((stack - mean) ** 2, axis=0) / np.maximum(count - 1, 1)))


def _shown(surface: Surface, known: NDArray[np.bool_]) -> tuple[Surface, NDArray[np.int64]]:
    """The part of a bone within 15 mm of what is known, so that far shafts do not shrink the picture, and its vertices' numbers."""
    heights = surface.vertices[known][:, 2]
    near = (surface.vertices[:, 2] > heights.min() - 15.0) & (surface.vertices[:, 2] < heights.max() + 15.0)
    faces = surface.faces[near[surface.faces].all(axis=1)]
    used, index = np.unique(faces, return_inverse=True)
    return Surface(surface.vertices[used], index.reshape(-1, 3)), used


def _wrapped(words: str, width: int = 130) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(words, width)[:2])


def _write_csv(path: Path, surface: Surface, signed: Array, absolute: Array, spread: Array, count: Array) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["vertex", "x_mm", "y_mm", "z_mm", "mean_signed_mm", "mean_absolute_mm", "sd_of_signed_mm", "cases"]
        )
        for index, (x, y, z) in enumerate(surface.vertices.tolist()):
            figures = (float(values[index]) for values in (signed, absolute, spread))
            writer.writerow(
                [
                    index,
                    f"{x:.4f}",
                    f"{y:.4f}",
                    f"{z:.4f}",
                    *("" if v != v else f"{v:.4f}" for v in figures),
                    int(count[index]),
                ]
            )

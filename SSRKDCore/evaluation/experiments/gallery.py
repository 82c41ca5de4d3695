"""Figure 2: a page of cases, reconstruction and reference from 0, 90 and 180 degrees, the reconstruction coloured by its distance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.cases import Case
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.answer import CaseAnswer
from SSRKDCore.evaluation.case_evaluation import reference_surfaces
from SSRKDCore.evaluation.compared_surfaces import vertex_distances
from SSRKDCore.evaluation.experiments.framework import FILES_FOLDER, Plan, Point, PointResult, given_case
from SSRKDCore.evaluation.experiments.plot import foot, new_figure, save_figure
from SSRKDCore.evaluation.experiments.registry import Request
from SSRKDCore.evaluation.field_of_view import DEFAULT_MARGIN_MM, scoring_box
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.surface import Surface

ANGLES_DEGREES = (0.0, 90.0, 180.0)
LIMIT_MM = 3.0
MAXIMUM_CASES = 12
_PANEL = 240
_BONE = (0.87, 0.83, 0.74)
_GREY = (0.62, 0.62, 0.62)


def plan(request: Request) -> Plan:
    """One point: the cases as they are. Raises InputError for more cases than fit a page."""
    sources = request.case_sources()
    if len(sources) > MAXIMUM_CASES:
        raise InputError(f"The gallery has room for {MAXIMUM_CASES} cases, not {len(sources)}: use --limit.")
    notes = (
        f"Colours of the reconstruction: signed distance to the reference, -{LIMIT_MM:g} (blue, inside) to {LIMIT_MM:g} mm (red, outside); "
        "grey is not scored. 0 degrees is the view from the front, 90 from the patient's left, 180 from behind.",
    )
    settings = {"limit_mm": LIMIT_MM, "angles": list(ANGLES_DEGREES), "panel": _PANEL}
    return Plan([Point("as it is", given_case, settings=settings)], sources, observe=observe, notes=notes)


def observe(case: Case, answer: CaseAnswer, files: Path) -> Mapping[str, Any]:
    """A strip of six pictures of the case, beside the results."""
    from SSRKDCore.pictures.render import write_png

    # Not `with_suffix`: a case's name may hold points, as the numbers of DICOM do.
    path = files.with_name(f"{files.name}.png")
    write_png(path, strip(case, answer))
    return {"picture": path.name}


def strip(case: Case, answer: CaseAnswer) -> NDArray[np.uint8]:
    """[row, column, 3]: reconstruction from three angles, then the reference from the same."""
    from SSRKDCore.pictures.distance_picture import colored_actor
    from SSRKDCore.pictures.render import add_panel, look, off_screen_window, rendered, surface_actor

    count = 2 * len(ANGLES_DEGREES)
    # The window comes first: what is made before VTK's OpenGL classes are loaded draws nothing.
    window = off_screen_window(count * _PANEL, _PANEL)
    reference = reference_surfaces(case)
    margin = max(DEFAULT_MARGIN_MM, answer.spacing_mm)
    found, shown = [], []
    for name, surface in answer.surfaces.items():
        if surface.is_empty:
            continue
        if name not in reference:
            found.append(surface_actor(surface, _GREY))
            continue
        box = scoring_box(answer.field_of_view.bounds, case.reference_extent.get(name))
        distances = vertex_distances(surface, reference[name], box, margin)
        found.append(colored_actor(surface, distances, LIMIT_MM)[0])
    for surface in reference.values():
        inside = _inside(surface, answer.field_of_view)
        if not inside.is_empty:
            shown.append(surface_actor(inside, _BONE))
    for index in range(count):
        panel = add_panel(window, index / count, 0.0, (index + 1) / count, 1.0, (1.0, 1.0, 1.0))
        for actor in found if index < len(ANGLES_DEGREES) else shown:
            panel.AddActor(actor)
        angle = np.radians(ANGLES_DEGREES[index % len(ANGLES_DEGREES)])
        # From the front one looks along +y; turned about z towards the patient's left (+x) one then looks along -x.
        towards = np.array([-np.sin(angle), np.cos(angle), 0.0])
        look(panel, towards, np.array([0.0, 0.0, 1.0]), answer.field_of_view.bounds, fill=1.0)
    return rendered(window)


def _inside(surface: Surface, field_of_view: FieldOfView) -> Surface:
    """The triangles that lie wholly in the field of view: the reference may go on beyond."""
    low, high = field_of_view.bounds
    inside = ((surface.vertices >= low) & (surface.vertices <= high)).all(axis=1)
    return Surface(surface.vertices, surface.faces[inside[surface.faces].all(axis=1)])


def finish(request: Request, plan: Plan, results: Sequence[PointResult], out: Path, budget: str) -> dict[str, Any]:
    """gallery.png and gallery.svg: a row a case, its mean error beside it; a case that failed is a row with its reason."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.image import imread

    figure = new_figure(11.0, 0.9 + 1.75 * len(results))
    rows = figure.subplots(len(results), 1, squeeze=False)[:, 0]
    for axes, item in zip(rows, results, strict=True):
        axes.set_axis_off()
        errors = [r.exact_assd_mm for r in item.result.bones.values() if r.exact_assd_mm is not None]
        mean = f", exact ASSD {np.mean(errors):.2f} mm (mean of {len(errors)} bones)" if errors else ""
        axes.set_title(f"{item.result.id}{mean}", fontsize=8, loc="left")
        picture = item.observed.get("picture")
        if picture is None:
            reason = item.result.failure or item.observed.get("failure", "no picture")
            axes.text(0.5, 0.5, str(reason), ha="center", wrap=True, fontsize=8, transform=axes.transAxes)
            continue
        axes.imshow(imread(out / FILES_FOLDER / picture), interpolation="none")
        width = 2 * len(ANGLES_DEGREES) * _PANEL
        axes.axvline(width / 2, color="#888888", linewidth=0.8)
    figure.suptitle(
        "reconstruction (0, 90, 180 degrees)          |          reference (0, 90, 180 degrees)", fontsize=10
    )
    # The same ends and middle as the pictures' own colours.
    bar = ScalarMappable(Normalize(-LIMIT_MM, LIMIT_MM), colormaps["coolwarm"])
    figure.colorbar(bar, ax=list(rows), fraction=0.02, label="mm from the reference")
    foot(figure, budget)
    return {"pictures": save_figure(figure, out, "gallery")[:1]}

"""Case folders of simple bones, and methods whose errors are known: for tests of experiments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SSRKDCore.cases import Case, save_case
from SSRKDCore.evaluation.answer import CaseAnswer
from SSRKDCore.evaluation.case_evaluation import Progress, Reconstruct, reference_surfaces
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.presets import preset
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import write_surface

RADIUS_MM = 15.0
CUBE = FieldOfView((0.0, 0.0, 0.0), 150.0)


def ball(radius: float = RADIUS_MM, center: tuple[float, float, float] = (0.0, 0.0, 0.0), steps: int = 40) -> Surface:
    """A closed sphere of that radius in mm."""
    from vtkmodules.vtkFiltersSources import vtkSphereSource

    source = vtkSphereSource()
    source.SetRadius(radius)
    source.SetCenter(*center)
    source.SetThetaResolution(2 * steps)
    source.SetPhiResolution(steps)
    source.SetOutputPointsPrecision(1)
    source.Update()
    return Surface.from_vtk(source.GetOutput())


def small_rig(pixels: int = 40) -> Rig:
    """The room's rig with few pixels."""
    spacing = 430.0 / pixels
    return preset("room", rows=pixels, columns=pixels, pixel_spacing=(spacing, spacing))


def write_ball_case(folder: Path, subject: str | None = None, bones: tuple[str, ...] = ("patella",)) -> Path:
    """A case whose bones are balls, each at another place; its radiographs show nothing."""
    folder.mkdir(parents=True)
    rig = small_rig()
    for view in rig.views:
        image = sitk.GetImageFromArray(np.zeros((view.rows, view.columns), np.float32))
        image.SetSpacing((view.pixel_spacing[1], view.pixel_spacing[0]))
        sitk.WriteImage(image, str(folder / f"{view.name}.nrrd"))
    for index, name in enumerate(bones):
        write_surface(folder / f"{name}.ply", ball(center=(0.0, 0.0, 35.0 * index - 20.0)))
    save_case(
        folder,
        folder.name,
        "right",
        rig,
        {view.name: f"{view.name}.nrrd" for view in rig.views},
        "line_integral",
        {name: f"{name}.ply" for name in bones},
        provenance={} if subject is None else {"subject": subject},
    )
    return folder


def grown(surface: Surface, millimetres: float) -> Surface:
    """A ball whose radius is larger by so much."""
    middle = surface.bounds.mean(axis=0)
    away = surface.vertices - middle
    length = np.linalg.norm(away, axis=1, keepdims=True)
    return Surface(middle + away * (1.0 + millimetres / length), surface.faces)


def grown_by(millimetres: Callable[[Case], float]) -> Reconstruct:
    """A method that answers with the reference, larger all around by so much as it is for the case."""

    def run(case: Case, progress: Progress) -> CaseAnswer:
        amount = millimetres(case)
        bones = {name: grown(surface, amount) for name, surface in reference_surfaces(case).items()}
        return CaseAnswer(bones, CUBE)

    return run

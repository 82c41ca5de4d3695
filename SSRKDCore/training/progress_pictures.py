"""A picture of a real reconstruction of a case that training does not see, every so often while the student learns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.console import say
from SSRKDCore.drr.attenuation import DEFAULT_ENERGY_KEV
from SSRKDCore.errors import InputError
from SSRKDCore.geometry.network_view import network_view
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.pictures.preview import write_preview
from SSRKDCore.pictures.render import RenderingUnavailable
from SSRKDCore.radiographs.radiograph import Radiograph
from SSRKDCore.reconstruction.network_input import view_order
from SSRKDCore.reconstruction.pipeline import reconstruct
from SSRKDCore.surface import Surface
from SSRKDCore.training.case_volume import load_case_volume
from SSRKDCore.training.random_rigs import RandomRig
from SSRKDCore.training.xray_stage import XrayStage

_RESOLUTION = 96


@dataclass(frozen=True)
class Scene:
    """Radiographs of a case in its own rig, at the size that a network reads.

    Attributes:
        images: line integrals [row, column], one a view of the rig. rig: their views and the field of view, LPS mm.
        side: "right" or "left".
    """

    images: tuple[NDArray[np.float32], ...]
    rig: Rig
    side: str


def scene_of(folder: Path, size: int) -> Scene:
    """Exposes the CT of a case in the case's own rig, noise-free. Raises InputError when the case cannot be read."""
    volume = load_case_volume(folder, labelled=False)
    rig = volume.case.rig
    order = view_order(rig)[:2]
    first, second = (network_view(rig.views[index], rig.field_of_view, size) for index in order)
    exposure = RandomRig((first, second), rig.field_of_view, DEFAULT_ENERGY_KEV, (-np.inf, np.inf))
    images = volume.radiographs(exposure)
    return Scene(tuple(images), Rig((first, second), rig.field_of_view), volume.case.side)


class ProgressPictures:
    """Writes FOLDER/step_00001000.png and so on: outlines over the radiographs, and the bones in 3D.

    The case is read and exposed once, when the first picture is due. Where it cannot be read or the machine cannot draw, one
    line says so and training goes on without pictures.

    Args:
        folder: for the pictures. case: folder of a case with a CT.
    """

    def __init__(self, folder: Path, case: Path) -> None:
        self.folder = folder
        self.case = case
        self._scene: Scene | None = None
        self._given_up = False

    def __call__(self, module: XrayStage) -> Path | None:
        """The picture for the module's present weights and step; None when there can be none."""
        if self._given_up:
            return None
        try:
            if self._scene is None:
                self._scene = scene_of(self.case, module.network.config.input_size)
            return self._write(module, self._scene)
        except (InputError, RenderingUnavailable) as error:
            self._given_up = True
            say(f"No pictures of the progress: {error}")
            return None

    def _write(self, module: XrayStage, scene: Scene) -> Path:
        radiographs = [
            Radiograph(image, view=view.name, side=scene.side)
            for image, view in zip(scene.images, scene.rig.views, strict=True)
        ]
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"step_{module.global_step:08d}.png"
        beside = path.with_name(f".{path.name}")
        surfaces = _surfaces(radiographs, scene, module)
        write_preview(beside, surfaces, scene.images, scene.rig.views, scene.rig.field_of_view, scene.side)
        beside.replace(path)
        return path


def _surfaces(radiographs: list[Radiograph], scene: Scene, module: XrayStage) -> dict[str, Surface]:
    """The bones that the network finds; none while it has not learnt to find any."""
    model = module.model()
    try:
        return reconstruct(
            radiographs, scene.rig, model, _RESOLUTION, module.device.type, check_view_order=False
        ).surfaces
    except InputError as error:
        if "No bone found" not in str(error):
            raise
        return {}

"""Calibrated cameras of XMALab (MayaCam 2.0 text files) as views and rigs.

A file gives K (3x3, pixels), R (3x3) and t (mm) with the computer-vision convention: camera axes x along the columns,
y down the rows, z away from the source; Xc = R Xw + t; w (column, row, 1) = K Xc, pixel centres at whole numbers from
0. The camera centre is the X-ray source. Only the ratio of source-to-detector distance to pixel pitch is known (the
focal length in pixels); the distance is therefore chosen, and the pitch follows. The projection does not depend on
the choice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.geometry.view import View

Matrix = NDArray[np.float64]

MAXIMUM_BYTES = 64 * 1024
# The farthest corner of the field of view stays this much nearer the source than the virtual detector.
CLEARANCE = 1.05
RIGID_TOLERANCE = 1e-4
_SHAPES = {"image size": (1, 2), "camera matrix": (3, 3), "rotation": (3, 3), "translation": (3, 1)}


@dataclass(frozen=True)
class XmalabCamera:
    """A MayaCam 2.0 camera.

    Attributes
    ----------
    columns, rows: image size.
    camera_matrix: (3, 3) K in pixels.
    rotation: (3, 3) R, world to camera.
    translation: (3,) t in mm.
    """

    columns: int
    rows: int
    camera_matrix: Matrix
    rotation: Matrix
    translation: Matrix

    def project(self, points: ArrayLike) -> Matrix:
        """(..., 2) [row, column] of (..., 3) points in the calibration's world, mm: K (R X + t), divided."""
        camera = np.asarray(points, dtype=np.float64) @ self.rotation.T + self.translation
        homogeneous = camera @ self.camera_matrix.T
        return np.asarray(homogeneous[..., 1::-1] / homogeneous[..., 2:])


def read_xmalab_camera(path: str | Path) -> XmalabCamera:
    """Read a MayaCam 2.0 text file. Raises InputError, naming the file, when it holds no usable camera."""
    path = Path(path)
    try:
        if path.stat().st_size > MAXIMUM_BYTES:
            raise InputError(f"{path} is too large for an XMALab camera file: give the MayaCam 2.0 text file.")
        content = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check the path.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not an XMALab camera file: export MayaCam 2.0 text from XMALab.") from error
    blocks = _blocks(content)
    values = {}
    for title, shape in _SHAPES.items():
        numbers = blocks.get(title)
        if numbers is None or len(numbers) != shape[0] * shape[1] or not np.isfinite(numbers).all():
            raise InputError(
                f"{path} has no usable '{title}' of {shape[0]} x {shape[1]} numbers: export MayaCam 2.0 "
                "text from XMALab."
            )
        values[title] = np.array(numbers).reshape(shape)
    columns, rows = values["image size"][0]
    matrix, rotation = values["camera matrix"], values["rotation"]
    if not (1 <= columns <= 20000 and 1 <= rows <= 20000) or columns != int(columns) or rows != int(rows):
        raise InputError(f"{path} states an image of {columns:g} x {rows:g} pixels: export the calibration again.")
    if not np.allclose(matrix[2], [0, 0, 1]) or matrix[1, 0] != 0 or min(matrix[0, 0], matrix[1, 1]) <= 0:
        raise InputError(
            f"{path} has a camera matrix that is not [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]: export it again."
        )
    if abs(matrix[0, 1]) > 1e-6 * matrix[0, 0]:
        raise InputError(f"{path} has skewed pixels, which a flat detector has not: calibrate without skew.")
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > RIGID_TOLERANCE or np.linalg.det(rotation) < 0:
        raise InputError(f"{path} has a rotation that is not a rotation: export the calibration again.")
    return XmalabCamera(int(columns), int(rows), matrix, rotation, values["translation"][:, 0])


def _blocks(content: str) -> dict[str, list[float]]:
    """Numbers below each title line."""
    blocks: dict[str, list[float]] = {}
    title = ""
    for line in content.splitlines():
        words = line.strip()
        if words.lower() in _SHAPES:
            title = words.lower()
            blocks[title] = []
        elif words and title:
            try:
                blocks[title] += [float(word) for word in re.split(r"[,;\s]+", words.strip(",; "))]
            except ValueError:
                title = ""
    return blocks


def view_from_xmalab(
    camera: XmalabCamera, name: str, source_to_detector: float, world_to_lps: ArrayLike | None = None
) -> View:
    """A view with exactly the camera's projection.

    Parameters
    ----------
    camera: as read.
    name: the view's name.
    source_to_detector: mm, free to choose: the pixel pitch becomes this over the focal length (rows: fy, columns: fx).
    world_to_lps: rigid (4, 4) matrix from the calibration's world to LPS, mm; None takes the world as it is.
    """
    to_lps = rigid_matrix(world_to_lps, "The world-to-LPS transform")
    # R is exact only to the digits written; the nearest rotation keeps View's axes perpendicular.
    left, _, right = np.linalg.svd(camera.rotation)
    rotation = left @ right
    matrix = camera.camera_matrix
    pitch = (source_to_detector / matrix[1, 1], source_to_detector / matrix[0, 0])
    source = -rotation.T @ camera.translation
    first = source + rotation.T @ np.array([-matrix[0, 2] * pitch[1], -matrix[1, 2] * pitch[0], source_to_detector])
    turn, shift = to_lps[:3, :3], to_lps[:3, 3]
    return View(
        name=name,
        source=tuple(turn @ source + shift),
        detector_origin=tuple(turn @ first + shift),
        column_direction=tuple(turn @ rotation[0]),
        row_direction=tuple(turn @ rotation[1]),
        pixel_spacing=pitch,
        rows=camera.rows,
        columns=camera.columns,
    )


def rig_from_xmalab(
    files: Sequence[str | Path],
    field_of_view: FieldOfView,
    world_to_lps: ArrayLike | None = None,
    source_to_detector: float | None = None,
    names: Sequence[str] | None = None,
) -> Rig:
    """A rig from XMALab camera files.

    Parameters
    ----------
    files: two or more MayaCam 2.0 text files of one calibration.
    field_of_view: the cube to reconstruct, in LPS (after `world_to_lps`).
    world_to_lps: rigid (4, 4) matrix from the calibration's world to LPS, mm. Without it the world is taken as LPS, and
        anything that relies on anatomical directions (upright network input, left and right) does not hold.
    source_to_detector: mm, for all views; None puts each virtual detector just behind the field of view.
    names: of the views; None gives "ap" and "lateral" to two files, else the file names.

    Raises InputError for unusable files and rigs.
    """
    if len(files) < 2:
        raise InputError("A rig needs two or more XMALab camera files: add the missing one.")
    cameras = [read_xmalab_camera(path) for path in files]
    if names is None:
        names = ("ap", "lateral") if len(files) == 2 else [Path(path).stem for path in files]
    if len(names) != len(files):
        raise InputError(f"{len(names)} view names were given for {len(files)} camera files: give one a file.")
    views = []
    for camera, name in zip(cameras, names, strict=True):
        near = view_from_xmalab(camera, name, 1000.0, world_to_lps)
        farthest = float(near.project(field_of_view.corners)[1].max())
        if farthest <= 0:
            raise InputError(f"The field of view lies behind the source of view '{name}': correct its centre (mm).")
        views.append(view_from_xmalab(camera, name, source_to_detector or CLEARANCE * farthest, world_to_lps))
    provenance = {
        "from": "XMALab MayaCam 2.0",
        "files": [Path(path).name for path in files],
        "world_to_lps": None if world_to_lps is None else np.asarray(world_to_lps, dtype=np.float64).tolist(),
        "source_to_detector": "chosen: the calibration fixes only its ratio to the pixel pitch",
    }
    rig = Rig(tuple(views), field_of_view, provenance)
    rig.check()
    return rig


def rigid_matrix(matrix: ArrayLike | None, what: str) -> Matrix:
    """A (4, 4) rigid matrix as float64, the identity for None. Raises InputError when it scales, shears or mirrors."""
    if matrix is None:
        return np.eye(4)
    array = np.asarray(matrix, dtype=np.float64)
    if array.shape != (4, 4) or not np.isfinite(array).all() or not np.allclose(array[3], [0, 0, 0, 1]):
        raise InputError(f"{what} must be a 4 x 4 matrix whose last row is 0 0 0 1: correct it.")
    turn = array[:3, :3]
    if np.abs(turn @ turn.T - np.eye(3)).max() > RIGID_TOLERANCE or np.linalg.det(turn) < 0:
        raise InputError(f"{what} must only turn and shift (no scaling, no mirroring): correct it.")
    return array


def read_transform(path: str | Path) -> Matrix:
    """A rigid 4 x 4 matrix from a text file of 16 numbers, row by row. Raises InputError naming the file."""
    path = Path(path)
    try:
        if path.stat().st_size > MAXIMUM_BYTES:
            raise InputError(f"{path} is too large for a transform: give a text file of 16 numbers.")
        numbers = [float(word) for word in re.split(r"[,;\s]+", path.read_text(encoding="utf-8").strip())]
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check the path.") from error
    except ValueError as error:
        raise InputError(f"{path} is not a transform: give a text file of 16 numbers, row by row.") from error
    if len(numbers) != 16:
        raise InputError(f"{path} holds {len(numbers)} numbers: a transform has 16, row by row.")
    return rigid_matrix(np.array(numbers).reshape(4, 4), f"The transform in {path}")

"""Line integrals on a CUDA device by TIGRE (https://github.com/CERN/TIGRE), where it is installed.

The package called `tigre` on PyPI is an unrelated placeholder, so having that name is not enough. TIGRE's projector
ends the whole process where there is no CUDA device, so the devices are asked for first.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.drr.siddon import checked_volume
from SSRKDCore.drr.tigre_geometry import tigre_geometry
from SSRKDCore.errors import InputError

if TYPE_CHECKING:
    from SSRKDCore.geometry.view import View
    from SSRKDCore.grid import Grid


def why_unavailable() -> str | None:
    """None when TIGRE and a CUDA device are there, else one sentence that says what is missing and how to get it."""
    try:
        tigre = importlib.import_module("tigre")
    except ImportError:
        return "TIGRE is not installed (build it from https://github.com/CERN/TIGRE with CUDA; PyPI's 'tigre' is another project)."
    except Exception as error:  # a CUDA library that fails to load may raise anything, and must only cost this backend
        return f"TIGRE is installed but cannot be loaded ({type(error).__name__}: {error})."
    if not callable(getattr(tigre, "Ax", None)) or not callable(getattr(tigre, "geometry", None)):
        return (
            "The installed package 'tigre' is not the TIGRE toolbox but an unrelated one of that name: "
            "uninstall it and build TIGRE from https://github.com/CERN/TIGRE."
        )
    try:
        names = importlib.import_module("tigre.utilities.gpu").getGpuNames()
    except Exception as error:  # the CUDA runtime reports a missing driver in many ways
        return f"TIGRE found no CUDA device ({type(error).__name__}: {error})."
    if len(names) == 0:
        return "TIGRE is installed but there is no CUDA device."
    return None


def line_integrals(volume: NDArray[Any], grid: Grid, view: View) -> NDArray[np.float32]:
    """The same as `siddon.line_integrals`, by TIGRE's Siddon projector.

    Raises InputError when TIGRE or a CUDA device is missing, NotExpressible when TIGRE cannot compute this view.
    """
    reason = why_unavailable()
    if reason is not None:
        raise InputError(f"{reason} Use the CPU backend 'siddon' instead.")
    volume = checked_volume(volume, grid)
    ours = tigre_geometry(view, grid)
    tigre = importlib.import_module("tigre")
    geometry = tigre.geometry()
    geometry.mode = "cone"
    geometry.DSO, geometry.DSD = ours.DSO, ours.DSD
    geometry.nVoxel = np.array(ours.volume_shape)
    geometry.dVoxel = np.array(ours.volume_spacing)
    geometry.sVoxel = geometry.nVoxel * geometry.dVoxel
    geometry.offOrigin = np.array(ours.volume_offset)
    geometry.nDetector = np.array(ours.detector_shape)
    geometry.dDetector = np.array(ours.detector_spacing)
    geometry.sDetector = geometry.nDetector * geometry.dDetector
    geometry.offDetector = np.array(ours.detector_offset)
    geometry.rotDetector = np.array(ours.detector_rotation)
    geometry.accuracy = 0.5
    image = tigre.Ax(volume, geometry, np.array([ours.angles], dtype=np.float32))[0]
    return np.ascontiguousarray(image[:, ::-1] if ours.reverse_columns else image, dtype=np.float32)

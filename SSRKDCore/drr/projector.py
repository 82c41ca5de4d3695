"""One interface to every projector: a volume and a view or rig in, line integrals out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.drr import siddon, tigre_backend
from SSRKDCore.drr.tigre_geometry import NotExpressible, tigre_geometry
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.geometry.rig import Rig

if TYPE_CHECKING:
    from SSRKDCore.geometry.view import View
    from SSRKDCore.grid import Grid

BACKENDS = ("auto", "siddon", "tigre")

Progress = Callable[[float, str], None]
Image = NDArray[np.float32]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BackendChoice:
    """Which projector runs: `name` is "siddon" or "tigre"; `message` says why, in one sentence, when a faster one was
    passed over."""

    name: str
    message: str | None = None


def available_backends() -> dict[str, str | None]:
    """Backend name -> None when it can run here, else one sentence that says what is missing."""
    return {"siddon": None, "tigre": tigre_backend.why_unavailable()}


def choose_backend(backend: str, views: Sequence[View], grid: Grid) -> BackendChoice:
    """The projector for these views of a volume on `grid`.

    "auto" takes TIGRE where it can run and can express every view, else the CPU, with the reason as message. A
    backend asked for by
    name is never replaced: InputError with the reason when it cannot run.
    """
    if backend not in BACKENDS:
        raise InputError(f"There is no projector '{backend}': use one of {', '.join(BACKENDS)}.")
    if backend == "siddon":
        return BackendChoice("siddon")
    reason = tigre_backend.why_unavailable()
    if reason is None:
        try:
            for view in views:
                tigre_geometry(view, grid)
        except NotExpressible as error:
            reason = f"TIGRE cannot compute these views: {error}."
    if reason is None:
        return BackendChoice("tigre")
    if backend == "tigre":
        raise InputError(f"{reason} Use the projector 'auto' or 'siddon'.")
    return BackendChoice("siddon", f"{reason} Projecting on the CPU instead.")


@overload
def project(
    volume: NDArray[Any],
    grid: Grid,
    view_or_rig: Rig,
    backend: str = ...,
    progress: Progress | None = ...,
    cancelled: Callable[[], bool] | None = ...,
) -> dict[str, Image]: ...


@overload
def project(
    volume: NDArray[Any],
    grid: Grid,
    view_or_rig: View,
    backend: str = ...,
    progress: Progress | None = ...,
    cancelled: Callable[[], bool] | None = ...,
) -> Image: ...


def project(
    volume: NDArray[Any],
    grid: Grid,
    view_or_rig: View | Rig,
    backend: str = "auto",
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Image | dict[str, Image]:
    """Line integrals of a volume as each view sees it.

    Parameters
    ----------
    volume: [z, y, x], a quantity per millimetre (attenuation in 1/mm gives -log(I/I0)); constant in a voxel, zero
        outside.
    grid: where its voxels are, LPS mm.
    view_or_rig: one view, or a rig.
    backend: one of BACKENDS; see `choose_backend`. Why "auto" stayed on the CPU goes to the log of this module at
        level INFO.
    progress: called with a fraction 0..1 and words. cancelled: asked between blocks.

    Returns float32 [rows, columns] for a view, a dict of view name -> image for a rig.

    Raises InputError for a volume that does not fit its grid or is not finite, and for a backend that cannot run;
    Cancelled.
    """
    views = view_or_rig.views if isinstance(view_or_rig, Rig) else (view_or_rig,)
    choice = choose_backend(backend, views, grid)
    if choice.message is not None:
        _logger.info(choice.message)
    images: dict[str, Image] = {}
    for index, view in enumerate(views):
        if cancelled is not None and cancelled():
            raise Cancelled("The projection was cancelled.")
        if choice.name == "tigre":
            images[view.name] = tigre_backend.line_integrals(volume, grid, view)
            if progress is not None:
                progress((index + 1) / len(views), f"Projected view {view.name}")
        else:
            images[view.name] = siddon.line_integrals(volume, grid, view, _part(progress, index, len(views)), cancelled)
    return images if isinstance(view_or_rig, Rig) else images[view_or_rig.name]


def _part(progress: Progress | None, index: int, count: int) -> Progress | None:
    """Progress of one view as a part of the whole."""
    if progress is None:
        return None
    return lambda fraction, words: progress((index + fraction) / count, words)
